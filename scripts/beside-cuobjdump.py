#!/usr/bin/env python3
"""Holds what `proofmark verify` finds in wheels against what cuobjdump lists in the files inside.

    beside-cuobjdump.py --proofmark PATH --cuobjdump PATH [--json FOLDER] WHEEL...

For each wheel it prints one row of a table: its size in MB, files with device code, images by ours and by
cuobjdump, processor time and peak memory of `verify --list`, of `verify --json` and of cuobjdump, the verdict,
labels, how much was not read, and whether the counts are equal; below it every file and architecture in which
they are not. Code for a family (`sm_100f`) counts as plain there, as cuobjdump has it, and its number is told.
Ours is one run over the wheel; cuobjdump cannot read wheels, so each file in which either may find something is
unpacked first, which its time does not count.
"""

import argparse
import collections
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile

# A process counts with its own memory only when what starts it is small.
MEASURE = (
    "import os,sys\n"
    "p=os.fork()\n"
    "if p==0:\n os.dup2(os.open(sys.argv[1],os.O_WRONLY|os.O_CREAT|os.O_TRUNC),1);"
    "os.dup2(os.open(os.devnull,os.O_WRONLY),2);os.execv(sys.argv[2],sys.argv[2:])\n"
    "_,c,u=os.wait4(p,0)\nprint(u.ru_utime+u.ru_stime,u.ru_maxrss/1024,os.waitstatus_to_exitcode(c))"
)
LINE = re.compile(r"(ELF|PTX) file\s+\d+: .*\.(sm_\w+)\.(?:cubin|ptx)$")
Run = collections.namedtuple("Run", "seconds mib code")


def measured(output, *command):
    words = [sys.executable, "-S", "-E", "-c", MEASURE, output, *command]
    seconds, mib, code = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    return Run(float(seconds), float(mib), int(code))


def ours(proofmark, wheel, output):
    """Images by file, form and architecture, and the rest of the answer."""
    run = measured(output, proofmark, "verify", wheel, "--json")
    with open(output, encoding="utf-8") as text:
        answer = json.load(text)
    images = collections.defaultdict(collections.Counter)
    for entry in answer["entries"]:
        form = {"elf": "ELF", "cubin": "ELF", "ptx": "PTX"}.get(entry["kind"], entry["kind"])
        member = entry["file"].split("!", 1)[-1]
        images[member][form, entry["arch"]] += 1
    return run, answer, images


def theirs(cuobjdump, path, output):
    run = measured(output, cuobjdump, "-all", "-lelf", "-lptx", path)
    found = collections.Counter()
    with open(output, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if match := LINE.match(line.rstrip()):
                found[match[1], match[2]] += 1
    return run, found


def worth_asking(member, archive):
    if member.filename.endswith((".ptx", ".cubin", ".fatbin", ".a", ".o")):
        return True
    with archive.open(member) as start:
        return start.read(4) in (b"\x7fELF", b"\x50\xed\x55\xba")


def compare(proofmark, cuobjdump, wheel, keep):
    with tempfile.TemporaryDirectory() as folder:
        document = os.path.join(keep or folder, os.path.basename(wheel) + ".json")
        listed = measured(os.devnull, proofmark, "verify", wheel, "--list")
        judged, answer, images = ours(proofmark, wheel, document)
        total, most, other = 0.0, 0.0, {}
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.infolist():
                if member.is_dir() or not (member.filename in images or worth_asking(member, archive)):
                    continue
                # Its own name: cuobjdump repeats it in every line.
                path = os.path.join(folder, os.path.basename(member.filename))
                with archive.open(member) as source, open(path, "wb") as target:
                    while block := source.read(1 << 22):
                        target.write(block)
                run, found = theirs(cuobjdump, path, os.path.join(folder, "list"))
                os.remove(path)
                total, most = total + run.seconds, max(most, run.mib)
                other[member.filename] = found
    report(wheel, answer, images, other, listed, judged, total, most)


def report(wheel, answer, images, other, listed, judged, total, most):
    def count(found, form):
        return sum(number for one in found.values() for (kind, _), number in one.items() if kind == form)

    differing, family = [], 0
    for member in sorted(set(images) | set(other)):
        # Code for a family looks like plain code to cuobjdump: only entry headers tell it.
        left, right = collections.Counter(), other.get(member, {})
        for (form, arch), number in images[member].items():
            is_family = form == "ELF" and str(arch).endswith("f")
            family += number if is_family else 0
            left[form, arch[:-1] if is_family else arch] += number
        for key in sorted(set(left) | set(right), key=str):
            if left.get(key, 0) != right.get(key, 0):
                differing.append(f"    {member}: {key[0]} {key[1]}: {left.get(key, 0)} beside {right.get(key, 0)}")
    name, version = os.path.basename(wheel).split("-")[:2]
    forms = collections.Counter()
    for one in images.values():
        for (kind, _), number in one.items():
            forms[kind] += number
    equal = "equal" if not differing else f"{len(differing)} differ"
    of_family = f", {family} f" if family else ""
    print(
        f"| {name} {version} | {os.path.getsize(wheel) / 1e6:.1f} | {sum(1 for one in images.values() if one)} "
        f"| {dict(forms)} | {count(other, 'ELF')} + {count(other, 'PTX')} | {listed.seconds:.2f} s, {listed.mib:.0f} MiB "
        f"| {judged.seconds:.2f} s, {judged.mib:.0f} MiB | {total:.2f} s, {most:.0f} MiB | {answer['verdict']} "
        f"| {' '.join(answer['labels'])} | {len(answer['unread'])} | {equal}{of_family} |"
    )
    for line in differing[:40]:
        print(line)
    for finding in answer["findings"]:
        if finding["verdict"] == "unreadable":
            print(f"    unreadable: {finding['file'].split('!', 1)[-1]}: {finding['reason'][:300]}")
    for one in answer["unread"][:10]:
        print(f"    not read: {one['path'].split('!', 1)[-1]}: {one['reason'][:300]}")
    signs = collections.defaultdict(list)
    for file in answer["files"]:
        for sign in file.get("runtime_jit", []):
            signs[json.dumps(sign)[:160]].append(file["path"].split("!", 1)[-1])
    for sign, files in sorted(signs.items()):
        print(f"    label: {sign} in {len(files)}: {', '.join(files[:4])}")
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--proofmark", required=True)
    parser.add_argument("--cuobjdump", required=True)
    parser.add_argument("--json", help="keep the answers in this folder")
    parser.add_argument("wheels", nargs="+")
    words = parser.parse_args()
    for wheel in words.wheels:
        compare(words.proofmark, words.cuobjdump, wheel, words.json)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Fills a ledger with many records, and times what asks it.

    ledger-speed.py PROOFMARK FOLDER [COUNT]

The records are those that an artifact of solutions/ was sealed with, as often as COUNT asks (100,000), as runs of
54 workloads of 60 solutions of six definitions, three architectures and four devices over a year, each with samples,
times, seeds, verdicts and digests of its own. FOLDER holds the records as JSONL, a file a month, and the ledger afterwards.

Each query is timed as a whole process beside `proofmark --version`, which does nothing: what is more than that is
the query.
"""

import datetime
import hashlib
import json
import pathlib
import random
import statistics
import subprocess
import sys
import time
import zipfile

SEALED = "solutions/gdn_decode-a2fb7a1b80a0-sm_90a-h200.zip"
DEFINITIONS = ["gdn_decode_qk4_v8_d128_k_last", "gdn_prefill_qk4_v8_d128_k_last", "rmsnorm_h4096", "rmsnorm_h128",
               "gemm_n128_k2048", "moe_fp8_block_scale"]
DEVICES = [("NVIDIA H200", "sm_90a"), ("NVIDIA H100 80GB HBM3", "sm_90a"), ("NVIDIA B200", "sm_100a"),
           ("NVIDIA GeForce RTX 5090", "sm_120a")]
VERDICTS = [{"status": "passed"}] * 19 + [{"status": "timeout", "reason": "no answer within 10 s"}]
RUN = 54
REPEATS = 15


def digest(*parts):
    return hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()


def runs(templates, count, dice):
    begin = datetime.datetime(2025, 11, 1, tzinfo=datetime.timezone.utc)
    for run in range(-(-count // RUN)):
        when = begin + datetime.timedelta(seconds=365 * 86400 * run * RUN / count)
        solution = dice.randrange(60)
        version = dice.randrange(20)
        definition = DEFINITIONS[solution % len(DEFINITIONS)]
        device, arch = DEVICES[dice.randrange(len(DEVICES))]
        factor = (1 + solution / 60) * dice.gauss(1, 0.01)
        name = f"{int(when.timestamp() * 1000):012x}{dice.getrandbits(80):020x}"
        context = templates[0]["context"] | {
            "run_id": name, "solution": f"solution_{solution}", "author": f"team_{solution % 25}",
            "artifact": digest("artifact", solution, version), "library": digest("library", solution, version, arch),
            "definition": definition, "definition_digest": digest("definition", definition),
            "toolchain": digest("toolchain"), "arch": arch}
        context["reference_library"] = context["reference"]
        context["environment"] = context["environment"] | {"device": device, "uuid": f"GPU-{digest(device)[:36]}"}
        lines = []
        for index, template in enumerate(templates[:min(RUN, count - run * RUN)]):
            at = when + datetime.timedelta(seconds=index)
            finding = template["finding"]
            measured = [one | {"samples_ns": [round(sample * factor * dice.gauss(1, 0.005))
                                              for sample in one["samples_ns"]]}
                        for one in finding["measurements"]]
            verdict = dice.choice(VERDICTS)
            if verdict["status"] != "passed":
                measured = []
            lines.append(json.dumps(template | {
                "version": 2, "timestamp": at.isoformat(), "context": context, "seed": str(dice.getrandbits(64)),
                "finding": finding | {"verdict": verdict, "trust": {"kind": "hermetic"}, "measurements": measured},
            }, separators=(",", ":")))
        yield name, context, lines


def call(program, *arguments):
    begun = time.perf_counter()
    done = subprocess.run([program, *arguments], capture_output=True, text=True)
    took = time.perf_counter() - begun
    if done.returncode != 0:
        sys.exit(f"{' '.join(arguments)}: exit code {done.returncode}\n{done.stderr}")
    return took * 1000, done.stdout


def main():
    program, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 100_000
    repository = pathlib.Path(__file__).resolve().parent.parent
    with zipfile.ZipFile(repository / SEALED) as sealed:
        templates = [json.loads(line) for line in sealed.read("evidence/measurements.jsonl").splitlines()]
    folder.mkdir(parents=True)
    records, ledger = folder / "records", str(folder / "ledger")
    records.mkdir()
    for name, context, lines in runs(templates, count, random.Random(1)):
        month = json.loads(lines[0])["timestamp"][:7]
        with (records / f"{month}.jsonl").open("a") as out:
            out.write("\n".join(lines) + "\n")
    size = sum(file.stat().st_size for file in records.iterdir())
    print(f"{count} records, {size / 1e6:.0f} MB of JSONL")
    took, _ = call(program, "ledger", "import", str(records), "--ledger", ledger)
    print(f"{took / 1e3:8.1f} s   ledger import")
    took, _ = call(program, "ledger", "rebuild", "--ledger", ledger)
    print(f"{took / 1e3:8.1f} s   ledger rebuild")
    sizes = {kind: sum(file.stat().st_size for file in pathlib.Path(ledger).rglob(kind)) / 1e6
             for kind in ("*.jsonl", "index.sqlite*")}
    print(f"records {sizes['*.jsonl']:.0f} MB, index {sizes['index.sqlite*']:.0f} MB")

    _, answer = call(program, "ledger", "query", "--limit", "1", "--json", "--ledger", ledger)
    entry = json.loads(answer)["entries"][0]["id"]
    place = ["--definition", context["definition"], "--device", context["environment"]["device"]]
    asked = [
        ["list"], ["list", "--definition", context["definition"]], ["list", "--solution", "solution_7"],
        ["list", *place, "--arch", context["arch"]], ["list", "--definition", "gdn_*"],
        ["query"], ["query", *place], ["query", "--solution", "solution_7"], ["query", "--author", "team_3"],
        ["query", "--artifact", context["artifact"][:12]], ["query", "--run", name],
        ["query", "--verdict", "timeout"], ["query", "--kind", "workload", "--since", "2026-10-25"],
        ["query", "--kind", "comparison"], ["query", "--trust", "live"], ["query", "--origin", "measured"],
        ["query", "--definition", "nothing"], ["query", "--solution", "*_59"], ["query", "--until", "2025-11-02"],
        ["show", name], ["show", entry], ["show", context["artifact"][:16]], ["lineage"],
    ]
    idle = statistics.median(call(program, "--version")[0] for _ in range(REPEATS))
    print(f"{idle:8.1f} ms  --version")
    for arguments in asked:
        took = statistics.median(call(program, "ledger", *arguments, "--ledger", ledger)[0] for _ in range(REPEATS))
        print(f"{took - idle:8.1f} ms  ledger {' '.join(arguments)}")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Runs submissions through FlashInfer-Bench and through proofmark, over one data set, on one GPU.

    beside-flashinfer-bench.py PROOFMARK ARCH DATASET SUBMISSION...
        [--workloads N] [--only NAME=VALUE,...] [--root DIR] [--answers FILE] [--timeout SECONDS]

DATASET is a FlashInfer-Bench data set. Of each definition that a submission is for, and of its workloads,
the first N of different axes are taken; --only names the values of one axis. Tensors that were captured
become random ones. A submission is a folder or a solution.json; a definition's file stands for its own
reference. FlashInfer-Bench gets the solution.json that `proofmark pack` writes and builds it itself; both
write traces, and FlashInfer-Bench's own reader reads them. A line is printed as soon as it is known, then one
table. What launches more than one kernel, copy or fill is measured live as well: gaps between launches are
the host's there, as with FlashInfer-Bench.

Needs flashinfer-bench, torch and, for its CUPTI clock, cupti-python 13.
"""

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# One-kernel times are near each other where they differ by no more.
NEAR_PERCENT = 2.0


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("proofmark", type=Path)
    parser.add_argument("arch")
    parser.add_argument("dataset", type=Path)
    parser.add_argument("submissions", type=Path, nargs="+")
    parser.add_argument("--workloads", type=int, default=2)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--root", type=Path)
    parser.add_argument("--answers", type=Path)
    parser.add_argument("--timeout", type=int, default=240)
    return parser.parse_args()


def of_reference(definition):
    """A definition's own reference as a submission."""
    return {
        "name": "reference_" + definition["name"], "definition": definition["name"], "author": "proofmark",
        "spec": {
            "language": "python", "target_hardware": ["cuda"], "entry_point": "main.py::run",
            "dependencies": [], "destination_passing_style": False,
        },
        "sources": [{"path": "main.py", "content": definition["reference"]}],
    }


def packed(proofmark, submission, root):
    """The solution.json of a submission, in the data set."""
    if submission.suffix == ".json":
        solution = json.loads(submission.read_text())
        if "reference" in solution:
            solution = of_reference(solution)
    else:
        command = [proofmark, "pack", submission, "--format", "flashinfer", "-o", "-"]
        solution = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    place = root / "solutions" / solution["author"] / (solution["name"] + ".json")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps(solution, indent=2))
    return solution, place


def chosen(lines, count, only):
    """The first workloads of different axes, without captured tensors."""
    first = {}
    for line in lines:
        trace = json.loads(line)
        workload = trace["workload"]
        axes = workload["axes"]
        if any(str(axes[name]) not in values for name, values in only.items() if name in axes):
            continue
        for name, given in workload["inputs"].items():
            if given.get("type") == "safetensors":
                workload["inputs"][name] = {"type": "random"}
        first.setdefault(tuple(axes.items()), trace)
    named = any(name in json.loads(lines[0])["workload"]["axes"] for name in only)
    return list(first.values())[: None if named else count]


def add_task(root, dataset, name, count, only):
    definition = next(
        (path, content)
        for path in sorted((dataset / "definitions").rglob("*.json"))
        for content in [json.loads(path.read_text())]
        if content["name"] == name
    )
    path, content = definition
    kind = content["op_type"]
    lines = (dataset / "workloads" / kind / f"{name}.jsonl").read_text().splitlines()
    traces = chosen([line for line in lines if line.strip()], count, only)
    files = {
        f"definitions/{kind}/{name}.json": json.dumps(content),
        f"workloads/{kind}/{name}.jsonl": "".join(json.dumps(trace) + "\n" for trace in traces),
    }
    for place, text in files.items():
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_text(text)
    return [trace["workload"] for trace in traces]


def evaluations(root):
    """What the traces of a data set say, as FlashInfer-Bench reads them: by solution and workload."""
    from flashinfer_bench.data import TraceSet

    found = {}
    for traces in TraceSet.from_path(str(root)).traces.values():
        for trace in traces:
            found[trace.solution, trace.workload.uuid] = trace.evaluation
    return found


def theirs(root, arch, timeout):
    number = arch.removeprefix("sm_")
    os.environ["TVM_FFI_CUDA_ARCH_LIST"] = f"{number[:-2]}.{number[-2:]}"
    os.environ["TORCH_CUDA_ARCH_LIST"] = f"{number[:-2]}.{number[-2:]}"
    from flashinfer_bench.bench import Benchmark, BenchmarkConfig
    from flashinfer_bench.data import TraceSet

    config = BenchmarkConfig.default(profile_baseline=False, timeout_seconds=timeout)
    benchmark = Benchmark(TraceSet.from_path(str(root)), config)
    benchmark.run_all(dump_traces=True)
    benchmark.close()


def ours(options, place, name, more):
    """proofmark's findings by workload, from its document."""
    command = [options.proofmark, "bench", place, "--arch", options.arch, "--dataset", options.root, "--json"]
    command += ["--reference", "definition", "--offline", *more]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=options.timeout)
    except subprocess.TimeoutExpired:
        print(f"{name}: proofmark took more than {options.timeout} s", flush=True)
        return {}
    try:
        document = json.loads(done.stdout)
        return {one["workload"]["uuid"]: one for one in document["workloads"]}
    except (ValueError, KeyError):
        print(f"{name}: {done.stdout[-600:]} {done.stderr[-600:]}", flush=True)
        return {}


def measured(options, name, place):
    """Findings and, as FlashInfer-Bench reads the traces, verdicts by workload."""
    with tempfile.TemporaryDirectory() as folder:
        traces = Path(folder) / "traces.jsonl"
        findings = ours(options, place, name, ["--live", "where-needed", "--traces", traces])
        return findings, read_back(traces)


def launched(finding):
    """Kernels, copies and fills of one call."""
    launches = finding.get("launches")
    return launches and launches["kernels"] + launches["copies"] + launches["fills"]


def latency_us(finding):
    """The judge's figure: the median of cold calls by activity records."""
    for clock in finding.get("measurements") or []:
        if (clock["method"], clock["l2_state"]) == ("cupti_span", "cold"):
            samples = sorted(clock["samples_ns"])
            middle = len(samples) // 2
            median = samples[middle] if len(samples) % 2 else (samples[middle - 1] + samples[middle]) / 2
            return median / 1e3
    return None


def show(number):
    return "-" if number is None else f"{number:.2f}"


def main():
    options = arguments()
    options.root = options.root or Path(tempfile.mkdtemp())
    only = dict((one.split("=")[0], set(one.split("=")[1].split(","))) for one in options.only)
    entries, workloads = [], {}
    for submission in options.submissions:
        solution, place = packed(options.proofmark, submission, options.root)
        name = solution["definition"]
        if name not in workloads:
            workloads[name] = add_task(options.root, options.dataset, name, options.workloads, only)
        entries.append((solution, place))
    # In a process of its own: what it holds of the GPU is gone when proofmark begins.
    process = multiprocessing.get_context("spawn").Process(target=theirs, args=(options.root, options.arch, options.timeout))
    process.start()
    process.join()
    bench = evaluations(options.root)
    # What has no time there needs none here: several at once, before anything is timed.
    timed = {name for (name, _), one in bench.items() if one.performance}
    with ThreadPoolExecutor(4) as pool:
        untimed = [(solution["name"], place) for solution, place in entries if solution["name"] not in timed]
        answers = dict(pool.map(lambda entry: (entry[0], measured(options, *entry)), untimed))
    rows = []
    for solution, place in entries:
        name = solution["name"]
        findings, again = answers.get(name) or measured(options, place=place, name=name)
        launches = {uuid: launched(one) for uuid, one in findings.items()}
        several = name in timed and any((count or 0) > 1 for count in launches.values())
        live = ours(options, place, name, ["--live", "always"]) if several else {}
        for workload in workloads[solution["definition"]]:
            uuid = workload["uuid"]
            found, other = findings.get(uuid) or {}, bench.get((name, uuid))
            verdict = found.get("verdict") or {}
            rows.append({
                "definition": solution["definition"], "entry": name,
                "axes": " ".join(f"{axis}={value}" for axis, value in workload["axes"].items()),
                "theirs": other.status.value if other else "none",
                "theirs_us": other.performance.latency_ms * 1e3 if other and other.performance else None,
                "ours": again.get(uuid) or verdict.get("status", "none").upper(),
                "ours_us": latency_us(found),
                "trust": (found.get("trust") or {}).get("kind", "-"),
                "launches": launches.get(uuid),
                "live_us": latency_us(live[uuid]) if uuid in live else None,
                "log": (other.log or "")[-300:] if other and not other.performance else "",
                "reason": verdict.get("reason") or found.get("refusal") or "",
            })
            print(json.dumps(rows[-1]), flush=True)
    if options.answers:
        options.answers.write_text("".join(json.dumps(row) + "\n" for row in rows))
    table(rows)


def read_back(path):
    """Verdicts of a file of traces, by FlashInfer-Bench's own model."""
    from flashinfer_bench.data import Trace

    lines = path.read_text().splitlines() if path.exists() else []
    traces = [Trace.model_validate_json(line) for line in lines]
    return {trace.workload.uuid: trace.evaluation.status.value for trace in traces if trace.evaluation}


def table(rows):
    print("| definition | entry | axes | FlashInfer-Bench | proofmark | launches | theirs µs | ours µs | | live µs |")
    print("|---|---|---|---|---|--:|--:|--:|--:|--:|")
    same = near = single = 0
    for row in rows:
        a, b = row["theirs_us"], row["ours_us"]
        difference = 100 * (b / a - 1) if a and b and row["theirs"] == "PASSED" else None
        same += row["theirs"] == row["ours"]
        if difference is not None and row["launches"] == 1:
            single += 1
            near += abs(difference) <= NEAR_PERCENT
        shown = "" if difference is None else f"{difference:+.1f} %"
        print(
            f"| {row['definition']} | {row['entry']} | {row['axes']} | {row['theirs']} | {row['ours']} ({row['trust']}) "
            f"| {row['launches'] or '-'} | {show(a)} | {show(b)} | {shown} | {show(row['live_us'])} |"
        )
    print(f"{same} of {len(rows)} verdicts the same; {near} of {single} one-kernel times within {NEAR_PERCENT:.0f} %")


if __name__ == "__main__":
    sys.exit(main())

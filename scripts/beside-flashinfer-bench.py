#!/usr/bin/env python3
"""Runs one submission through FlashInfer-Bench and through proofmark, over one data set, on one GPU.

    beside-flashinfer-bench.py PROOFMARK SUBMISSION ARCH [DATASET]

The data set is made of the definition, the submission's own or its task folder's, and of the first
workload of each batch size. FlashInfer-Bench gets the solution.json that `proofmark pack` writes and
builds it itself; both add their traces to the data set, and FlashInfer-Bench's own reader reads them
back. Needs flashinfer-bench, torch and, for its CUPTI clock, cupti-python 13.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path


def batch_of(trace):
    return trace.workload.axes["batch_size"]


def make_dataset(root, proofmark, submission):
    task = submission if (submission / "definition.json").exists() else submission.resolve().parent
    definition = json.loads((task / "definition.json").read_text())
    name, op_type = definition["name"], definition["op_type"]
    first = {}
    for line in (task / "workloads.jsonl").read_text().splitlines():
        first.setdefault(json.loads(line)["workload"]["axes"]["batch_size"], line)
    files = {
        f"definitions/{op_type}/{name}.json": json.dumps(definition),
        f"workloads/{op_type}/{name}.jsonl": "\n".join(first.values()) + "\n",
    }
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    solution = root / "solutions" / "packed.json"
    solution.parent.mkdir(exist_ok=True)
    subprocess.run([proofmark, "pack", submission, "--format", "flashinfer", "-o", solution], check=True)
    return name


def main():
    proofmark, submission, arch = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    root = Path(sys.argv[4] if len(sys.argv) > 4 else tempfile.mkdtemp())
    number = arch.removeprefix("sm_")
    os.environ["TVM_FFI_CUDA_ARCH_LIST"] = f"{number[:-2]}.{number[-2:]}"
    from flashinfer_bench.bench import Benchmark, BenchmarkConfig
    from flashinfer_bench.data import TraceSet

    name = make_dataset(root, proofmark, submission)
    config = BenchmarkConfig.default(profile_baseline=False)
    Benchmark(TraceSet.from_path(str(root)), config).run_all(dump_traces=True)
    theirs = TraceSet.from_path(str(root)).traces[name]
    bench = [proofmark, "bench", submission, "--arch", arch, "--dataset", root, "--traces", root, "--offline"]
    subprocess.run(bench, check=True)
    ours = TraceSet.from_path(str(root)).traces[name][len(theirs):]
    print("batch  FlashInfer-Bench             proofmark")
    for batch in sorted({batch_of(trace) for trace in theirs}):
        row = []
        for traces in (theirs, ours):
            evaluation = next(trace.evaluation for trace in traces if batch_of(trace) == batch)
            speed = evaluation.performance
            row.append(f"{evaluation.status.value} {speed.latency_ms * 1e3 if speed else float('nan'):.2f} us")
        print(f"{batch:5}  {row[0]:28} {row[1]}")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Measures a built gdn_decode library with other people's tools, to hold our numbers against.

    peers.py LIBRARY               torch.profiler's kernel times (CUPTI), cold, five runs; and what a
                                   call costs the host through TVM-FFI's Python
    ncu --clock-control none ... peers.py LIBRARY once BATCH
                                   a few cold calls for Nsight Compute to time
"""

import statistics
import sys
import time

import torch
import tvm_ffi

SIZES = [1, 4, 8, 16, 32, 48, 64]


def tensors(batch):
    def make(*shape, dtype=torch.bfloat16):
        return torch.randn(*shape, dtype=torch.float32, device="cuda").to(dtype)

    inputs = [
        make(batch, 1, 4, 128), make(batch, 1, 4, 128), make(batch, 1, 8, 128),
        make(batch, 8, 128, 128, dtype=torch.float32), make(8, dtype=torch.float32),
        make(batch, 1, 8), make(8, dtype=torch.float32), make(batch, 1, 8),
    ]
    outputs = [torch.empty_like(inputs[2]), torch.empty_like(inputs[3])]
    return inputs, outputs


def profiled(run, batch, flush, count=100):
    inputs, outputs = tensors(batch)
    call = lambda: run(*inputs, 128 ** -0.5, *outputs)
    for _ in range(10):
        call()
    torch.cuda.synchronize()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        for _ in range(count):
            flush.zero_()
            torch.cuda.synchronize()
            call()
            torch.cuda.synchronize()
    times = [event.time_range.elapsed_us() for event in profile.events()
             if event.device_type == torch.autograd.DeviceType.CUDA and "decode" in event.name]
    return statistics.median(times)


def dispatch(run, batch=1, count=2000):
    inputs, outputs = tensors(batch)
    for _ in range(100):
        run(*inputs, 128 ** -0.5, *outputs)
    torch.cuda.synchronize()
    rounds = []
    for _ in range(10):
        start = time.perf_counter_ns()
        for _ in range(count // 10):
            run(*inputs, 128 ** -0.5, *outputs)
        rounds.append((time.perf_counter_ns() - start) / (count // 10))
        torch.cuda.synchronize()
    return min(rounds), statistics.median(rounds)


def main():
    run = tvm_ffi.load_module(sys.argv[1])["run"]
    flush = torch.empty(2 * 62914560 // 4, dtype=torch.float32, device="cuda")
    if len(sys.argv) > 2:
        inputs, outputs = tensors(int(sys.argv[3]))
        for _ in range(12):
            flush.zero_()
            run(*inputs, 128 ** -0.5, *outputs)
        torch.cuda.synchronize()
        return
    low, median = dispatch(run)
    print(f"Python's TVM-FFI: {low:.0f} ns a call at best, {median:.0f} in the median")
    for number in range(5):
        times = [profiled(run, batch, flush) for batch in SIZES]
        print(f"torch.profiler run {number + 1}:", " ".join(f"{time:.2f}" for time in times), "us")


main()

"""Checks and times decoding kernels against each other and against yardsticks, on one GPU.

    nvcc -arch=sm_90a -O2 -shared -Xcompiler -fPIC yardsticks.cu -o yardsticks.so
    python3 measure.py --tvm-ffi libtvm_ffi.so --yardsticks yardsticks.so \
        --kernel ours=gdn_decode.so --kernel straightforward=straightforward.so --json out.json

A kernel is a library that exports __tvm_ffi_run, as nvcc builds it from a submission. Times are
CUPTI kernel times through torch.profiler, in microseconds: before each call, what earlier calls
pinned in L2 is unpinned, L2 is written over with twice its size, and the device is idle. Needs PyTorch; nothing is built or
fetched.
"""

import argparse
import ctypes
import json
import math
import statistics
import sys
import typing

import torch

HEADS, KEY_HEADS, SIZE = 8, 4, 128
# How often each batch size occurs among the contest's 54 workloads.
WORKLOADS = {1: 10, 4: 8, 8: 7, 16: 7, 32: 7, 48: 7, 64: 8}
STATE_BYTES = HEADS * SIZE * SIZE * 4  # per sequence


class Tensor(ctypes.Structure):
    """DLPack's DLTensor."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


class Value(ctypes.Union):
    _fields_ = [("integer", ctypes.c_int64), ("number", ctypes.c_double), ("pointer", ctypes.c_void_p)]


class Any(ctypes.Structure):
    """TVM-FFI's argument slot; type 0 is None, 3 a double, 7 a DLTensor pointer."""

    _fields_ = [("type_index", ctypes.c_int32), ("padding", ctypes.c_uint32), ("value", Value)]


DTYPES = {torch.float32: (2, 32), torch.bfloat16: (4, 16)}


class Kernel:
    """A submission's entry point, called through the TVM-FFI ABI without its Python package."""

    def __init__(self, path, ffi):
        self.ffi = ffi
        self.entry = ctypes.CDLL(path)["__tvm_ffi_run"]
        self.entry.restype = ctypes.c_int

    def bind(self, arguments):
        """Returns a callable for these arguments; they stay alive with it."""
        slots = (Any * len(arguments))()
        kept = [arguments]
        for slot, argument in zip(slots, arguments):
            slot.padding = 0
            if argument is None:
                slot.type_index = 0
                slot.value.integer = 0
            elif isinstance(argument, float):
                slot.type_index = 3
                slot.value.number = argument
            else:
                shape = (ctypes.c_int64 * argument.dim())(*argument.shape)
                strides = (ctypes.c_int64 * argument.dim())(*argument.stride())
                code, bits = DTYPES[argument.dtype]
                tensor = Tensor(argument.data_ptr(), 2, argument.device.index or 0, argument.dim(),
                                code, bits, 1, shape, strides, 0)
                kept += [shape, strides, tensor]
                slot.type_index = 7
                slot.value.pointer = ctypes.addressof(tensor)
        result = Any()

        def call():
            stream = torch.cuda.current_stream().cuda_stream
            self.ffi.TVMFFIEnvSetStream(2, 0, ctypes.c_void_p(stream), None)
            result.type_index = 0
            if self.entry(None, slots, len(arguments), ctypes.byref(result)) != 0:
                raise RuntimeError("the kernel refused its arguments")

        call.kept = kept
        return call


class Expected(typing.NamedTuple):
    """What the definition gives in float64, and what its float32 evaluation has to carry."""

    output: torch.Tensor     # [batch, 1, 8, 128]
    state: torch.Tensor      # [batch, 8, 128, 128]
    exponent: torch.Tensor   # [batch, 8], y in decay = exp(-y)
    recall: torch.Tensor     # [batch, 8, 128], sum of the magnitudes in each product of row and key
    answer: torch.Tensor     # [batch, 1, 8, 128], likewise in each output, its correction's parts included


def reference(q, k, v, state, a_log, a, dt_bias, b, scale):
    factor = scale if scale else 1.0 / math.sqrt(SIZE)
    query = q[:, 0].double().repeat_interleave(HEADS // KEY_HEADS, 1)[:, :, None]
    key = k[:, 0].double().repeat_interleave(HEADS // KEY_HEADS, 1)[:, :, None]
    gate = a[:, 0].double() + dt_bias.double()
    softplus = gate.clamp(min=0) + torch.log1p(torch.exp(-gate.abs()))
    exponent = torch.exp(a_log.double()) * softplus
    strength = torch.sigmoid(b[:, 0].double())
    shape = (q.shape[0], HEADS, SIZE, SIZE)
    old = torch.zeros(shape, dtype=torch.float64, device=q.device) if state is None else state.double()
    memory = old * torch.exp(-exponent)[..., None, None]
    correction = strength[..., None] * (v[:, 0].double() - (memory * key).sum(-1))
    new = memory + correction[..., None] * key
    output = factor * (new * query).sum(-1)
    # The correction is a difference, so its error goes with its parts, not with its size.
    recall = (old * key).abs().sum(-1)
    parts = strength[..., None] * (v[:, 0].double().abs() + torch.exp(-exponent)[..., None] * recall)
    answer = abs(factor) * ((memory.abs() + parts[..., None] * key.abs()) * query.abs()).sum(-1)
    return Expected(output.unsqueeze(1), new, exponent, recall, answer.unsqueeze(1))


def draw(batch, kind, generator):
    """Fresh inputs of one distribution."""

    def normal(*shape, shift=0.0):
        return torch.randn(*shape, generator=generator, device="cuda") + shift

    def low(tensor):
        return tensor.to(torch.bfloat16)

    q, k, v = normal(batch, 1, 4, SIZE), normal(batch, 1, 4, SIZE), normal(batch, 1, 8, SIZE)
    state, a_log, dt_bias = normal(batch, 8, SIZE, SIZE), normal(8), normal(8)
    a, b = normal(batch, 1, 8), normal(batch, 1, 8)
    if kind == "model":  # normalised keys and queries, rates from 0 to 16, small steps
        q, k = (t / t.norm(dim=-1, keepdim=True) for t in (q, k))
        a_log = (torch.rand(8, generator=generator, device="cuda") * 16 + 1e-3).log()
        dt_bias = normal(8, shift=-4.0)
        state *= 0.1
    elif kind == "heavy":  # heavy tails
        q, k, v, state = (t * torch.exp(2 * torch.randn(t.shape, generator=generator, device="cuda"))
                          for t in (q, k, v, state))
    elif kind == "saturated":  # gates at both ends
        a, b, dt_bias, a_log = a * 40, b * 40, dt_bias * 10, a_log * 4
    elif kind == "large":  # far from 1, but inside what float32 holds
        state *= 1e26
        k *= 1e3
    return [low(q), low(k), low(v), state, a_log, low(a), dt_bias, low(b)]


def run(kernel, inputs, scale):
    batch = inputs[0].shape[0]
    output = torch.full((batch, 1, 8, SIZE), float("nan"), dtype=torch.bfloat16, device="cuda")
    state = torch.full((batch, 8, SIZE, SIZE), float("nan"), device="cuda")
    kernel.bind([*inputs, scale, output, state])()
    torch.cuda.synchronize()
    return output, state


def check(name, kernel):
    """Compares with float64 on fresh inputs; returns the worst relative errors seen."""
    generator = torch.Generator(device="cuda")
    generator.seed()
    failures, worst_whole, worst_state, worst_output = [], 0.0, 0.0, 0.0
    batches = [1, 2, 3, 4, 5, 7, 8, 11, 12, 13, 16, 24, 25, 31, 32, 33, 48, 53, 54, 63, 64, 66, 67, 100,
               127, 128, 200, 256]
    cases = [(batch, kind) for batch in batches
             for kind in ("normal", "model", "heavy", "saturated", "large")]
    cases += [(batch, "normal") for batch in (511, 512, 1000, 1024)]
    for batch, kind in cases:
        inputs = draw(batch, kind, generator)
        for scale, absent in ((SIZE ** -0.5, False), (0.0, False), (0.37, True)):
            if batch > 256 and scale == 0.0:
                continue
            given = [*inputs[:3], None if absent else inputs[3], *inputs[4:]]
            output, state = run(kernel, given, scale)
            want = reference(*given, scale)
            difference = state.double() - want.state
            whole = (difference.norm() / want.state.norm().clamp(min=1e-25)).item()
            # Per head too, so that a head of small numbers cannot hide behind one of large numbers.
            # float32 carries the decay's exponent y to a few roundings, and exp(-y) to y times that.
            relative = (difference.flatten(2).norm(dim=2)
                        / want.state.flatten(2).norm(dim=2).clamp(min=1e-25))
            state_error = (relative / (1e-6 + 2.0 ** -21 * want.exponent)).max().item()
            # One rounding to bf16, and float32's own error in a sum of 128 products.
            allowed = 2.0 ** -8 * want.output.abs() + 1e-6 * want.answer
            output_error = ((output.double() - want.output).abs() / allowed.clamp(min=1e-30)).max().item()
            worst_whole = max(worst_whole, whole)
            worst_state, worst_output = max(worst_state, state_error), max(worst_output, output_error)
            # Written so that NaN fails.
            if not (whole <= 1e-6 and state_error <= 1.0 and output_error <= 1.0):
                failures.append(f"batch {batch} {kind} scale {scale} absent {absent}: state {whole:.2e}, "
                                f"a head {state_error:.2f} of its limit, output {output_error:.2f} roundings")
    failures += check_extremes(kernel, generator)
    failures += check_graph(kernel, generator)
    print(f"{name}: {'correct' if not failures else 'WRONG'}, {len(cases)} input sets; new_state within "
          f"{worst_whole:.1e} of float64, a head within {worst_state:.2f} of its limit; output within "
          f"{worst_output:.3f} bf16 roundings; {len(failures)} failures")
    for failure in failures[:12] + failures[12:][-6:]:
        print("   ", failure)
    return {"failures": failures, "state": worst_whole, "head": worst_state, "output": worst_output}


def same_kind(found, wanted):
    """Whether NaN, both infinities and finite numbers stand in the same places."""
    return (torch.equal(found.isnan(), wanted.isnan())
            and torch.equal(found.isposinf(), wanted.isposinf())
            and torch.equal(found.isneginf(), wanted.isneginf()))


def plain(q, k, v, state, a_log, a, dt_bias, b, scale):
    """The definition in float32, for inputs whose point is where float32 overflows."""
    query = q[:, 0].float().repeat_interleave(2, 1)
    key = k[:, 0].float().repeat_interleave(2, 1)
    decay = torch.exp(-torch.exp(a_log) * torch.nn.functional.softplus(a[:, 0].float() + dt_bias))
    memory = state * decay[..., None, None]
    recalled = (memory * key[:, :, None]).sum(-1)
    correction = torch.sigmoid(b[:, 0].float())[..., None] * (v[:, 0].float() - recalled)
    memory = memory + correction[..., None] * key[:, :, None]
    return (scale * (memory * query[:, :, None]).sum(-1)).unsqueeze(1), memory


def check_extremes(kernel, generator):
    """One infinity, NaN or huge number somewhere: the same places must be spoilt as by definition."""
    failures = []
    for batch in (1, 4, 16, 32, 64, 80):
        for name in ("q", "k", "v", "state", "a", "b", "A_log", "dt_bias"):
            for value in (float("inf"), float("-inf"), float("nan"), 3e38, -3e38):
                inputs = draw(batch, "normal", generator)
                index = ["q", "k", "v", "state", "A_log", "a", "dt_bias", "b"].index(name)
                flat = inputs[index].view(-1)
                flat[torch.randint(flat.numel(), (1,), generator=generator, device="cuda")] = value
                output, state = run(kernel, inputs, 0.25)
                want_output, want_state = plain(*inputs, 0.25)
                # A huge finite input may overflow in a sum, in whatever order that is taken; rows
                # far from that must be finite.
                if math.isfinite(value) and name in ("q", "k", "v", "state"):
                    want = reference(*inputs, 0.25)
                    limit = torch.finfo(torch.float32).max / 64
                    clear = ((want.recall < limit) & (want.state.abs().amax(-1) < limit)
                             & (want.answer[:, 0] < limit) & (inputs[2][:, 0].abs() < limit))
                    good = state[clear].isfinite().all() and output[:, 0][clear].isfinite().all()
                else:
                    good = same_kind(state, want_state) and same_kind(output.float(), want_output)
                if not good:
                    failures.append(f"batch {batch}: {name} holds {value}")
    return failures


def check_graph(kernel, generator):
    """A captured call must replay on new contents of the same buffers."""
    inputs = draw(16, "normal", generator)
    output = torch.empty(16, 1, 8, SIZE, dtype=torch.bfloat16, device="cuda")
    state = torch.empty(16, 8, SIZE, SIZE, device="cuda")
    call = kernel.bind([*inputs, 0.1, output, state])
    call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    for old, new in zip(inputs, draw(16, "normal", generator)):
        old.copy_(new)
    graph.replay()
    torch.cuda.synchronize()
    want = reference(*inputs, 0.1).state
    error = ((state.double() - want).norm() / want.norm()).item()
    return [] if error < 1e-6 else [f"graph replay: {error:.2e}"]


def times(calls, samples, make_cold):
    """Kernel times in microseconds of each call, interleaved in blocks of samples."""
    block = 25
    found = {name: [] for name in calls}
    for round_ in range(math.ceil(samples / block)):
        names = list(calls)
        names = names[round_ % len(names):] + names[:round_ % len(names)]
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            for name in names:
                for _ in range(block + 1):
                    make_cold()
                    torch.cuda.synchronize()
                    calls[name]()
                    torch.cuda.synchronize()
        events = sorted((event.start_ns(), event.duration_ns() / 1000.0, event.name())
                        for event in profile.profiler.kineto_results.events()
                        if str(event.device_type()).endswith("CUDA"))
        if len(events) != 2 * len(names) * (block + 1):
            raise RuntimeError(f"expected {2 * len(names) * (block + 1)} device events, found "
                               f"{len(events)}: {sorted({name for _, _, name in events})}")
        durations = [duration for _, duration, _ in events[1::2]]
        for position, name in enumerate(names):
            first = position * (block + 1)
            found[name] += durations[first + 1:first + 1 + block]  # the first of a block warms up
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tvm-ffi", required=True, help="path of libtvm_ffi.so")
    parser.add_argument("--yardsticks", required=True, help="path of the built yardsticks.cu")
    parser.add_argument("--kernel", action="append", required=True, help="name=path of a built submission")
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--batches", default=",".join(map(str, WORKLOADS)))
    parser.add_argument("--skip-check", action="store_true")
    parser.add_argument("--json", help="where to write raw samples")
    options = parser.parse_args()

    ffi = ctypes.CDLL(options.tvm_ffi, mode=ctypes.RTLD_GLOBAL)
    yardsticks = ctypes.CDLL(options.yardsticks)
    torch.zeros(1, device="cuda")
    kernels = {}
    for item in options.kernel:
        name, path = item.split("=", 1)
        kernels[name] = Kernel(path, ffi)
    device = torch.cuda.get_device_properties(0)
    print(f"{device.name}, {device.multi_processor_count} multiprocessors, L2 {device.L2_cache_size} bytes, "
          f"torch {torch.__version__}")
    checks = {} if options.skip_check else {name: check(name, kernel) for name, kernel in kernels.items()}

    flush = torch.empty(2 * device.L2_cache_size, dtype=torch.uint8, device="cuda")
    for _ in range(5000):  # about 0.2 s, so that clocks are up
        flush.zero_()

    def make_cold():
        if yardsticks.yardstick_unpin() != 0:
            raise RuntimeError("cannot unpin lines of L2")
        flush.zero_()

    generator = torch.Generator(device="cuda")
    generator.manual_seed(1)
    batches = [int(batch) for batch in options.batches.split(",")]
    medians, raw = {}, {}
    for batch in batches:
        inputs = draw(batch, "normal", generator)
        state = inputs[3]
        new_state = torch.empty_like(state)
        output = torch.empty(batch, 1, 8, SIZE, dtype=torch.bfloat16, device="cuda")
        size = ctypes.c_size_t(batch * STATE_BYTES)

        def stick(name, *tensors):
            function = getattr(yardsticks, "yardstick_" + name)
            pointers = [ctypes.c_void_p(tensor.data_ptr()) for tensor in tensors]

            def call():
                stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
                if function(*pointers, size, stream) != 0:
                    raise RuntimeError(f"yardstick {name} failed")

            return call

        calls = {
            "empty": stick("empty"),
            "read": stick("read", state, new_state),
            "write": stick("write", new_state),
            "copy": lambda: new_state.copy_(state),
            "copy_simple": stick("copy_simple", state, new_state),
            "copy_tuned": stick("copy_tuned", state, new_state),
            "copy_in_place": stick("copy_tuned", state, state),
        }
        for name, kernel in kernels.items():
            calls[name] = kernel.bind([*inputs, SIZE ** -0.5, output, new_state])
        raw[batch] = times(calls, options.samples, make_cold)
        medians[batch] = {name: statistics.median(values) for name, values in raw[batch].items()}

    names = list(medians[batches[0]])
    print("batch " + " ".join(f"{name:>16}" for name in names))
    for batch in batches:
        print(f"{batch:5d} " + " ".join(f"{medians[batch][name]:16.3f}" for name in names))
    if all(batch in medians for batch in WORKLOADS):
        mean = {name: sum(count * medians[batch][name] for batch, count in WORKLOADS.items())
                / sum(WORKLOADS.values()) for name in names}
        print(" mean " + " ".join(f"{mean[name]:16.3f}" for name in names))
    print("quartiles of the kernels, and share of the copy's speed")
    for batch in batches:
        for name in kernels:
            low, middle, high = statistics.quantiles(raw[batch][name], n=4)
            print(f"{batch:5d} {name:>16} {low:7.3f} {middle:7.3f} {high:7.3f}  n {len(raw[batch][name])}"
                  f"  {medians[batch]['copy'] / middle:6.1%} of copy"
                  f"  {medians[batch]['copy_tuned'] / middle:6.1%} of copy_tuned")
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"device": device.name, "samples": raw, "checks": checks}, file)
    return 1 if any(result["failures"] for result in checks.values()) else 0


if __name__ == "__main__":
    sys.exit(main())

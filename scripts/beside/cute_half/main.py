# Wrong: every second row is left as it was.
import cuda.bindings.driver as driver
import cutlass
import cutlass.cute as cute
import torch
from cutlass.cute.runtime import from_dlpack


@cute.kernel
def rows(x: cute.Tensor, weight: cute.Tensor, y: cute.Tensor):
    thread, _, _ = cute.arch.thread_idx()
    block, _, _ = cute.arch.block_idx()
    row = (block * 64 + thread) * 2
    if row < x.shape[0]:
        power = cutlass.Float32(0.0)
        for column in range(128):
            value = x[row, column].to(cutlass.Float32)
            power += value * value
        scale = cute.math.rsqrt(power / 128.0 + 1e-5)
        for column in range(128):
            value = x[row, column].to(cutlass.Float32) * scale * weight[column].to(cutlass.Float32)
            y[row, column] = value.to(cutlass.BFloat16)


@cute.jit
def launch(x: cute.Tensor, weight: cute.Tensor, y: cute.Tensor, stream: driver.CUstream):
    rows(x, weight, y).launch(grid=((x.shape[0] + 63) // 64, 1, 1), block=(64, 1, 1), stream=stream)


compiled = {}


def run(x, weight, y):
    stream = driver.CUstream(torch.cuda.current_stream().cuda_stream)
    tensors = [from_dlpack(tensor) for tensor in (x, weight, y)]
    if x.shape not in compiled:
        compiled[x.shape] = cute.compile(launch, *tensors, stream)
    compiled[x.shape](*tensors, stream)

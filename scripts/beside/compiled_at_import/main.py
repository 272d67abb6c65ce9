# Compiles the kernel beside it when it is imported.
from pathlib import Path

import tvm_ffi.cpp

module = tvm_ffi.cpp.load(
    name="rows", cuda_files=[str(Path(__file__).parent / "kernel.cu")], extra_cuda_cflags=["-O3"]
)
run = module.run

#!/bin/sh
# Makes the fixtures of the prover anew: NVCC is an nvcc 13.0, NEWER one from 13.5, PTXAS12 a ptxas 12.9.
# Each is a few KiB and holds no host code beyond a stub. The tests do not need this to run.
set -eu
: "${NVCC:?}" "${NEWER:?}" "${PTXAS12:?}"
out=$(dirname "$0")/../tests/fixtures/proof
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
cd "$work"
cat > k.cu <<'SOURCE'
extern "C" __global__ void axpy(float a, const float* x, float* y, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = a * x[i] + y[i];
}
SOURCE
exact="-gencode arch=compute_100a,code=sm_100a"
"$NVCC" -cubin $exact k.cu -o exact_13.0.cubin
"$NEWER" -cubin $exact k.cu -o exact_13.5.cubin
"$NVCC" -fatbin $exact k.cu -o exact_13.0.fatbin
"$NEWER" -fatbin $exact k.cu -o exact_13.5.fatbin
"$NVCC" -fatbin --compress-mode=size $exact k.cu -o exact_compressed_13.0.fatbin
"$NVCC" -fatbin -lineinfo $exact k.cu -o exact_lineinfo_13.0.fatbin
"$NVCC" -c $exact k.cu -o exact_13.0.o
"$NVCC" -dc $exact k.cu -o exact_unlinked_13.0.o
"$NVCC" -ptx -arch=compute_90 k.cu -o k.ptx
sed 's/^\.version .*/.version 8.8/; s/^\.target .*/.target sm_100a/' k.ptx > k12.ptx
"$PTXAS12" -arch=sm_100a k12.ptx -o exact_12.9.cubin
c++ -shared -s exact_13.0.o -o exact_13.0.so -Wl,-z,max-page-size=4096 -Wl,--unresolved-symbols=ignore-all -nostdlib
"$NVCC" -cubin -gencode arch=compute_100,code=sm_100 k.cu -o plain_13.0.cubin
"$NVCC" -fatbin -gencode arch=compute_100f,code=sm_100f k.cu -o family_13.0.fatbin
"$NVCC" -fatbin -arch=sm_100a k.cu -o with_ptx_13.0.fatbin
"$NVCC" -fatbin -gencode arch=compute_90,code=sm_100a k.cu -o weak_front_end_13.0.fatbin
"$NVCC" -dc -gencode arch=compute_100a,code=lto_100a k.cu -o lto_13.0.o
"$NEWER" -fatbin --concat --compress-mode=size -Xfatbin -compress-all $exact \
  -gencode arch=compute_103a,code=sm_103a k.cu -o concatenated_13.5.fatbin
sed 's/sm_100a/sm_90a/' k12.ptx > k90.ptx
"$PTXAS12" -arch=sm_90a k90.ptx -o hopper_12.9.cubin
mkdir -p "$out"
cp ./*_1[23].*.* "$out"

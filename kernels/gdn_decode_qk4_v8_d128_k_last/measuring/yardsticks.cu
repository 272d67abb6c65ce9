// Kernels that bound what a decoding step can cost: nothing, reading, writing, copying.
//
// Plain C entry points, called by measure.py. Sizes are in bytes and multiples of 16384.

#include <cuda_runtime.h>

#include <cstddef>

namespace {

// float4 accesses of one thread, a block's accesses side by side.
template <int kPerThread>
__global__ void copy(const float4* source, float4* destination) {
  const size_t first = size_t(blockIdx.x) * blockDim.x * kPerThread + threadIdx.x;
  float4 held[kPerThread];
#pragma unroll
  for (int i = 0; i < kPerThread; ++i) {
    held[i] = __ldcs(source + first + size_t(i) * blockDim.x);
  }
#pragma unroll
  for (int i = 0; i < kPerThread; ++i) {
    destination[first + size_t(i) * blockDim.x] = held[i];
  }
}

__global__ void read(const float4* source, float* never_written) {
  const size_t first = size_t(blockIdx.x) * blockDim.x * 2 + threadIdx.x;
  const float4 one = __ldcs(source + first);
  const float4 two = __ldcs(source + first + blockDim.x);
  if (one.x + one.y + one.z + one.w + two.x + two.y + two.z + two.w == 1.2345e30f) {
    *never_written = 1.0f;
  }
}

__global__ void write(float4* destination) {
  const size_t first = size_t(blockIdx.x) * blockDim.x * 2 + threadIdx.x;
  destination[first] = make_float4(1.0f, 2.0f, 3.0f, 4.0f);
  destination[first + blockDim.x] = make_float4(1.0f, 2.0f, 3.0f, 4.0f);
}

__global__ void empty() {}

}  // namespace

extern "C" int yardstick_empty(size_t size_bytes, cudaStream_t stream) {
  (void)size_bytes;
  empty<<<132, 128, 0, stream>>>();  // a block per multiprocessor of an H200
  return cudaGetLastError();
}

extern "C" int yardstick_read(const void* source, void* destination, size_t size_bytes,
                              cudaStream_t stream) {
  read<<<size_bytes / (256 * 32), 256, 0, stream>>>(static_cast<const float4*>(source),
                                                    static_cast<float*>(destination));
  return cudaGetLastError();
}

extern "C" int yardstick_write(void* destination, size_t size_bytes, cudaStream_t stream) {
  write<<<size_bytes / (256 * 32), 256, 0, stream>>>(static_cast<float4*>(destination));
  return cudaGetLastError();
}

// One access per thread: the shape of a simple copy.
extern "C" int yardstick_copy_simple(const void* source, void* destination, size_t size_bytes,
                                     cudaStream_t stream) {
  copy<1><<<size_bytes / (512 * 16), 512, 0, stream>>>(static_cast<const float4*>(source),
                                                       static_cast<float4*>(destination));
  return cudaGetLastError();
}

// Four accesses per thread in small blocks: the fastest plain copy found.
extern "C" int yardstick_copy_tuned(const void* source, void* destination, size_t size_bytes,
                                    cudaStream_t stream) {
  copy<4><<<size_bytes / (64 * 64), 64, 0, stream>>>(static_cast<const float4*>(source),
                                                     static_cast<float4*>(destination));
  return cudaGetLastError();
}

// Kernels that bound what a decoding step can cost: nothing, reading, writing, copying.
//
// Plain C entry points, called by yardsticks.py. Sizes are in bytes and multiples of 16384.

#include <cuda_runtime.h>

#include <cstddef>

namespace {

// kPerThread float4 of one thread, which a warp's lanes read side by side: each warp copies a stretch of
// its own. In place where source and destination are the same.
template <int kPerThread>
__global__ void copy(const float4* source, float4* destination) {
  const size_t warp = (size_t(blockIdx.x) * blockDim.x + threadIdx.x) / 32;
  const size_t first = warp * (32 * kPerThread) + threadIdx.x % 32;
  float4 held[kPerThread];
#pragma unroll
  for (int i = 0; i < kPerThread; ++i) {
    held[i] = __ldcs(source + first + i * 32);
  }
#pragma unroll
  for (int i = 0; i < kPerThread; ++i) {
    destination[first + i * 32] = held[i];
  }
}

template <int kPerThread>
cudaError_t launch_copy(const void* source, void* destination, size_t size_bytes, int threads,
                        cudaStream_t stream) {
  copy<kPerThread><<<size_bytes / (threads * kPerThread * 16), threads, 0, stream>>>(
      static_cast<const float4*>(source), static_cast<float4*>(destination));
  return cudaGetLastError();
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

// Unpins what earlier calls pinned in L2: no flush by plain writes takes out lines that were read or
// written with an evict_last hint.
extern "C" int yardstick_unpin() { return cudaCtxResetPersistingL2Cache(); }

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

// The fastest plain copy found for each size; the in-place one likes the same shapes.
extern "C" int yardstick_copy(const void* source, void* destination, size_t size_bytes,
                              cudaStream_t stream) {
  const size_t megabytes = size_bytes >> 20;
  if (megabytes < 4) {
    return launch_copy<4>(source, destination, size_bytes, 64, stream);
  } else if (megabytes < 8) {
    return launch_copy<8>(source, destination, size_bytes, 128, stream);
  } else if (megabytes < 12) {
    return launch_copy<4>(source, destination, size_bytes, 32, stream);
  } else if (megabytes < 20) {
    return launch_copy<8>(source, destination, size_bytes, 128, stream);
  } else if (megabytes < 28) {
    return launch_copy<16>(source, destination, size_bytes, 64, stream);
  }
  return launch_copy<4>(source, destination, size_bytes, 64, stream);
}

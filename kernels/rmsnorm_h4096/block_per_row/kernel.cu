// rmsnorm_h4096: one block normalises one row of 4096 bf16 numbers.

#include <cuda_bf16.h>
#include <cuda_runtime.h>
#include <tvm/ffi/extra/c_env_api.h>
#include <tvm/ffi/extra/cuda/device_guard.h>
#include <tvm/ffi/tvm_ffi.h>

#include <cstdint>

namespace rmsnorm {

constexpr int kHiddenSize = 4096;                // numbers in a row
constexpr int kPerThread = 8;                    // bf16 numbers in one 16-byte access
constexpr int kThreads = kHiddenSize / kPerThread;
constexpr float kEpsilon = 1e-5f;                // fixed by the definition

// Eight bf16 numbers, moved as one 16-byte word.
union Bf16x8 {
  uint4 word;
  __nv_bfloat162 pairs[4];
};

__global__ void __launch_bounds__(kThreads)
    normalise_rows(const uint4* hidden_states, const uint4* weight, uint4* output) {
  __shared__ float partial[kThreads / 32];
  const int64_t position = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  Bf16x8 row, factor;
  row.word = hidden_states[position];
  factor.word = weight[threadIdx.x];

  float power = 0.0f;
  for (int pair = 0; pair < 4; ++pair) {
    const float2 value = __bfloat1622float2(row.pairs[pair]);
    power += value.x * value.x + value.y * value.y;
  }
  for (int distance = 16; distance > 0; distance /= 2) {
    power += __shfl_xor_sync(0xffffffffu, power, distance);
  }
  if (threadIdx.x % 32 == 0) {
    partial[threadIdx.x / 32] = power;
  }
  __syncthreads();
  float total = 0.0f;
  for (int warp = 0; warp < kThreads / 32; ++warp) {
    total += partial[warp];
  }
  const float inverse = 1.0f / sqrtf(total / kHiddenSize + kEpsilon);

  for (int pair = 0; pair < 4; ++pair) {
    const float2 value = __bfloat1622float2(row.pairs[pair]);
    const float2 scale = __bfloat1622float2(factor.pairs[pair]);
    row.pairs[pair] =
        __floats2bfloat162_rn(value.x * inverse * scale.x, value.y * inverse * scale.y);
  }
  output[position] = row.word;
}

// Returns the tensor's first element after checking that it is contiguous bf16 on the device.
inline uint4* checked(const tvm::ffi::TensorView& tensor, const char* name, int rank,
                      DLDevice device) {
  if (tensor.dtype().code != kDLBfloat || tensor.dtype().bits != 16 || tensor.dtype().lanes != 1) {
    TVM_FFI_THROW(TypeError) << name << ": expected dtype bfloat16";
  }
  if (tensor.ndim() != rank || tensor.size(rank - 1) != kHiddenSize) {
    TVM_FFI_THROW(ValueError) << name << ": expected " << rank << " dimensions, the last of size "
                              << kHiddenSize;
  }
  if (!tensor.IsContiguous()) {
    TVM_FFI_THROW(ValueError) << name << ": expected a contiguous tensor";
  }
  if (tensor.device().device_type != kDLCUDA || tensor.device().device_id != device.device_id) {
    TVM_FFI_THROW(ValueError) << name << ": expected a CUDA tensor on the device of hidden_states";
  }
  char* first = static_cast<char*>(tensor.data_ptr()) + tensor.byte_offset();
  if (reinterpret_cast<uintptr_t>(first) % sizeof(uint4) != 0) {
    TVM_FFI_THROW(ValueError) << name << ": expected an address that is a multiple of 16 bytes";
  }
  return reinterpret_cast<uint4*>(first);
}

// hidden_states [batch, 4096] bf16, weight [4096] bf16, output [batch, 4096] bf16.
void run(tvm::ffi::TensorView hidden_states, tvm::ffi::TensorView weight,
         tvm::ffi::TensorView output) {
  const DLDevice device = hidden_states.device();
  const uint4* rows = checked(hidden_states, "hidden_states", 2, device);
  const uint4* factors = checked(weight, "weight", 1, device);
  uint4* results = checked(output, "output", 2, device);
  if (output.size(0) != hidden_states.size(0)) {
    TVM_FFI_THROW(ValueError) << "output: expected size " << hidden_states.size(0)
                              << " in dimension 0, found " << output.size(0);
  }
  if (hidden_states.size(0) == 0) {
    return;
  }
  tvm::ffi::CUDADeviceGuard guard(device.device_id);
  const auto stream =
      static_cast<cudaStream_t>(TVMFFIEnvGetStream(device.device_type, device.device_id));
  normalise_rows<<<hidden_states.size(0), kThreads, 0, stream>>>(rows, factors, results);
  TVM_FFI_CHECK_CUDA_ERROR(cudaGetLastError());
}

}  // namespace rmsnorm

TVM_FFI_DLL_EXPORT_TYPED_FUNC(run, rmsnorm::run);

// rmsnorm_h4096, reference: one block per row, everything in float64, rounded only when stored.

#include <cuda_bf16.h>
#include <cuda_runtime.h>
#include <tvm/ffi/extra/c_env_api.h>
#include <tvm/ffi/extra/cuda/device_guard.h>
#include <tvm/ffi/tvm_ffi.h>

#include <cstdint>

namespace rmsnorm {

constexpr int kHiddenSize = 4096;  // numbers in a row
constexpr int kThreads = 128;
constexpr double kEpsilon = 1e-5;  // fixed by the definition

// Block = one row. Each thread adds every 128th square; thread 0 adds the partial sums in order.
__global__ void __launch_bounds__(kThreads)
    normalise_rows(const __nv_bfloat16* hidden_states, const __nv_bfloat16* weight,
                   __nv_bfloat16* output) {
  __shared__ double partial[kThreads];
  __shared__ double root;
  const __nv_bfloat16* row = hidden_states + int64_t(blockIdx.x) * kHiddenSize;
  __nv_bfloat16* result = output + int64_t(blockIdx.x) * kHiddenSize;

  double power = 0.0;
  for (int column = threadIdx.x; column < kHiddenSize; column += kThreads) {
    power += double(row[column]) * double(row[column]);
  }
  partial[threadIdx.x] = power;
  __syncthreads();
  if (threadIdx.x == 0) {
    double total = 0.0;
    for (int thread = 0; thread < kThreads; ++thread) {
      total += partial[thread];
    }
    root = sqrt(total / kHiddenSize + kEpsilon);
  }
  __syncthreads();
  for (int column = threadIdx.x; column < kHiddenSize; column += kThreads) {
    result[column] = __double2bfloat16(double(row[column]) / root * double(weight[column]));
  }
}

// Returns the tensor's first element after checking that it is contiguous bf16 on the device.
inline __nv_bfloat16* checked(const tvm::ffi::TensorView& tensor, const char* name, int rank,
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
  if (reinterpret_cast<uintptr_t>(first) % sizeof(__nv_bfloat16) != 0) {
    TVM_FFI_THROW(ValueError) << name << ": expected an address that is a multiple of 2 bytes";
  }
  return reinterpret_cast<__nv_bfloat16*>(first);
}

// hidden_states [batch, 4096] bf16, weight [4096] bf16, output [batch, 4096] bf16.
void run(tvm::ffi::TensorView hidden_states, tvm::ffi::TensorView weight,
         tvm::ffi::TensorView output) {
  const DLDevice device = hidden_states.device();
  const __nv_bfloat16* rows = checked(hidden_states, "hidden_states", 2, device);
  const __nv_bfloat16* factors = checked(weight, "weight", 1, device);
  __nv_bfloat16* results = checked(output, "output", 2, device);
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

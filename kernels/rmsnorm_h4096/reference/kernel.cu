// rmsnorm_h4096, reference: one block per row, everything in float64, rounded only when stored.

#include <cuda_bf16.h>
#include <cuda_runtime.h>
#include <tvm/ffi/extra/c_env_api.h>
#include <tvm/ffi/extra/cuda/device_guard.h>
#include <tvm/ffi/tvm_ffi.h>

#include "float64_view.h"

namespace rmsnorm {

using reference::Float64View;

constexpr int kHiddenSize = 4096;  // numbers in a row
constexpr int kThreads = 128;
constexpr double kEpsilon = 1e-5;  // fixed by the definition

// Block = one row. Each thread adds every 128th square; thread 0 adds the partial sums in order.
__global__ void __launch_bounds__(kThreads)
    normalise_rows(Float64View<const __nv_bfloat16, 2> hidden_states,
                   Float64View<const __nv_bfloat16, 1> weight,
                   Float64View<__nv_bfloat16, 2> output) {
  __shared__ double partial[kThreads];
  __shared__ double root;
  const int64_t row = blockIdx.x;

  double power = 0.0;
  for (int64_t column = threadIdx.x; column < kHiddenSize; column += kThreads) {
    const double value = hidden_states.get({row, column});
    power += value * value;
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
  for (int64_t column = threadIdx.x; column < kHiddenSize; column += kThreads) {
    output.set({row, column}, hidden_states.get({row, column}) / root * weight.get({column}));
  }
}

// Normalises the rows on the caller's stream.
void run(tvm::ffi::TensorView hidden_states, tvm::ffi::TensorView weight,
         tvm::ffi::TensorView output) {
  const DLDevice device = hidden_states.device();
  reference::CallReader reader(device);
  const auto rows = reader.input<const __nv_bfloat16>(hidden_states, "hidden_states",
                                                      {reference::kAnySize, kHiddenSize});
  const int64_t batch = hidden_states.size(0);
  const auto factors = reader.input<const __nv_bfloat16>(weight, "weight", {kHiddenSize});
  const auto results = reader.output<__nv_bfloat16>(output, "output", {batch, kHiddenSize});
  if (batch == 0) {
    return;
  }
  tvm::ffi::CUDADeviceGuard guard(device.device_id);
  const auto stream =
      static_cast<cudaStream_t>(TVMFFIEnvGetStream(device.device_type, device.device_id));
  normalise_rows<<<batch, kThreads, 0, stream>>>(rows, factors, results);
  TVM_FFI_CHECK_CUDA_ERROR(cudaGetLastError());
}

}  // namespace rmsnorm

TVM_FFI_DLL_EXPORT_TYPED_FUNC(run, rmsnorm::run);

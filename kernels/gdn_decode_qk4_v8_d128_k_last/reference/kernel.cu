// gdn_decode_qk4_v8_d128_k_last, reference: one thread per row, everything in float64.
//
// step.h          reads the call and computes one row
// float64_view.h  shows tensors as float64

#include <cuda_runtime.h>
#include <tvm/ffi/extra/c_env_api.h>
#include <tvm/ffi/extra/cuda/device_guard.h>
#include <tvm/ffi/tvm_ffi.h>

#include "step.h"

namespace gdn_decode_reference {

// Block = one head of one sequence; thread = one of its 128 value indices, which owns one row of
// the state.
__global__ void __launch_bounds__(kHeadSize) decode_rows(const __grid_constant__ Call call) {
  decode_row(call, blockIdx.x / kHeads, blockIdx.x % kHeads, threadIdx.x);
}

// Enters one decoding step on the caller's stream.
void run(TensorView q, TensorView k, TensorView v, tvm::ffi::Optional<TensorView> state,
         TensorView A_log, TensorView a, TensorView dt_bias, TensorView b, double scale,
         TensorView output, TensorView new_state) {
  const Call call = read_call(q, k, v, state, A_log, a, dt_bias, b, scale, output, new_state);
  if (q.size(0) == 0) {
    return;
  }
  const DLDevice device = q.device();
  tvm::ffi::CUDADeviceGuard guard(device.device_id);
  const auto stream =
      static_cast<cudaStream_t>(TVMFFIEnvGetStream(device.device_type, device.device_id));
  decode_rows<<<q.size(0) * kHeads, kHeadSize, 0, stream>>>(call);
  TVM_FFI_CHECK_CUDA_ERROR(cudaGetLastError());
}

}  // namespace gdn_decode_reference

TVM_FFI_DLL_EXPORT_TYPED_FUNC(run, gdn_decode_reference::run);

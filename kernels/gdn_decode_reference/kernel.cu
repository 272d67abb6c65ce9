// gdn_decode_qk4_v8_d128_k_last, reference: one thread per row, everything in float64.
//
// Written to be read and believed, not to be fast: it computes what the definition says, in its
// order, and rounds only when it stores.

#include <cuda_bf16.h>
#include <cuda_runtime.h>
#include <tvm/ffi/extra/c_env_api.h>
#include <tvm/ffi/extra/cuda/device_guard.h>
#include <tvm/ffi/tvm_ffi.h>

#include "arguments.h"

namespace gdn_decode {

// Natural logarithm of 1 + exp(x), without overflow for large x.
__device__ inline double softplus(double x) {
  return fmax(x, 0.0) + log1p(exp(-fabs(x)));
}

// Block = one head of one sequence; thread = one of its 128 value indices, which owns one row.
__global__ void __launch_bounds__(kHeadSize) decode_rows(Arguments call) {
  const int64_t head = blockIdx.x;
  const int64_t sequence = head / kValueHeads;
  const int value_head = head % kValueHeads;
  const int query_head = value_head / (kValueHeads / kQueryHeads);
  const int64_t row = head * kHeadSize + threadIdx.x;

  const __nv_bfloat16* query = call.q + (sequence * kQueryHeads + query_head) * kHeadSize;
  const __nv_bfloat16* key = call.k + (sequence * kQueryHeads + query_head) * kHeadSize;
  const float* old_row = call.state == nullptr ? nullptr : call.state + row * kHeadSize;
  float* new_row = call.new_state + row * kHeadSize;

  const double rate = exp(double(call.A_log[value_head]));
  const double step = softplus(double(call.a[head]) + double(call.dt_bias[value_head]));
  const double decay = exp(-rate * step);
  const double strength = 1.0 / (1.0 + exp(-double(call.b[head])));

  double recalled = 0.0;
  for (int column = 0; column < kHeadSize; ++column) {
    const double decayed = decay * (old_row == nullptr ? 0.0 : double(old_row[column]));
    recalled += decayed * double(key[column]);
  }
  const double correction = strength * (double(call.v[row]) - recalled);
  double answer = 0.0;
  for (int column = 0; column < kHeadSize; ++column) {
    const double decayed = decay * (old_row == nullptr ? 0.0 : double(old_row[column]));
    const double updated = decayed + correction * double(key[column]);
    answer += updated * double(query[column]);
    new_row[column] = static_cast<float>(updated);
  }
  call.output[row] = __double2bfloat16(double(call.scale) * answer);
}

// Enters one decoding step on the caller's stream; shapes and dtypes are in arguments.h.
void run(tvm::ffi::TensorView q, tvm::ffi::TensorView k, tvm::ffi::TensorView v,
         tvm::ffi::Optional<tvm::ffi::TensorView> state, tvm::ffi::TensorView A_log,
         tvm::ffi::TensorView a, tvm::ffi::TensorView dt_bias, tvm::ffi::TensorView b, double scale,
         tvm::ffi::TensorView output, tvm::ffi::TensorView new_state) {
  const Arguments call =
      check_arguments(q, k, v, state, A_log, a, dt_bias, b, scale, output, new_state);
  if (call.batch == 0) {
    return;
  }
  const DLDevice device = q.device();
  tvm::ffi::CUDADeviceGuard guard(device.device_id);
  const auto stream =
      static_cast<cudaStream_t>(TVMFFIEnvGetStream(device.device_type, device.device_id));
  decode_rows<<<call.batch * kValueHeads, kHeadSize, 0, stream>>>(call);
  TVM_FFI_CHECK_CUDA_ERROR(cudaGetLastError());
}

}  // namespace gdn_decode

TVM_FFI_DLL_EXPORT_TYPED_FUNC(run, gdn_decode::run);

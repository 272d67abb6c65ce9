// gdn_decode_qk4_v8_d128_k_last, straightforward: one warp updates one row of one head's state.
//
// It follows the definition line by line and is the baseline that faster kernels are compared with.

#include <cuda_bf16.h>
#include <cuda_runtime.h>
#include <tvm/ffi/extra/c_env_api.h>
#include <tvm/ffi/extra/cuda/device_guard.h>
#include <tvm/ffi/tvm_ffi.h>

#include "arguments.h"

namespace gdn_decode {

constexpr int kWarpsPerBlock = 4;  // rows per block: 1024 blocks already fill the device at batch 4

// Adds one value per lane; every lane receives the sum.
__device__ inline float sum_over_warp(float value) {
  for (int distance = 16; distance > 0; distance /= 2) {
    value += __shfl_xor_sync(0xffffffffu, value, distance);
  }
  return value;
}

// Reads four consecutive bf16 numbers as float.
__device__ inline float4 load_four(const __nv_bfloat16* address) {
  const __nv_bfloat162* pairs = reinterpret_cast<const __nv_bfloat162*>(address);
  const float2 low = __bfloat1622float2(pairs[0]);
  const float2 high = __bfloat1622float2(pairs[1]);
  return make_float4(low.x, low.y, high.x, high.y);
}

__device__ inline float dot(float4 left, float4 right) {
  return left.x * right.x + left.y * right.y + left.z * right.z + left.w * right.w;
}

// Natural logarithm of 1 + exp(x), without overflow for large x.
__device__ inline float softplus(float x) {
  return fmaxf(x, 0.0f) + log1pf(expf(-fabsf(x)));
}

// Each warp owns one row (sequence, head, value index); a lane holds 4 of its 128 key columns.
__global__ void __launch_bounds__(kWarpsPerBlock * 32) decode_rows(Arguments call) {
  const int lane = threadIdx.x % 32;
  const int64_t row = int64_t(blockIdx.x) * kWarpsPerBlock + threadIdx.x / 32;
  const int64_t head = row / kHeadSize;  // sequence * 8 + value head
  const int value_head = head % kValueHeads;
  const int64_t query_head =
      head / kValueHeads * kQueryHeads + value_head / (kValueHeads / kQueryHeads);

  const float4 query = load_four(call.q + query_head * kHeadSize + lane * 4);
  const float4 key = load_four(call.k + query_head * kHeadSize + lane * 4);
  const float rate = expf(call.A_log[value_head]);
  const float step = softplus(__bfloat162float(call.a[head]) + call.dt_bias[value_head]);
  const float decay = expf(-rate * step);
  const float strength = 1.0f / (1.0f + expf(-__bfloat162float(call.b[head])));

  float4 memory = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  if (call.state != nullptr) {
    memory = *reinterpret_cast<const float4*>(call.state + row * kHeadSize + lane * 4);
  }
  memory.x *= decay;
  memory.y *= decay;
  memory.z *= decay;
  memory.w *= decay;
  const float recalled = sum_over_warp(dot(memory, key));
  const float correction = strength * (__bfloat162float(call.v[row]) - recalled);
  memory.x += correction * key.x;
  memory.y += correction * key.y;
  memory.z += correction * key.z;
  memory.w += correction * key.w;
  *reinterpret_cast<float4*>(call.new_state + row * kHeadSize + lane * 4) = memory;

  const float answer = sum_over_warp(dot(memory, query));
  if (lane == 0) {
    call.output[row] = __float2bfloat16(call.scale * answer);
  }
}

// Enters one decoding step on the caller's stream; shapes and dtypes are in arguments.h.
void run(tvm::ffi::TensorView q, tvm::ffi::TensorView k, tvm::ffi::TensorView v,
         tvm::ffi::Optional<tvm::ffi::TensorView> state, tvm::ffi::TensorView A_log,
         tvm::ffi::TensorView a, tvm::ffi::TensorView dt_bias, tvm::ffi::TensorView b, double scale,
         tvm::ffi::TensorView output, tvm::ffi::TensorView new_state) {
  constexpr Alignment kAlignment{16, 4};  // a float4 of the state; a pair of a key's elements
  const Arguments call =
      check_arguments(kAlignment, q, k, v, state, A_log, a, dt_bias, b, scale, output, new_state);
  if (call.batch == 0) {
    return;
  }
  const DLDevice device = q.device();
  tvm::ffi::CUDADeviceGuard guard(device.device_id);
  const auto stream =
      static_cast<cudaStream_t>(TVMFFIEnvGetStream(device.device_type, device.device_id));
  const unsigned blocks = call.batch * kValueHeads * kHeadSize / kWarpsPerBlock;
  decode_rows<<<blocks, kWarpsPerBlock * 32, 0, stream>>>(call);
  TVM_FFI_CHECK_CUDA_ERROR(cudaGetLastError());
}

}  // namespace gdn_decode

TVM_FFI_DLL_EXPORT_TYPED_FUNC(run, gdn_decode::run);

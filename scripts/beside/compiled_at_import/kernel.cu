// rmsnorm_h4096, compiled by the entry point that calls it.

#include <cuda_bf16.h>
#include <tvm/ffi/extra/c_env_api.h>
#include <tvm/ffi/tvm_ffi.h>

constexpr int kColumns = 4096;
constexpr int kThreads = 512;

__global__ void __launch_bounds__(kThreads) normalise(const __nv_bfloat16* x, const __nv_bfloat16* weight, __nv_bfloat16* y) {
  __shared__ float partial[kThreads / 32];
  const int64_t row = int64_t(blockIdx.x) * kColumns;
  float values[kColumns / kThreads], power = 0.0f;
  for (int part = 0; part < kColumns / kThreads; ++part) {
    values[part] = __bfloat162float(x[row + part * kThreads + threadIdx.x]);
    power += values[part] * values[part];
  }
  for (int distance = 16; distance > 0; distance /= 2) power += __shfl_xor_sync(0xffffffffu, power, distance);
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = power;
  __syncthreads();
  float total = 0.0f;
  for (int warp = 0; warp < kThreads / 32; ++warp) total += partial[warp];
  const float inverse = rsqrtf(total / kColumns + 1e-5f);
  for (int part = 0; part < kColumns / kThreads; ++part) {
    const int column = part * kThreads + threadIdx.x;
    y[row + column] = __float2bfloat16(values[part] * inverse * __bfloat162float(weight[column]));
  }
}

static __nv_bfloat16* first(const tvm::ffi::TensorView& tensor) {
  if (!tensor.IsContiguous()) TVM_FFI_THROW(ValueError) << "expected a contiguous tensor";
  return reinterpret_cast<__nv_bfloat16*>(static_cast<char*>(tensor.data_ptr()) + tensor.byte_offset());
}

void run(tvm::ffi::TensorView x, tvm::ffi::TensorView weight, tvm::ffi::TensorView y) {
  const DLDevice device = x.device();
  const auto stream = static_cast<cudaStream_t>(TVMFFIEnvGetStream(device.device_type, device.device_id));
  normalise<<<x.size(0), kThreads, 0, stream>>>(first(x), first(weight), first(y));
}

TVM_FFI_DLL_EXPORT_TYPED_FUNC(run, run);

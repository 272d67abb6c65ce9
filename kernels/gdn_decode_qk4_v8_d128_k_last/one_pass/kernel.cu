// gdn_decode_qk4_v8_d128_k_last: one decoding step of a gated delta rule, out of place.
//
// arguments.h  checks the call
// memory.h     moves data, per architecture
// step.h       does the arithmetic on rows in registers
// kernels.h    the two kernels
// NOTES.md     why it is built so, with the measurements

#include <cuda_runtime.h>
#include <tvm/ffi/extra/c_env_api.h>
#include <tvm/ffi/extra/cuda/device_guard.h>
#include <tvm/ffi/tvm_ffi.h>

#include "arguments.h"
#include "kernels.h"

namespace gdn_decode {

template <int kWarps, int kWarpRows, State kState = State::Given>
void launch_through_registers(const Arguments& call, cudaStream_t stream) {
  const unsigned blocks = call.batch * kValueHeads * kHeadSize / (kWarps * kWarpRows);
  decode_through_registers<kWarps, kWarpRows, kState><<<blocks, kWarps * 32, 0, stream>>>(call);
}

template <int kLanes, int kWarps, int kPieces, int kHeldRows, int kRowsAtOnce,
          int kBlocksPerMultiprocessor>
void launch_through_shared_memory(const Arguments& call, cudaStream_t stream) {
  constexpr int kBlockRows = kWarps * (kPieces * 8 + kHeldRows);
  const unsigned blocks = call.batch * kValueHeads * kHeadSize / kBlockRows;
  decode_through_shared_memory<kLanes, kWarps, kPieces, kHeldRows, kRowsAtOnce,
                               kBlocksPerMultiprocessor>
      <<<blocks, kWarps * 32, 0, stream>>>(call);
}

// Picks the shape that was fastest on an H200; NOTES.md has the measurements behind the boundaries.
//
// What decides is how many rows fall to a multiprocessor: whether latency or bandwidth counts, and
// which shapes take the whole state in one wave of blocks.
inline void launch(const Arguments& call, int multiprocessors, cudaStream_t stream) {
  const int64_t rows = call.batch * kValueHeads * kHeadSize / multiprocessors;
  if (call.state == nullptr) {
    launch_through_registers<4, 4, State::Absent>(call, stream);
  } else if (rows < 16) {
    launch_through_registers<4, 4>(call, stream);
  } else if (rows < 90) {
    launch_through_registers<8, 4>(call, stream);
  } else if (rows < 190) {
    launch_through_registers<4, 8>(call, stream);
  } else if (rows <= 256) {  // what 8 blocks of 32 rows on every multiprocessor hold
    launch_through_shared_memory<32, 4, 1, 0, 8, 8>(call, stream);
  } else if (rows <= 416) {  // about what 12 blocks of 32 rows hold
    launch_through_shared_memory<8, 1, 2, 16, 1, 12>(call, stream);
  } else if (rows <= 530) {  // about what 16 smaller blocks of 32 rows hold
    launch_through_shared_memory<8, 1, 3, 8, 1, 14>(call, stream);
  } else {
    launch_through_registers<1, 8>(call, stream);
  }
}

// Enters one decoding step on the caller's stream; shapes and dtypes are in arguments.h.
void run(tvm::ffi::TensorView q, tvm::ffi::TensorView k, tvm::ffi::TensorView v,
         tvm::ffi::Optional<tvm::ffi::TensorView> state, tvm::ffi::TensorView A_log,
         tvm::ffi::TensorView a, tvm::ffi::TensorView dt_bias, tvm::ffi::TensorView b, double scale,
         tvm::ffi::TensorView output, tvm::ffi::TensorView new_state) {
  constexpr Alignment kAlignment{32, 8};  // a whole access of sm_100; 4 elements of a key
  const Arguments call =
      check_arguments(kAlignment, q, k, v, state, A_log, a, dt_bias, b, scale, output, new_state);
  if (call.batch == 0) {
    return;
  }
  const DLDevice device = q.device();
  tvm::ffi::CUDADeviceGuard guard(device.device_id);
  int multiprocessors = 0;
  TVM_FFI_CHECK_CUDA_ERROR(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount,
                                                  device.device_id));
  launch(call, multiprocessors,
         static_cast<cudaStream_t>(TVMFFIEnvGetStream(device.device_type, device.device_id)));
  TVM_FFI_CHECK_CUDA_ERROR(cudaGetLastError());
}

}  // namespace gdn_decode

TVM_FFI_DLL_EXPORT_TYPED_FUNC(run, gdn_decode::run);

// Turns the call's tensors into checked device pointers; every violation names the tensor and what
// was expected.
//
// The submissions beside each other hold the same copy of this file, since a submission's folder has
// to be complete; a test compares the copies. The reference reads a call in a way of its own.
#pragma once

#include <cuda_bf16.h>
#include <tvm/ffi/tvm_ffi.h>

#include <cstddef>
#include <cstdint>
#include <initializer_list>

namespace gdn_decode {

constexpr int kQueryHeads = 4;   // heads of q and k
constexpr int kValueHeads = 8;   // heads of v, state and output; two share one query head
constexpr int kHeadSize = 128;   // elements in a head's vector; a head's state is 128 x 128

// Where tensors may start, in bytes: what the kernels move in one access.
struct Alignment {
  size_t state;  // state and new_state
  size_t key;    // q and k
};

// One call, checked. All pointers are device pointers to contiguous tensors.
struct Arguments {
  const __nv_bfloat16* q;    // [batch, 1, 4, 128]
  const __nv_bfloat16* k;    // [batch, 1, 4, 128]
  const __nv_bfloat16* v;    // [batch, 1, 8, 128]
  const float* state;        // [batch, 8, 128 (value index), 128 (key index)], or null: all zeros
  const float* A_log;        // [8], natural logarithm of the decay rate
  const __nv_bfloat16* a;    // [batch, 1, 8]
  const float* dt_bias;      // [8]
  const __nv_bfloat16* b;    // [batch, 1, 8], logit
  float scale;               // never 0
  __nv_bfloat16* output;     // [batch, 1, 8, 128]
  float* new_state;          // as state
  int64_t batch;
};

constexpr DLDataType kBfloat16{kDLBfloat, 16, 1};
constexpr DLDataType kFloat32{kDLFloat, 32, 1};

// Returns the tensor's first element after checking dtype, shape, layout, device and alignment.
template <typename Element>
Element* checked(const tvm::ffi::TensorView& tensor, const char* name, DLDataType dtype,
                 std::initializer_list<int64_t> shape, DLDevice device, size_t alignment_bytes) {
  const DLDataType found = tensor.dtype();
  if (found.code != dtype.code || found.bits != dtype.bits || found.lanes != dtype.lanes) {
    TVM_FFI_THROW(TypeError) << name << ": expected dtype code " << int(dtype.code) << " of "
                             << int(dtype.bits) << " bits, found code " << int(found.code) << " of "
                             << int(found.bits) << " bits";
  }
  if (tensor.ndim() != static_cast<int32_t>(shape.size())) {
    TVM_FFI_THROW(ValueError) << name << ": expected " << shape.size() << " dimensions, found "
                              << tensor.ndim();
  }
  int dimension = 0;
  for (int64_t expected : shape) {
    if (tensor.size(dimension) != expected) {
      TVM_FFI_THROW(ValueError) << name << ": expected size " << expected << " in dimension "
                                << dimension << ", found " << tensor.size(dimension);
    }
    ++dimension;
  }
  if (!tensor.IsContiguous()) {
    TVM_FFI_THROW(ValueError) << name << ": expected a contiguous tensor";
  }
  if (tensor.device().device_type != device.device_type ||
      tensor.device().device_id != device.device_id) {
    TVM_FFI_THROW(ValueError) << name << ": expected it on the device of q";
  }
  char* first = static_cast<char*>(tensor.data_ptr()) + tensor.byte_offset();
  if (reinterpret_cast<uintptr_t>(first) % alignment_bytes != 0) {
    TVM_FFI_THROW(ValueError) << name << ": expected an address that is a multiple of "
                              << alignment_bytes << " bytes";
  }
  return reinterpret_cast<Element*>(first);
}

// Checks the whole call.
inline Arguments check_arguments(
    Alignment alignment, const tvm::ffi::TensorView& q, const tvm::ffi::TensorView& k,
    const tvm::ffi::TensorView& v,
    const tvm::ffi::Optional<tvm::ffi::TensorView>& state, const tvm::ffi::TensorView& A_log,
    const tvm::ffi::TensorView& a, const tvm::ffi::TensorView& dt_bias,
    const tvm::ffi::TensorView& b, double scale, const tvm::ffi::TensorView& output,
    const tvm::ffi::TensorView& new_state) {
  const DLDevice device = q.device();
  if (device.device_type != kDLCUDA) {
    TVM_FFI_THROW(ValueError) << "q: expected a CUDA tensor, found device type "
                              << int(device.device_type);
  }
  if (q.ndim() != 4) {
    TVM_FFI_THROW(ValueError) << "q: expected 4 dimensions, found " << q.ndim();
  }
  const int64_t batch = q.size(0);
  Arguments call{};
  call.batch = batch;
  call.q = checked<const __nv_bfloat16>(q, "q", kBfloat16, {batch, 1, kQueryHeads, kHeadSize},
                                        device, alignment.key);
  call.k = checked<const __nv_bfloat16>(k, "k", kBfloat16, {batch, 1, kQueryHeads, kHeadSize},
                                        device, alignment.key);
  call.v = checked<const __nv_bfloat16>(v, "v", kBfloat16, {batch, 1, kValueHeads, kHeadSize},
                                        device, 2);
  call.A_log = checked<const float>(A_log, "A_log", kFloat32, {kValueHeads}, device, 4);
  call.a = checked<const __nv_bfloat16>(a, "a", kBfloat16, {batch, 1, kValueHeads}, device, 2);
  call.dt_bias = checked<const float>(dt_bias, "dt_bias", kFloat32, {kValueHeads}, device, 4);
  call.b = checked<const __nv_bfloat16>(b, "b", kBfloat16, {batch, 1, kValueHeads}, device, 2);
  call.output = checked<__nv_bfloat16>(output, "output", kBfloat16,
                                       {batch, 1, kValueHeads, kHeadSize}, device, 2);
  call.new_state = checked<float>(new_state, "new_state", kFloat32,
                                  {batch, kValueHeads, kHeadSize, kHeadSize}, device,
                                  alignment.state);
  call.state = nullptr;
  if (state.has_value()) {
    call.state = checked<const float>(state.value(), "state", kFloat32,
                                      {batch, kValueHeads, kHeadSize, kHeadSize}, device,
                                      alignment.state);
    // The step is out of place: rows of state are read while rows of new_state are written.
    const float* end = call.state + state.value().numel();
    const float* new_end = call.new_state + new_state.numel();
    if (call.state < new_end && call.new_state < end) {
      TVM_FFI_THROW(ValueError) << "new_state: expected memory that does not overlap state";
    }
  }
  // 0 stands for 1/sqrt(head size), as the definition says.
  call.scale = scale == 0.0 ? 0.08838834764831845f : static_cast<float>(scale);
  return call;
}

}  // namespace gdn_decode

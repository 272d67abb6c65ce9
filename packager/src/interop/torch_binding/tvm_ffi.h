// What a kernel file uses of TVM-FFI, over the tensors that torch_binding.cpp passes: the file compiles as
// it is where TVM-FFI's own headers and library are missing. Only names that are used by kernels are here.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

#include "proofmark_argument.h"

enum DLDeviceType : int32_t { kDLCPU = 1, kDLCUDA = 2 };

struct DLDevice {
  DLDeviceType device_type;
  int32_t device_id;
};

enum DLDataTypeCode : uint8_t {
  kDLInt = 0,
  kDLUInt = 1,
  kDLFloat = 2,
  kDLBfloat = 4,
  kDLBool = 6,
  kDLFloat8_e4m3fn = 10,
  kDLFloat8_e5m2 = 12,
  kDLFloat8_e8m0fnu = 14,
  kDLFloat4_e2m1fn = 17,
};

struct DLDataType {
  uint8_t code;
  uint8_t bits;
  uint16_t lanes;
};

inline bool operator==(DLDataType one, DLDataType other) {
  return one.code == other.code && one.bits == other.bits && one.lanes == other.lanes;
}
inline bool operator!=(DLDataType one, DLDataType other) { return !(one == other); }

using TVMFFIStreamHandle = void*;

// The stream that the caller works on; torch_binding.cpp says which.
extern "C" TVMFFIStreamHandle TVMFFIEnvGetStream(int32_t device_type, int32_t device_id);

namespace tvm {
namespace ffi {

// An exception whose text is collected by `<<` and thrown where the statement ends.
class ErrorText {
 public:
  explicit ErrorText(const char* kind) : text_(std::string(kind) + ": ") {}
  ErrorText(const ErrorText&) = delete;
  [[noreturn]] ~ErrorText() noexcept(false) { throw std::runtime_error(text_); }

  template <typename T>
  ErrorText& operator<<(const T& part) {
    if constexpr (std::is_arithmetic_v<T>) {
      text_ += std::to_string(part);
    } else {
      text_ += part;
    }
    return *this;
  }

 private:
  std::string text_;
};

class ShapeView {
 public:
  ShapeView(const int64_t* first, size_t count) : first_(first), count_(count) {}
  const int64_t* data() const { return first_; }
  size_t size() const { return count_; }
  bool empty() const { return count_ == 0; }
  const int64_t* begin() const { return first_; }
  const int64_t* end() const { return first_ + count_; }
  int64_t operator[](size_t index) const { return first_[index]; }
  int64_t front() const { return first_[0]; }
  int64_t back() const { return first_[count_ - 1]; }
  int64_t Product() const {
    int64_t product = 1;
    for (int64_t length : *this) product *= length;
    return product;
  }

 private:
  const int64_t* first_;
  size_t count_;
};

class TensorView {
 public:
  explicit TensorView(const proofmark::Argument& argument) : argument_(argument) {}
  void* data_ptr() const { return argument_.data; }
  int32_t ndim() const { return argument_.rank; }
  int32_t dim() const { return argument_.rank; }
  int64_t size(int64_t index) const { return argument_.shape[index < 0 ? index + ndim() : index]; }
  int64_t stride(int64_t index) const { return argument_.strides[index < 0 ? index + ndim() : index]; }
  ShapeView shape() const { return ShapeView(argument_.shape, size_t(ndim())); }
  ShapeView sizes() const { return shape(); }
  ShapeView strides() const { return ShapeView(argument_.strides, size_t(ndim())); }
  int64_t numel() const { return shape().Product(); }
  uint64_t byte_offset() const { return 0; }
  DLDevice device() const { return DLDevice{kDLCUDA, argument_.device}; }
  DLDataType dtype() const {
    return DLDataType{argument_.type_code, argument_.type_bits, argument_.type_lanes};
  }
  bool IsContiguous() const {
    int64_t expected = 1;
    for (int32_t index = ndim() - 1; index >= 0; --index) {
      if (size(index) != 1 && stride(index) != expected) return false;
      expected *= size(index);
    }
    return true;
  }
  bool is_contiguous() const { return IsContiguous(); }

 private:
  proofmark::Argument argument_;
};

using Tensor = TensorView;

template <typename T>
using Optional = std::optional<T>;

// Makes a device current for as long as it lives.
class CUDADeviceGuard {
 public:
  explicit CUDADeviceGuard(int device) {
    cudaGetDevice(&before_);
    if (before_ != device) cudaSetDevice(device);
  }
  CUDADeviceGuard(const CUDADeviceGuard&) = delete;
  ~CUDADeviceGuard() { cudaSetDevice(before_); }

 private:
  int before_ = 0;
};

}  // namespace ffi
}  // namespace tvm

namespace proofmark {

template <typename T>
struct Taken {
  static T from(const Argument& argument) {
    static_assert(std::is_arithmetic_v<T>, "an entry takes tensors, optional tensors and numbers");
    if (argument.kind == Argument::kWhole) return static_cast<T>(argument.whole);
    if (argument.kind == Argument::kNumber) return static_cast<T>(argument.number);
    throw std::runtime_error("TypeError: expected a number");
  }
};

template <>
struct Taken<tvm::ffi::TensorView> {
  static tvm::ffi::TensorView from(const Argument& argument) {
    if (argument.kind != Argument::kTensor) throw std::runtime_error("TypeError: expected a tensor");
    return tvm::ffi::TensorView(argument);
  }
};

template <typename T>
struct Taken<tvm::ffi::Optional<T>> {
  static tvm::ffi::Optional<T> from(const Argument& argument) {
    if (argument.kind == Argument::kNone) return tvm::ffi::Optional<T>();
    return tvm::ffi::Optional<T>(Taken<T>::from(argument));
  }
};

template <typename... Parameters, size_t... kIndices>
void call_with(void (*function)(Parameters...), const Argument* arguments,
               std::index_sequence<kIndices...>) {
  function(Taken<std::remove_cv_t<std::remove_reference_t<Parameters>>>::from(arguments[kIndices])...);
}

template <typename... Parameters>
void call(void (*function)(Parameters...), const Argument* arguments, int count) {
  if (count != int(sizeof...(Parameters))) {
    throw std::runtime_error("TypeError: expected " + std::to_string(sizeof...(Parameters)) +
                             " arguments, found " + std::to_string(count));
  }
  call_with(function, arguments, std::index_sequence_for<Parameters...>());
}

}  // namespace proofmark

#define TVM_FFI_DLL_EXPORT_TYPED_FUNC(name, function)                                       \
  void proofmark_entry_##name(const proofmark::Argument* arguments, int count) {           \
    proofmark::call(function, arguments, count);                                           \
  }
#define TVM_FFI_INLINE inline
#define TVM_FFI_THROW(kind) ::tvm::ffi::ErrorText(#kind)
#define TVM_FFI_CHECK(condition, kind) \
  if (!(condition)) ::tvm::ffi::ErrorText(#kind) << "not so: " #condition " "
#define TVM_FFI_ICHECK(condition) TVM_FFI_CHECK(condition, InternalError)
#define TVM_FFI_ICHECK_EQ(one, other) TVM_FFI_ICHECK((one) == (other))
#define TVM_FFI_ICHECK_NE(one, other) TVM_FFI_ICHECK((one) != (other))
#define TVM_FFI_ICHECK_LT(one, other) TVM_FFI_ICHECK((one) < (other))
#define TVM_FFI_ICHECK_LE(one, other) TVM_FFI_ICHECK((one) <= (other))
#define TVM_FFI_ICHECK_GT(one, other) TVM_FFI_ICHECK((one) > (other))
#define TVM_FFI_ICHECK_GE(one, other) TVM_FFI_ICHECK((one) >= (other))
#define TVM_FFI_CHECK_CUDA_ERROR(call)                                                     \
  do {                                                                                     \
    const cudaError_t proofmark_error = (call);                                            \
    if (proofmark_error != cudaSuccess) {                                                  \
      ::tvm::ffi::ErrorText("RuntimeError") << cudaGetErrorString(proofmark_error);        \
    }                                                                                      \
  } while (false)

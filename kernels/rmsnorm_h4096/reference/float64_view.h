// The tensors of a call as arrays of float64: inputs of any strides, outputs rounded once, when
// stored.
//
// A reference judges submissions, so it reads a call in a way of its own: what a submission gets
// wrong about its arguments must not be wrong here too. The references beside each other hold the
// same copy of this file, since a submission's folder has to be complete; a test compares the copies.
#pragma once

#include <cuda_bf16.h>
#include <tvm/ffi/dtype.h>
#include <tvm/ffi/tvm_ffi.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace reference {

// In an expected shape: a dimension of any size.
constexpr int64_t kAnySize = -1;

// How a type of element is named, read and written.
template <typename Element>
struct Format;

template <typename Element>
struct Format<const Element> : Format<Element> {};

template <>
struct Format<float> {
  static constexpr DLDataType kType{kDLFloat, 32, 1};
  static __device__ double widen(float stored) { return stored; }
  static __device__ float round(double value) { return static_cast<float>(value); }
};

template <>
struct Format<__nv_bfloat16> {
  static constexpr DLDataType kType{kDLBfloat, 16, 1};
  static __device__ double widen(__nv_bfloat16 stored) { return __bfloat162float(stored); }
  static __device__ __nv_bfloat16 round(double value) { return __double2bfloat16(value); }
};

// A tensor of `kRank` dimensions in device memory that somebody else owns.
template <typename Element, size_t kRank>
struct Float64View {
  Element* first = nullptr;
  int64_t strides[kRank] = {};  // in elements

  __device__ double get(const int64_t (&index)[kRank]) const {
    return Format<Element>::widen(first[offset(index)]);
  }

  __device__ void set(const int64_t (&index)[kRank], double value) const {
    first[offset(index)] = Format<Element>::round(value);
  }

 private:
  __device__ int64_t offset(const int64_t (&index)[kRank]) const {
    int64_t sum = 0;
    for (size_t dimension = 0; dimension < kRank; ++dimension) {
      sum += index[dimension] * strides[dimension];
    }
    return sum;
  }
};

// Reads the tensors of one call: all on one CUDA device, each as the definition has it, and no
// output over the memory of another tensor.
class CallReader {
 public:
  explicit CallReader(DLDevice device) : device_(device) {}

  template <typename Element, size_t kRank>
  Float64View<Element, kRank> input(const tvm::ffi::TensorView& tensor, const char* name,
                                    const int64_t (&shape)[kRank]) {
    return view<Element>(tensor, name, shape);
  }

  template <typename Element, size_t kRank>
  Float64View<Element, kRank> output(const tvm::ffi::TensorView& tensor, const char* name,
                                     const int64_t (&shape)[kRank]) {
    if (!tensor.IsContiguous()) {
      TVM_FFI_THROW(ValueError) << name << ": expected a contiguous tensor to write to";
    }
    const size_t before = taken_.size();
    const auto result = view<Element>(tensor, name, shape);
    for (size_t other = 0; other < before; ++other) {
      if (taken_[other].low < taken_[before].high && taken_[before].low < taken_[other].high) {
        TVM_FFI_THROW(ValueError) << name << ": expected memory apart from that of "
                                  << taken_[other].name;
      }
    }
    return result;
  }

 private:
  // Addresses from `low` up to `high`, without `high`.
  struct Memory {
    const char* name;
    uintptr_t low;
    uintptr_t high;
  };

  template <typename Element, size_t kRank>
  Float64View<Element, kRank> view(const tvm::ffi::TensorView& tensor, const char* name,
                                   const int64_t (&shape)[kRank]) {
    bool fits = tensor.dtype() == Format<Element>::kType && tensor.ndim() == int32_t(kRank) &&
                tensor.device().device_type == kDLCUDA &&
                tensor.device().device_id == device_.device_id;
    for (size_t dimension = 0; fits && dimension < kRank; ++dimension) {
      fits = shape[dimension] == kAnySize || shape[dimension] == tensor.size(dimension);
    }
    if (!fits) {
      const auto found = tensor.shape();
      TVM_FFI_THROW(ValueError)
          << name << ": expected " << describe(Format<Element>::kType, shape, kRank)
          << " on CUDA device " << device_.device_id << ", found "
          << describe(tensor.dtype(), found.data(), found.size()) << " on device "
          << tensor.device().device_id << " of type " << int(tensor.device().device_type);
    }
    const auto address = reinterpret_cast<uintptr_t>(tensor.data_ptr()) + tensor.byte_offset();
    if (address % sizeof(Element) != 0) {
      TVM_FFI_THROW(ValueError) << name << ": expected elements at multiples of their size, "
                                << sizeof(Element) << " bytes";
    }
    Float64View<Element, kRank> result;
    result.first = reinterpret_cast<Element*>(address);
    // A contiguous tensor need not say its strides, so they are counted.
    const bool contiguous = tensor.IsContiguous();
    int64_t counted = 1, below = 0, above = 0;
    for (size_t dimension = kRank; dimension-- > 0;) {
      result.strides[dimension] = contiguous ? counted : tensor.stride(dimension);
      counted *= tensor.size(dimension);
      const int64_t reach = (tensor.size(dimension) - 1) * result.strides[dimension];
      (reach < 0 ? below : above) += reach;
    }
    const auto byte_at = [&](int64_t element) { return address + element * sizeof(Element); };
    const bool empty = counted == 0;
    taken_.push_back({name, byte_at(below), byte_at(empty ? below : above + 1)});
    return result;
  }

  static std::string describe(DLDataType type, const int64_t* shape, size_t rank) {
    std::string text = std::string(tvm::ffi::DLDataTypeToString(type)) + " [";
    for (size_t dimension = 0; dimension < rank; ++dimension) {
      text += dimension == 0 ? "" : ", ";
      text += shape[dimension] == kAnySize ? "any" : std::to_string(shape[dimension]);
    }
    return text + "]";
  }

  DLDevice device_;
  std::vector<Memory> taken_;
};

}  // namespace reference

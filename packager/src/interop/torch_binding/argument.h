// One argument of a call, as torch_binding.cpp hands it to the file that exports the kernel.
#pragma once

#include <cstdint>

namespace proofmark {

struct Argument {
  enum Kind : int32_t { kNone, kWhole, kNumber, kTensor };

  Kind kind = kNone;
  int64_t whole = 0;     // kWhole: a whole number, or a truth value as 0 or 1
  double number = 0.0;   // kNumber
  void* data = nullptr;  // kTensor: the first element; below, lengths and strides in elements
  int32_t rank = 0;
  const int64_t* shape = nullptr;
  const int64_t* strides = nullptr;
  uint8_t type_code = 0;  // as DLPack numbers them
  uint8_t type_bits = 0;
  uint16_t type_lanes = 1;
  int32_t device = 0;
};

}  // namespace proofmark

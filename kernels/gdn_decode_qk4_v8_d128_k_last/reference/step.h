// The decoding step as the definition has it, in its order, everything in float64.
//
// Written to be read and believed, not to be fast. All inputs, the scale included, are taken as
// float64, and only what is stored is rounded. Nothing here needs a GPU: a test runs it on the CPU.
#pragma once

#include <cuda_bf16.h>
#include <tvm/ffi/tvm_ffi.h>

#include <cmath>

#include "float64_view.h"

namespace gdn_decode_reference {

using reference::Float64View;
using tvm::ffi::TensorView;

constexpr int kKeyHeads = 4;    // heads of query and key
constexpr int kHeads = 8;       // heads of value, state and output
constexpr int kHeadSize = 128;  // elements in a head's vector

// One call. Shapes are in `read_call`.
struct Call {
  Float64View<const __nv_bfloat16, 4> query, key, value;
  bool has_state;
  Float64View<const float, 4> state;  // where there is one
  Float64View<const float, 1> log_rate, step_bias;
  Float64View<const __nv_bfloat16, 3> step, strength_logit;
  double scale;
  Float64View<__nv_bfloat16, 4> output;
  Float64View<float, 4> new_state;
};

// Natural logarithm of 1 + exp(x), without overflow for large x.
__device__ inline double softplus(double x) {
  return fmax(x, 0.0) + log1p(exp(-fabs(x)));
}

// An element of the state before the step; without a state, all of it is 0.
__device__ inline double old_state(const Call& call, const int64_t (&index)[4]) {
  return call.has_state ? call.state.get(index) : 0.0;
}

// Updates one row of the state and computes its element of the output.
__device__ inline void decode_row(const Call& call, int64_t sequence, int64_t head, int64_t row) {
  const int64_t key_head = head / (kHeads / kKeyHeads);
  const double rate = exp(call.log_rate.get({head}));
  const double step = softplus(call.step.get({sequence, 0, head}) + call.step_bias.get({head}));
  const double decay = exp(-rate * step);
  const double strength = 1.0 / (1.0 + exp(-call.strength_logit.get({sequence, 0, head})));

  double recalled = 0.0;
  for (int64_t column = 0; column < kHeadSize; ++column) {
    const double decayed = decay * old_state(call, {sequence, head, row, column});
    recalled += decayed * call.key.get({sequence, 0, key_head, column});
  }
  const double correction = strength * (call.value.get({sequence, 0, head, row}) - recalled);
  double answer = 0.0;
  for (int64_t column = 0; column < kHeadSize; ++column) {
    const double decayed = decay * old_state(call, {sequence, head, row, column});
    const double updated = decayed + correction * call.key.get({sequence, 0, key_head, column});
    answer += updated * call.query.get({sequence, 0, key_head, column});
    call.new_state.set({sequence, head, row, column}, updated);
  }
  call.output.set({sequence, 0, head, row}, call.scale * answer);
}

// The call as the definition has it. The first size of q is the batch.
inline Call read_call(TensorView q, TensorView k, TensorView v, tvm::ffi::Optional<TensorView> state,
                      TensorView A_log, TensorView a, TensorView dt_bias, TensorView b, double scale,
                      TensorView output, TensorView new_state) {
  reference::CallReader reader(q.device());
  Call call{};
  call.query = reader.input<const __nv_bfloat16>(
      q, "q", {reference::kAnySize, 1, kKeyHeads, kHeadSize});
  const int64_t batch = q.size(0);
  call.key = reader.input<const __nv_bfloat16>(k, "k", {batch, 1, kKeyHeads, kHeadSize});
  call.value = reader.input<const __nv_bfloat16>(v, "v", {batch, 1, kHeads, kHeadSize});
  call.has_state = state.has_value();
  if (call.has_state) {
    call.state =
        reader.input<const float>(*state, "state", {batch, kHeads, kHeadSize, kHeadSize});
  }
  call.log_rate = reader.input<const float>(A_log, "A_log", {kHeads});
  call.step = reader.input<const __nv_bfloat16>(a, "a", {batch, 1, kHeads});
  call.step_bias = reader.input<const float>(dt_bias, "dt_bias", {kHeads});
  call.strength_logit = reader.input<const __nv_bfloat16>(b, "b", {batch, 1, kHeads});
  call.scale = scale != 0.0 ? scale : 1.0 / std::sqrt(double(kHeadSize));
  call.output = reader.output<__nv_bfloat16>(output, "output", {batch, 1, kHeads, kHeadSize});
  call.new_state =
      reader.output<float>(new_state, "new_state", {batch, kHeads, kHeadSize, kHeadSize});
  return call;
}

}  // namespace gdn_decode_reference

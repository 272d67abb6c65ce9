// The arithmetic of one decoding step on rows that lie in registers.
//
// With S a row of the decayed state, the definition's step is
//     correction = strength * (value - S.k),  S' = S + correction * k,  output = scale * S'.q
// The row is read once: both dot products are taken from the old, undecayed row, and
//     S'.q = decay * (old.q) + correction * (k.q).
// That regrouping differs from the definition only where a number overflows; `Doubt` notices, and
// the row is then done again in the definition's order.
#pragma once

#include "arguments.h"
#include "memory.h"

namespace gdn_decode {

constexpr unsigned kWholeWarp = 0xffffffffu;

// Adds one value per lane over groups of `kLanes` neighbours; every lane receives its group's sum.
template <int kLanes>
__device__ __forceinline__ float sum_over_lanes(float value) {
#pragma unroll
  for (int distance = kLanes / 2; distance > 0; distance /= 2) {
    value += __shfl_xor_sync(kWholeWarp, value, distance);
  }
  return value;
}

template <int kFours>
__device__ __forceinline__ float dot(const Four (&left)[kFours], const Four (&right)[kFours]) {
  float2 low = both(0.0f);
  float2 high = both(0.0f);
#pragma unroll
  for (int four = 0; four < kFours; ++four) {
    low = multiply_add(left[four].low, right[four].low, low);
    high = multiply_add(left[four].high, right[four].high, high);
  }
  return (low.x + low.y) + (high.x + high.y);
}

// Natural logarithm of 1 + e for e in [0, 1], as e times a polynomial in e.
//
// Short: it lies on the way from the gates to the first store. Relative error below 2e-7.
__device__ __forceinline__ float logarithm_of_one_plus(float e) {
  const float e2 = e * e;
  const float e4 = e2 * e2;
  const float p01 = fmaf(e, -0.49999502f, 1.0f);
  const float p23 = fmaf(e, -0.24844369f, 0.33319271f);
  const float p45 = fmaf(e, -0.13674770f, 0.19111431f);
  const float p67 = fmaf(e, -0.029588507f, 0.078361668f);
  const float low = fmaf(e2, p23, p01);
  const float high = fmaf(e4, 0.0052534579f, fmaf(e2, p67, p45));
  return e * fmaf(e4, high, low);
}

// One over x, to one unit in the last place; 0 for infinity.
__device__ __forceinline__ float reciprocal(float x) {
  float result;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
}

struct Gates {
  float decay;     // exp(-exp(A_log) * softplus(a + dt_bias)), the part of the state that is kept
  float strength;  // sigmoid(b), the part of the correction that is applied
};

__device__ __forceinline__ Gates load_gates(const Arguments& call, unsigned head) {
  // exp2f after a product is shorter than expf and, at the few units that A_log and a reach, as
  // exact as the decay needs; the strength is off the critical path and may be tiny, so it is exact.
  constexpr float kLog2OfE = 1.4426950408889634f;
  const unsigned value_head = head % kValueHeads;
  const float rate = exp2f(__ldg(call.A_log + value_head) * kLog2OfE);
  const float step = load_bf16(call.a + head) + __ldg(call.dt_bias + value_head);
  const float logit = load_bf16(call.b + head);
  const float softplus =
      fmaxf(step, 0.0f) + logarithm_of_one_plus(exp2f(-fabsf(step) * kLog2OfE));
  return {exp2f(softplus * (rate * -kLog2OfE)), reciprocal(1.0f + expf(-logit))};
}

// When `kLanes` lanes share a row and each access moves `kAccess` Fours, a lane's `four`-th Four
// starts at column first_column + column_step(four). Apart, so that steps become constant offsets.
template <int kAccess>
__device__ __forceinline__ unsigned first_column(unsigned lane_in_row) {
  return lane_in_row * (4 * kAccess);
}

template <int kLanes, int kAccess>
__device__ constexpr int column_step(int four) {
  return (four / kAccess) * (kLanes * 4 * kAccess) + (four % kAccess) * 4;
}

// What a lane holds of its head.
template <int kFours>
struct Head {
  Four query[kFours];
  Four key[kFours];
  float largest_key;  // largest magnitude among the lane's key elements, NaN if one is NaN
  float key_query;    // dot product of the lane's parts of key and query, not yet summed over lanes
};

template <int kLanes, int kAccess>
__device__ __forceinline__ Head<32 / kLanes> load_head(const Arguments& call, unsigned head,
                                                       unsigned lane_in_row) {
  constexpr int kFours = 32 / kLanes;
  const size_t query_head = head / (kValueHeads / kQueryHeads);
  const size_t first = query_head * kHeadSize + first_column<kAccess>(lane_in_row);
  const __nv_bfloat16* query = call.q + first;
  const __nv_bfloat16* key = call.k + first;
  Head<kFours> held;
  unsigned largest = 0;  // two bf16 magnitudes
#pragma unroll
  for (int four = 0; four < kFours; ++four) {
    const int step = column_step<kLanes, kAccess>(four);
    const uint2 packed = load_bf16_four(key + step);
    held.key[four] = widen(packed);
    held.query[four] = widen(load_bf16_four(query + step));
    // Magnitudes of floats compare as integers do, and NaN is above infinity.
    largest = __vmaxu2(largest, __vmaxu2(packed.x & 0x7fff7fffu, packed.y & 0x7fff7fffu));
  }
  held.largest_key = __uint_as_float(max(largest & 0xffff0000u, largest << 16));
  held.key_query = dot(held.key, held.query);
  return held;
}

// Collects whether a regrouped result may differ from the definition's.
//
// Below 2^101 a correction times a key element is under half the spacing of the largest floats, so
// no element of a finite row can overflow; a row that is not finite shows in its dot product with
// the key, and from there in the correction; and an output that is not finite speaks for itself.
struct Doubt {
  float magnitude = 0.0f;

  __device__ __forceinline__ void weigh(float correction, float largest_key, float output) {
    constexpr float kFromLimitToLargest = 1e8f;  // largest float / 1e8 is just above 2^101
    magnitude += fabsf(correction * largest_key) * kFromLimitToLargest + fabsf(output);
  }

  __device__ __forceinline__ bool anywhere_in_warp() const {
    constexpr float kLargestFloat = 3.402823466e38f;
    return __any_sync(kWholeWarp, !(magnitude <= kLargestFloat));  // a NaN is a doubt
  }
};

// Whether `Head::key_query` still has to be summed over the lanes of a row.
enum class KeyQuery { Partial, Whole };

// Replaces rows of state by rows of new state; `output` receives each row's element of the output.
template <int kLanes, KeyQuery kKeyQuery, int kRows>
__device__ __forceinline__ void update_rows(Four (&row)[kRows][32 / kLanes],
                                            const float (&value)[kRows], const Gates& gates,
                                            const Head<32 / kLanes>& head, float scale,
                                            float (&output)[kRows], Doubt& doubt) {
  constexpr int kFours = 32 / kLanes;
  float recalled[kRows];
  float answered[kRows];
  float key_query = head.key_query;
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    recalled[r] = dot(row[r], head.key);
    answered[r] = dot(row[r], head.query);
  }
  // All sums advance together, which hides the latency of a shuffle.
#pragma unroll
  for (int distance = kLanes / 2; distance > 0; distance /= 2) {
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      recalled[r] += __shfl_xor_sync(kWholeWarp, recalled[r], distance);
    }
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      answered[r] += __shfl_xor_sync(kWholeWarp, answered[r], distance);
    }
    if constexpr (kKeyQuery == KeyQuery::Partial) {
      key_query += __shfl_xor_sync(kWholeWarp, key_query, distance);
    }
  }
  const float recall_factor = -gates.strength * gates.decay;
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    const float correction = fmaf(recall_factor, recalled[r], gates.strength * value[r]);
#pragma unroll
    for (int four = 0; four < kFours; ++four) {
      Four& part = row[r][four];
      part.low = multiply_add(both(correction), head.key[four].low,
                              make_float2(gates.decay * part.low.x, gates.decay * part.low.y));
      part.high = multiply_add(both(correction), head.key[four].high,
                               make_float2(gates.decay * part.high.x, gates.decay * part.high.y));
    }
    output[r] = scale * fmaf(key_query, correction, gates.decay * answered[r]);
    doubt.weigh(correction, head.largest_key, output[r]);
  }
}

// Does one row per group of `kLanes` lanes again in the definition's order, from the old state.
//
// Each lane overwrites only what it wrote itself, so no ordering among lanes is needed.
template <int kLanes, int kAccess>
__device__ __forceinline__ void redo_row(const Arguments& call, unsigned row, unsigned lane_in_row,
                                         const Gates& gates, const Head<32 / kLanes>& head) {
  constexpr int kFours = 32 / kLanes;
  const size_t first = size_t(row) * kHeadSize + first_column<kAccess>(lane_in_row);
  Four part[kFours];
#pragma unroll
  for (int four = 0; four < kFours; ++four) {
    part[four] = {both(0.0f), both(0.0f)};
    if (call.state != nullptr) {
      load_state<1>(&part[four], call.state + first + column_step<kLanes, kAccess>(four));
    }
    part[four].low = make_float2(part[four].low.x * gates.decay, part[four].low.y * gates.decay);
    part[four].high = make_float2(part[four].high.x * gates.decay, part[four].high.y * gates.decay);
  }
  const float recalled = sum_over_lanes<kLanes>(dot(part, head.key));
  const float correction = gates.strength * (load_bf16(call.v + row) - recalled);
#pragma unroll
  for (int four = 0; four < kFours; ++four) {
    part[four].low = multiply_add(both(correction), head.key[four].low, part[four].low);
    part[four].high = multiply_add(both(correction), head.key[four].high, part[four].high);
    store_state<1>(call.new_state + first + column_step<kLanes, kAccess>(four), &part[four]);
  }
  const float answered = sum_over_lanes<kLanes>(dot(part, head.query));
  if (lane_in_row == 0) {
    call.output[row] = __float2bfloat16(call.scale * answered);
  }
}

}  // namespace gdn_decode

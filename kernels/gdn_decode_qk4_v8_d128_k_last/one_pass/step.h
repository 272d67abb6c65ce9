// The arithmetic of one decoding step on rows that lie in registers.
//
// With S a row of the decayed state, the definition's step is
//     correction = strength * (value - S.k),  S' = S + correction * k,  output = scale * S'.q
// The row is read once: both dot products are taken from the old, undecayed row, and
//     S'.q = decay * (old.q) + correction * (k.q).
// That regrouping differs from the definition only where a number overflows; `OverflowCheck`
// notices, and the row is then done again in the definition's order.
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

template <int kQuads>
__device__ __forceinline__ float dot(const Quad (&left)[kQuads], const Quad (&right)[kQuads]) {
  float2 sum = multiply(left[0].low, right[0].low);
  sum = multiply_add(left[0].high, right[0].high, sum);
#pragma unroll
  for (int quad = 1; quad < kQuads; ++quad) {
    sum = multiply_add(left[quad].low, right[quad].low, sum);
    sum = multiply_add(left[quad].high, right[quad].high, sum);
  }
  return sum.x + sum.y;
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
  // expf rather than exp2f of a product, which loses a rounding for every unit of its argument. The
  // last exponent is a product already.
  constexpr float kLog2OfE = 1.4426950408889634f;
  const unsigned value_head = head % kValueHeads;
  const float rate = expf(__ldg(call.A_log + value_head));
  const float step = load_bf16(call.a + head) + __ldg(call.dt_bias + value_head);
  const float logit = load_bf16(call.b + head);
  const float softplus = fmaxf(step, 0.0f) + logarithm_of_one_plus(expf(-fabsf(step)));
  return {exp2f(softplus * (rate * -kLog2OfE)), reciprocal(1.0f + expf(-logit))};
}

// When `kLanes` lanes share a row and each access moves `kAccess` Quads, a lane's `quad`-th Quad
// starts at column first_column + column_step(quad). Apart, so that steps become constant offsets.
template <int kAccess>
__device__ __forceinline__ unsigned first_column(unsigned lane_in_row) {
  return lane_in_row * (4 * kAccess);
}

template <int kLanes, int kAccess>
__device__ constexpr int column_step(int quad) {
  return (quad / kAccess) * (kLanes * 4 * kAccess) + (quad % kAccess) * 4;
}

// What a lane holds of its head.
template <int kLanes>
struct Head {
  Quad query[32 / kLanes];
  Quad key[32 / kLanes];
  float key_query;    // dot product of the head's key and query
  float largest_key;  // largest magnitude among the head's key elements, NaN if one is NaN
};

template <int kLanes, int kAccess>
__device__ __forceinline__ Head<kLanes> load_head(const Arguments& call, unsigned head,
                                                  unsigned lane_in_row) {
  const size_t query_head = head / (kValueHeads / kQueryHeads);
  const size_t first = query_head * kHeadSize + first_column<kAccess>(lane_in_row);
  const __nv_bfloat16* query = call.q + first;
  const __nv_bfloat16* key = call.k + first;
  Head<kLanes> held;
  unsigned largest = 0;  // two bf16 magnitudes
#pragma unroll
  for (int quad = 0; quad < 32 / kLanes; ++quad) {
    const int step = column_step<kLanes, kAccess>(quad);
    const uint2 packed = load_bf16_quad(key + step);
    held.key[quad] = widen(packed);
    held.query[quad] = widen(load_bf16_quad(query + step));
    // Magnitudes of floats compare as integers do, and NaN is above infinity.
    largest = __vmaxu2(largest, __vmaxu2(packed.x & 0x7fff7fffu, packed.y & 0x7fff7fffu));
  }
  // Each group of lanes holds the whole head, so the warp's maximum is the head's.
  held.largest_key =
      __uint_as_float(__reduce_max_sync(kWholeWarp, max(largest & 0xffff0000u, largest << 16)));
  held.key_query = sum_over_lanes<kLanes>(dot(held.key, held.query));
  return held;
}

// Collects whether a number of a regrouped result may have overflowed, so that the result may differ
// from the definition's.
//
// Below 2^101 a correction times a key element is under half the spacing of the largest floats, so
// no element of a finite row can overflow; a row that is not finite shows in its dot product with
// the key, and from there in the correction; and an output that is not finite speaks for itself.
struct OverflowCheck {
  float magnitude = 0.0f;

  __device__ __forceinline__ void include(float correction, float largest_key, float output) {
    constexpr float kFromLimitToLargest = 1e8f;  // largest float / 1e8 is just above 2^101
    magnitude += fabsf(correction * largest_key) * kFromLimitToLargest + fabsf(output);
  }

  __device__ __forceinline__ bool anywhere_in_warp() const {
    constexpr float kLargestFloat = 3.402823466e38f;
    return __any_sync(kWholeWarp, !(magnitude <= kLargestFloat));  // true for NaN
  }
};

// Which lane keeps what while `kRows` rows are updated together by groups of `kLanes` lanes. The lower
// half of a group keeps the rows' products with the key, the upper half those with the query, and
// `kShare` lanes of each half keep the same row.
template <int kLanes, int kRows>
struct Keeper {
  static constexpr int kHalf = kLanes / 2;
  static constexpr int kShare = kHalf / kRows;
  static_assert(kShare >= 1, "a lane keeps one sum");

  static __device__ __forceinline__ unsigned row(unsigned lane_in_row) {
    return lane_in_row % kHalf / kShare;
  }
  // The first lane that keeps the row's output.
  static __device__ __forceinline__ unsigned output_lane(unsigned row) {
    return kHalf + row * kShare;
  }
};

// Adds two values per lane over pairs of lanes `distance` apart: the lane below receives the sum of
// `low`, the lane above that of `high`. Half the shuffles of two whole sums.
__device__ __forceinline__ float sum_by_halves(float low, float high, unsigned lane, int distance) {
  const bool above = lane & distance;
  return (above ? high : low) + __shfl_xor_sync(kWholeWarp, above ? low : high, distance);
}

// Replaces rows of state by rows of new state. `value` is the value element of the row that the lane
// keeps; returns that row's element of the output, in the upper half of each group.
template <int kLanes, int kRows>
__device__ __forceinline__ float update_rows(Quad (&row)[kRows][32 / kLanes], float value,
                                             const Gates& gates, const Head<kLanes>& head,
                                             float scale, OverflowCheck& overflow) {
  using Keep = Keeper<kLanes, kRows>;
  const unsigned lane_in_row = threadIdx.x % kLanes;
  float sum[kRows];
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    sum[r] = sum_by_halves(dot(row[r], head.key), dot(row[r], head.query), lane_in_row, Keep::kHalf);
  }
  int distance = Keep::kHalf / 2;
#pragma unroll
  for (int count = kRows / 2; count >= 1; count /= 2) {
#pragma unroll
    for (int r = 0; r < count; ++r) {
      sum[r] = sum_by_halves(sum[r], sum[r + count], lane_in_row, distance);
    }
    distance /= 2;
  }
#pragma unroll
  for (; distance > 0; distance /= 2) {
    sum[0] += __shfl_xor_sync(kWholeWarp, sum[0], distance);
  }
  // Meaningful in the lower half, whose sums are products with the key.
  const float kept_correction =
      fmaf(-gates.strength * gates.decay, sum[0], gates.strength * value);
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    const float correction = __shfl_sync(kWholeWarp, kept_correction, r * Keep::kShare, kLanes);
#pragma unroll
    for (int quad = 0; quad < 32 / kLanes; ++quad) {
      Quad& part = row[r][quad];
      part.low = multiply_add(broadcast(correction), head.key[quad].low,
                              multiply(broadcast(gates.decay), part.low));
      part.high = multiply_add(broadcast(correction), head.key[quad].high,
                               multiply(broadcast(gates.decay), part.high));
    }
  }
  const float correction =
      __shfl_sync(kWholeWarp, kept_correction, lane_in_row % Keep::kHalf, kLanes);
  const float output = scale * fmaf(head.key_query, correction, gates.decay * sum[0]);
  overflow.include(correction, head.largest_key, output);
  return output;
}

// Does a warp's rows again in the definition's order, from the old state. Out of line, since it is
// almost never entered, and loads what it needs anew, so that nothing is kept for it.
__device__ __noinline__ void redo_rows(const Arguments& call, unsigned first_row, int rows) {
  constexpr int kLanes = 32;
  const unsigned lane = threadIdx.x % kLanes;
  const unsigned head_index = first_row / kHeadSize;
  const Gates gates = load_gates(call, head_index);
  const Head<kLanes> head = load_head<kLanes, 1>(call, head_index, lane);
#pragma unroll 1
  for (unsigned row = first_row; row < first_row + rows; ++row) {
    const size_t first = size_t(row) * kHeadSize + first_column<1>(lane);
    Quad part[1] = {{broadcast(0.0f), broadcast(0.0f)}};
    if (call.state != nullptr) {
      load_state<1>(part, call.state + first);
    }
    part[0].low = multiply(broadcast(gates.decay), part[0].low);
    part[0].high = multiply(broadcast(gates.decay), part[0].high);
    const float recalled = sum_over_lanes<kLanes>(dot(part, head.key));
    const float correction = gates.strength * (load_bf16(call.v + row) - recalled);
    part[0].low = multiply_add(broadcast(correction), head.key[0].low, part[0].low);
    part[0].high = multiply_add(broadcast(correction), head.key[0].high, part[0].high);
    store_state<1>(call.new_state + first, part);
    const float answered = sum_over_lanes<kLanes>(dot(part, head.query));
    if (lane == 0) {
      call.output[row] = __float2bfloat16(call.scale * answered);
    }
  }
}

// Ends a warp's work: redoes its rows if any of them may have overflowed.
__device__ __forceinline__ void redo_rows_after_overflow(const OverflowCheck& overflow,
                                                         const Arguments& call,
                                                         unsigned first_row, int rows) {
  if (overflow.anywhere_in_warp()) {
    __syncwarp();  // the rows' first stores, by whichever lane, come before their second
    redo_rows(call, first_row, rows);
  }
}

}  // namespace gdn_decode

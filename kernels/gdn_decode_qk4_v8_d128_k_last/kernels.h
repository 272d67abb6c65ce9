// The two kernels: rows through registers for small batches, rows through shared memory for large.
//
// Rows are counted over the whole call, (sequence * 8 + value head) * 128 + value index, so a block
// of up to 128 consecutive rows that starts at a multiple of its size stays within one head.
//
// The second argument of every launch bound lets the compiler spend registers: with its own choice
// it moved loads behind the arithmetic, which cost a second trip to memory.
#pragma once

#include "arguments.h"
#include "memory.h"
#include "step.h"

namespace gdn_decode {

enum class State { Given, Absent };

// Small batches: half a warp per row, two rows per lane, everything requested before anything is
// used. A block has 4 * kWarps rows.
template <int kWarps, State kState>
__global__ void __launch_bounds__(kWarps * 32, 1) decode_through_registers(Arguments call) {
  constexpr int kLanes = 16;
  constexpr int kRows = 2;
  constexpr int kFours = 32 / kLanes;
  constexpr int kAccess = kWidestAccess;
  constexpr int kStride = kWarps * 32 / kLanes;  // rows that the block handles side by side

  const unsigned lane_in_row = threadIdx.x % kLanes;
  const unsigned block_row = blockIdx.x * (kStride * kRows);
  const unsigned first_row = block_row + threadIdx.x / kLanes;
  const size_t first_element = size_t(first_row) * kHeadSize + first_column<kAccess>(lane_in_row);
  const float* source = call.state + first_element;
  float* destination = call.new_state + first_element;

  Four row[kRows][kFours];
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
#pragma unroll
    for (int four = 0; four < kFours; four += kAccess) {
      if constexpr (kState == State::Given) {
        load_state<kAccess>(&row[r][four], source + r * (kStride * kHeadSize) +
                                               column_step<kLanes, kAccess>(four));
      } else {
#pragma unroll
        for (int part = 0; part < kAccess; ++part) {
          row[r][four + part] = {both(0.0f), both(0.0f)};
        }
      }
    }
  }
  float value[kRows];
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    value[r] = load_bf16(call.v + first_row + r * kStride);
  }
  const unsigned head_index = block_row / kHeadSize;
  const Gates gates = load_gates(call, head_index);
  const Head<kFours> head = load_head<kLanes, kAccess>(call, head_index, lane_in_row);

  float output[kRows];
  Doubt doubt;
  update_rows<kLanes, KeyQuery::Partial>(row, value, gates, head, call.scale, output, doubt);
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
#pragma unroll
    for (int four = 0; four < kFours; four += kAccess) {
      store_state<kAccess>(
          destination + r * (kStride * kHeadSize) + column_step<kLanes, kAccess>(four),
          &row[r][four]);
    }
  }
  if (lane_in_row < kRows) {
    call.output[first_row + lane_in_row * kStride] =
        __float2bfloat16(lane_in_row == 0 ? output[0] : output[1]);
  }
  if (doubt.anywhere_in_warp()) {
#pragma unroll 1
    for (int r = 0; r < kRows; ++r) {
      redo_row<kLanes, kAccess>(call, first_row + r * kStride, lane_in_row, gates, head);
    }
  }
}

// Large batches: each warp requests all of its consecutive rows at once, so that one wave of blocks
// holds as much of the state as the device has room for and reads run ahead of writes. Eight lanes
// share a row, so a warp advances four rows, one quad, at a time. kPieces bulk copies of 8 rows go to
// shared memory, kHeldQuads quads straight to registers; kQuadsAtOnce quads are worked on together.
template <int kWarps, int kPieces, int kHeldQuads, int kQuadsAtOnce, int kBlocksPerMultiprocessor>
__global__ void __launch_bounds__(kWarps * 32, kBlocksPerMultiprocessor)
    decode_through_shared_memory(Arguments call) {
  constexpr int kLanes = 8;
  constexpr int kFours = 32 / kLanes;
  constexpr int kQuad = 32 / kLanes;  // rows
  constexpr int kPieceRows = 8;
  constexpr int kStagedRows = kPieces * kPieceRows;
  constexpr int kWarpRows = kStagedRows + kHeldQuads * kQuad;
  constexpr int kQuads = kWarpRows / kQuad;
  constexpr int kOutputs = (kWarpRows + 31) / 32;  // elements of the output per lane
  static_assert(kHeadSize % kWarpRows == 0, "a warp stays in one head");

  __shared__ alignas(128) float staged[kWarps][kStagedRows * kHeadSize];
  __shared__ uint64_t arrived[kWarps][kPieces];
  const unsigned warp = threadIdx.x / 32;
  const unsigned lane = threadIdx.x % 32;
  const unsigned lane_in_row = lane % kLanes;
  const unsigned row_in_quad = lane / kLanes;
  const unsigned warp_row = (blockIdx.x * kWarps + warp) * kWarpRows;
  const float* source = call.state + size_t(warp_row) * kHeadSize;
  // Where the lane's first Four lies in a quad, in elements.
  const unsigned place = row_in_quad * kHeadSize + first_column<1>(lane_in_row);
  float* destination = call.new_state + size_t(warp_row) * kHeadSize + place;

  if (lane == 0) {
#pragma unroll
    for (int piece = 0; piece < kPieces; ++piece) {
      initialise_barrier(&arrived[warp][piece]);
    }
    publish_barriers();
#pragma unroll
    for (int piece = 0; piece < kPieces; ++piece) {
      constexpr int kPieceElements = kPieceRows * kHeadSize;
      start_bulk_load(&staged[warp][piece * kPieceElements], source + piece * kPieceElements,
                      kPieceElements * sizeof(float), &arrived[warp][piece]);
    }
  }
  __syncwarp();
  Four held[kHeldQuads == 0 ? 1 : kHeldQuads][kFours];
#pragma unroll
  for (int quad = 0; quad < kHeldQuads; ++quad) {
#pragma unroll
    for (int four = 0; four < kFours; ++four) {
      load_state<1>(&held[quad][four],
                    source + place + (kStagedRows + quad * kQuad) * kHeadSize +
                        column_step<kLanes, 1>(four));
    }
  }
  // Lane l keeps value and output of row l / 8 of quad l % 8, and of the quads 8, 16, ... further on.
  float values[kOutputs];
  float outputs[kOutputs];
#pragma unroll
  for (int i = 0; i < kOutputs; ++i) {
    const unsigned row = (i * 8 + lane_in_row) * kQuad + row_in_quad;
    values[i] = row < kWarpRows ? load_bf16(call.v + warp_row + row) : 0.0f;
    outputs[i] = 0.0f;
  }
  const unsigned head_index = warp_row / kHeadSize;
  const Gates gates = load_gates(call, head_index);
  Head<kFours> head = load_head<kLanes, 1>(call, head_index, lane_in_row);
  head.key_query = sum_over_lanes<kLanes>(head.key_query);

  Doubt doubt;
  // Updates quads from `first_quad` on and stores them.
  const auto advance = [&](auto& rows, int first_quad) {
    constexpr int kCount = sizeof(rows) / sizeof(rows[0]);
    float value[kCount];
    float output[kCount];
#pragma unroll
    for (int quad = 0; quad < kCount; ++quad) {
      const int index = first_quad + quad;
      value[quad] =
          __shfl_sync(kWholeWarp, values[index / 8], row_in_quad * kLanes + index % 8);
    }
    update_rows<kLanes, KeyQuery::Whole>(rows, value, gates, head, call.scale, output, doubt);
#pragma unroll
    for (int quad = 0; quad < kCount; ++quad) {
      const int index = first_quad + quad;
#pragma unroll
      for (int four = 0; four < kFours; ++four) {
        store_state<1>(
            destination + index * (kQuad * kHeadSize) + column_step<kLanes, 1>(four),
            &rows[quad][four]);
      }
      if (lane_in_row == index % 8) {
        outputs[index / 8] = output[quad];
      }
    }
  };

#pragma unroll
  for (int piece = 0; piece < kPieces; ++piece) {
    wait_for_bulk_load(&arrived[warp][piece]);
#pragma unroll
    for (int quad = 0; quad < kPieceRows / kQuad; quad += kQuadsAtOnce) {
      const int first_quad = piece * (kPieceRows / kQuad) + quad;
      Four rows[kQuadsAtOnce][kFours];
#pragma unroll
      for (int q = 0; q < kQuadsAtOnce; ++q) {
#pragma unroll
        for (int four = 0; four < kFours; ++four) {
          const float4 element = *reinterpret_cast<const float4*>(
              &staged[warp][place + (first_quad + q) * (kQuad * kHeadSize) +
                            column_step<kLanes, 1>(four)]);
          rows[q][four] = {make_float2(element.x, element.y), make_float2(element.z, element.w)};
        }
      }
      advance(rows, first_quad);
    }
  }
  if constexpr (kHeldQuads > 0) {
    advance(held, kStagedRows / kQuad);
  }
#pragma unroll
  for (int i = 0; i < kOutputs; ++i) {
    const unsigned row = (i * 8 + lane_in_row) * kQuad + row_in_quad;
    if (row < kWarpRows) {
      call.output[warp_row + row] = __float2bfloat16(outputs[i]);
    }
  }
  if (doubt.anywhere_in_warp()) {
#pragma unroll 1
    for (int quad = 0; quad < kQuads; ++quad) {
      redo_row<kLanes, 1>(call, warp_row + quad * kQuad + row_in_quad, lane_in_row, gates, head);
    }
  }
}

}  // namespace gdn_decode

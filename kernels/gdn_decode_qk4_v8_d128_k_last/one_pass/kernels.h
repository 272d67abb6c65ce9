// The two kernels: rows through registers for small batches, rows through shared memory for large.
//
// Rows are counted over the whole call, (sequence * 8 + value head) * 128 + value index, so a block
// of up to 128 consecutive rows that starts at a multiple of its size stays within one head.
//
// The second argument of every launch bound lets the compiler spend registers: with its own choice it
// moved loads behind the arithmetic, which cost a second trip to memory.
#pragma once

#include "arguments.h"
#include "memory.h"
#include "step.h"

namespace gdn_decode {

enum class State { Given, Absent };

// Small batches: each warp requests all of its consecutive rows before anything is used. Half a warp
// shares a row, in one access of 32 bytes per lane or two of 16.
template <int kWarps, int kWarpRows, State kState>
__global__ void __launch_bounds__(kWarps * 32, 1)
    decode_through_registers(const __grid_constant__ Arguments call) {
  constexpr int kLanes = 16;
  constexpr int kQuads = 32 / kLanes;
  constexpr int kAccess = kWidestAccess;
  constexpr int kGroups = 32 / kLanes;  // rows that the warp handles side by side
  constexpr int kRows = kWarpRows / kGroups;
  constexpr int kBlockRows = kWarps * kWarpRows;
  static_assert(kHeadSize % kBlockRows == 0, "a block stays in one head");
  using Keep = Keeper<kLanes, kRows>;

  const unsigned lane_in_row = threadIdx.x % kLanes;
  const unsigned group = threadIdx.x % 32 / kLanes;
  const unsigned warp_row = blockIdx.x * kBlockRows + threadIdx.x / 32 * kWarpRows;
  const size_t first_element =
      size_t(warp_row + group) * kHeadSize + first_column<kAccess>(lane_in_row);
  const float* source = call.state + first_element;
  float* destination = call.new_state + first_element;

  Quad row[kRows][kQuads];
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
#pragma unroll
    for (int quad = 0; quad < kQuads; quad += kAccess) {
      if constexpr (kState == State::Given) {
        load_state<kAccess>(&row[r][quad], source + r * (kGroups * kHeadSize) +
                                               column_step<kLanes, kAccess>(quad));
      } else {
#pragma unroll
        for (int part = quad; part < quad + kAccess; ++part) {
          row[r][part] = {broadcast(0.0f), broadcast(0.0f)};
        }
      }
    }
  }
  const unsigned kept_row = warp_row + Keep::row(lane_in_row) * kGroups + group;
  const float value = load_bf16(call.v + kept_row);
  const unsigned head_index = blockIdx.x * kBlockRows / kHeadSize;
  const Gates gates = load_gates(call, head_index);
  const Head<kLanes> head = load_head<kLanes, kAccess>(call, head_index, lane_in_row);

  OverflowCheck overflow;
  const float output = update_rows<kLanes, kRows>(row, value, gates, head, call.scale, overflow);
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
#pragma unroll
    for (int quad = 0; quad < kQuads; quad += kAccess) {
      store_state<kAccess>(
          destination + r * (kGroups * kHeadSize) + column_step<kLanes, kAccess>(quad),
          &row[r][quad]);
    }
  }
  if (lane_in_row == Keep::output_lane(Keep::row(lane_in_row))) {
    call.output[kept_row] = __float2bfloat16(output);
  }
  redo_rows_after_overflow(overflow, call, warp_row, kWarpRows);
}

// Large batches: each warp requests all of its consecutive rows at once, so that one wave of blocks
// holds as much of the state as the device has room for and reads run ahead of writes. kPieces bulk
// copies of 8 rows go to shared memory, kHeldRows rows straight to registers. `kLanes` lanes share a
// row, and each works on kRowsAtOnce rows of a piece together.
template <int kLanes, int kWarps, int kPieces, int kHeldRows, int kRowsAtOnce,
          int kBlocksPerMultiprocessor>
__global__ void __launch_bounds__(kWarps * 32, kBlocksPerMultiprocessor)
    decode_through_shared_memory(const __grid_constant__ Arguments call) {
  constexpr int kQuads = 32 / kLanes;
  constexpr int kGroups = 32 / kLanes;  // rows that the warp handles side by side
  constexpr int kPieceRows = 8;
  constexpr int kStagedRows = kPieces * kPieceRows;
  constexpr int kWarpRows = kStagedRows + kHeldRows;
  constexpr int kBlockRows = kWarps * kWarpRows;
  static_assert(kHeadSize % kBlockRows == 0, "a block stays in one head");
  static_assert(kWarpRows <= 32, "a lane keeps one value and one output");

  __shared__ alignas(128) float staged[kWarps][kStagedRows * kHeadSize];
  __shared__ uint64_t arrived[kWarps][kPieces];
  const unsigned warp = threadIdx.x / 32;
  const unsigned lane = threadIdx.x % 32;
  const unsigned lane_in_row = lane % kLanes;
  const unsigned group = lane / kLanes;
  const unsigned warp_row = blockIdx.x * kBlockRows + warp * kWarpRows;
  const float* source = call.state + size_t(warp_row) * kHeadSize;
  // Where the lane's first Quad lies in the warp's first rows, in elements.
  const unsigned place = group * kHeadSize + first_column<1>(lane_in_row);
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
  constexpr int kHeld = kHeldRows / kGroups;
  Quad held[kHeld == 0 ? 1 : kHeld][kQuads];
#pragma unroll
  for (int r = 0; r < kHeld; ++r) {
#pragma unroll
    for (int quad = 0; quad < kQuads; ++quad) {
      load_state<1>(&held[r][quad], source + place + (kStagedRows + r * kGroups) * kHeadSize +
                                        column_step<kLanes, 1>(quad));
    }
  }
  // Lane l keeps the value and the output of the warp's row l.
  const float values = lane < kWarpRows ? load_bf16(call.v + warp_row + lane) : 0.0f;
  float outputs = 0.0f;
  const unsigned head_index = blockIdx.x * kBlockRows / kHeadSize;
  const Gates gates = load_gates(call, head_index);
  const Head<kLanes> head = load_head<kLanes, 1>(call, head_index, lane_in_row);

  OverflowCheck overflow;
  // Updates the rows from `first_row` of the warp on and stores them.
  const auto advance = [&](auto& rows, int first_row) {
    constexpr int kRows = sizeof(rows) / sizeof(rows[0]);
    using Keep = Keeper<kLanes, kRows>;
    const float value = __shfl_sync(kWholeWarp, values,
                                    first_row + Keep::row(lane_in_row) * kGroups + group);
    const float output = update_rows<kLanes, kRows>(rows, value, gates, head, call.scale, overflow);
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
#pragma unroll
      for (int quad = 0; quad < kQuads; ++quad) {
        store_state<1>(destination + (first_row + r * kGroups) * kHeadSize +
                           column_step<kLanes, 1>(quad),
                       &rows[r][quad]);
      }
    }
    const unsigned row = lane - first_row;
    const float mine = __shfl_sync(kWholeWarp, output,
                                   row % kGroups * kLanes + Keep::output_lane(row / kGroups));
    if (row < kRows * kGroups) {
      outputs = mine;
    }
  };

#pragma unroll
  for (int piece = 0; piece < kPieces; ++piece) {
    wait_for_bulk_load(&arrived[warp][piece]);
#pragma unroll
    for (int part = 0; part < kPieceRows; part += kRowsAtOnce * kGroups) {
      const int first_row = piece * kPieceRows + part;
      Quad rows[kRowsAtOnce][kQuads];
#pragma unroll
      for (int r = 0; r < kRowsAtOnce; ++r) {
#pragma unroll
        for (int quad = 0; quad < kQuads; ++quad) {
          const float4 element = *reinterpret_cast<const float4*>(
              &staged[warp][place + (first_row + r * kGroups) * kHeadSize +
                            column_step<kLanes, 1>(quad)]);
          rows[r][quad] = {make_float2(element.x, element.y), make_float2(element.z, element.w)};
        }
      }
      advance(rows, first_row);
    }
  }
  if constexpr (kHeld > 0) {
    advance(held, kStagedRows);
  }
  if (lane < kWarpRows) {
    call.output[warp_row + lane] = __float2bfloat16(outputs);
  }
  redo_rows_after_overflow(overflow, call, warp_row, kWarpRows);
}

}  // namespace gdn_decode

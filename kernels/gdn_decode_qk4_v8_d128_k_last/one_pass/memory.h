// Global memory accesses with the cache behaviour each tensor wants, and arithmetic on pairs.
//
// Two paths, chosen by the architecture that is compiled: sm_100 and later move 32 bytes per lane and
// access and multiply-add two floats at once; sm_90 moves 16 bytes and multiply-adds one. An older
// architecture, or an access wider than the path has, is an error of the compiler.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 900
#error "expected sm_90 or later, which copy into shared memory in bulk"
#endif

namespace gdn_decode {

// Four floats in two pairs, the unit in which rows are kept in registers.
struct Quad {
  float2 low;
  float2 high;
};

// The widest access to global memory, in Quads.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1000
constexpr int kWidestAccess = 2;  // 32 bytes
#else
constexpr int kWidestAccess = 1;  // 16 bytes
#endif

// Returns left * right + sum, each half on its own.
__device__ __forceinline__ float2 multiply_add(float2 left, float2 right, float2 sum) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1000
  return __ffma2_rn(left, right, sum);
#else
  return make_float2(fmaf(left.x, right.x, sum.x), fmaf(left.y, right.y, sum.y));
#endif
}

// Returns left * right, each half on its own.
__device__ __forceinline__ float2 multiply(float2 left, float2 right) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1000
  return __fmul2_rn(left, right);
#else
  return make_float2(left.x * right.x, left.y * right.y);
#endif
}

__device__ __forceinline__ float2 broadcast(float value) { return make_float2(value, value); }

// A cache policy for lines that nobody reads again: they leave L2 first.
__device__ __forceinline__ uint64_t evict_first() {
  uint64_t policy;
  asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
  return policy;
}

// Reads 16 or 32 bytes of a row of state, past L1, since every byte is read once.
template <int kQuads>
__device__ __forceinline__ void load_state(Quad* part, const float* address) {
  if constexpr (kQuads == 1) {
    asm volatile("ld.global.nc.L1::no_allocate.L2::cache_hint.v4.f32 {%0,%1,%2,%3}, [%4], %5;"
                 : "=f"(part[0].low.x), "=f"(part[0].low.y), "=f"(part[0].high.x),
                   "=f"(part[0].high.y)
                 : "l"(address), "l"(evict_first()));
  } else {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1000
    static_assert(kQuads == 2, "sm_100 loads 16 or 32 bytes at once");
    asm volatile(
        "ld.global.nc.L1::no_allocate.L2::evict_first.v8.f32 {%0,%1,%2,%3,%4,%5,%6,%7}, [%8];"
        : "=f"(part[0].low.x), "=f"(part[0].low.y), "=f"(part[0].high.x), "=f"(part[0].high.y),
          "=f"(part[1].low.x), "=f"(part[1].low.y), "=f"(part[1].high.x), "=f"(part[1].high.y)
        : "l"(address));
#else
    static_assert(kQuads == 1, "architectures before sm_100 load 16 bytes at once");
#endif
  }
}

// Writes 16 or 32 bytes of a row of new state with the default policy: it may stay in L2 after the
// kernel, for the next step.
template <int kQuads>
__device__ __forceinline__ void store_state(float* address, const Quad* part) {
  if constexpr (kQuads == 1) {
    asm volatile("st.global.v4.f32 [%4], {%0,%1,%2,%3};" ::"f"(part[0].low.x),
                 "f"(part[0].low.y), "f"(part[0].high.x), "f"(part[0].high.y), "l"(address)
                 : "memory");
  } else {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1000
    static_assert(kQuads == 2, "sm_100 stores 16 or 32 bytes at once");
    asm volatile("st.global.v8.f32 [%8], {%0,%1,%2,%3,%4,%5,%6,%7};" ::"f"(part[0].low.x),
                 "f"(part[0].low.y), "f"(part[0].high.x), "f"(part[0].high.y),
                 "f"(part[1].low.x), "f"(part[1].low.y), "f"(part[1].high.x),
                 "f"(part[1].high.y), "l"(address)
                 : "memory");
#else
    static_assert(kQuads == 1, "architectures before sm_100 store 16 bytes at once");
#endif
  }
}

// Four bf16 numbers as they lie in memory.
__device__ __forceinline__ uint2 load_bf16_quad(const __nv_bfloat16* address) {
  return __ldg(reinterpret_cast<const uint2*>(address));
}

// Widening bf16 to float appends sixteen zero bits.
__device__ __forceinline__ Quad widen(uint2 packed) {
  return {make_float2(__uint_as_float(packed.x << 16), __uint_as_float(packed.x & 0xffff0000u)),
          make_float2(__uint_as_float(packed.y << 16), __uint_as_float(packed.y & 0xffff0000u))};
}

__device__ __forceinline__ float load_bf16(const __nv_bfloat16* address) {
  const unsigned short bits = __ldg(reinterpret_cast<const unsigned short*>(address));
  return __uint_as_float(uint32_t(bits) << 16);
}

// Bulk copies into shared memory, each of which completes on a barrier of its own.

__device__ __forceinline__ uint32_t shared_address(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

// Prepares a barrier for one arrival, and makes it visible to the copy engine.
__device__ __forceinline__ void initialise_barrier(uint64_t* barrier) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(shared_address(barrier)) : "memory");
}

__device__ __forceinline__ void publish_barriers() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

// Starts a copy of `size_bytes` (a multiple of 16) whose end completes the barrier's first phase.
__device__ __forceinline__ void start_bulk_load(void* destination, const void* source,
                                                uint32_t size_bytes, uint64_t* barrier) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(
                   shared_address(barrier)),
               "r"(size_bytes)
               : "memory");
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint "
      "[%0], [%1], %2, [%3], %4;" ::"r"(shared_address(destination)),
      "l"(source), "r"(size_bytes), "r"(shared_address(barrier)), "l"(evict_first())
      : "memory");
}

// Waits until the barrier's first phase is complete.
__device__ __forceinline__ void wait_for_bulk_load(uint64_t* barrier) {
  uint32_t complete;
  do {
    asm volatile(
        "{\n"
        ".reg .pred done;\n"
        "mbarrier.try_wait.parity.shared::cta.b64 done, [%1], 0;\n"
        "selp.u32 %0, 1, 0, done;\n"
        "}\n"
        : "=r"(complete)
        : "r"(shared_address(barrier))
        : "memory");
  } while (complete == 0);
}

}  // namespace gdn_decode

// The kernels of the judge and of the player's clocks.
//
// Compiled to portable PTX, which is kept beside this file so that no compiler is needed where
// kernels are measured. `NONCE` in every name is replaced when the module is loaded, so that a
// submission cannot pass its own kernels off as these by their names alone.
//
//   nvcc -ptx -O3 -std=c++17 -arch=compute_75 instruments.cu -o instruments.ptx

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>
#include <stdint.h>

#define INSTRUMENT(name) extern "C" __global__ void proofmark_NONCE_##name

// ---- clocks ---------------------------------------------------------------------------------

static __device__ __forceinline__ uint64_t nanoseconds() {
    uint64_t now;
    asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now));
    return now;
}

// Holds the stream until the host writes `wanted`, or until the time is up.
INSTRUMENT(hold)(volatile uint32_t* flag, uint32_t wanted, uint64_t limit_ns, uint32_t* timed_out) {
    const uint64_t start = nanoseconds();
    while (*flag != wanted) {
        if (nanoseconds() - start > limit_ns) {
            *timed_out = 1;
            return;
        }
    }
}

// Marks a point in a stream that activity records can be compared with.
INSTRUMENT(mark)() {}

// Writes a region larger than L2, so that nothing of the inputs stays there.
INSTRUMENT(flush)(uint4* buffer, uint64_t count, uint32_t value) {
    const uint64_t stride = (uint64_t)gridDim.x * blockDim.x;
    for (uint64_t i = (uint64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += stride) {
        buffer[i] = make_uint4(value, value, value, value);
    }
}

// Overwrites shared memory, and with `frames` the local memory of every thread: a kernel finds there what
// another one left. `sink` is never written.
extern "C" __global__ void __launch_bounds__(1024, 2)
proofmark_NONCE_scrub(uint32_t shared_words, uint32_t frames, uint32_t* sink) {
    extern __shared__ volatile uint32_t words[];
    for (uint32_t i = threadIdx.x; i < shared_words; i += blockDim.x) words[i] = 0xDEADBEEFu;
    __syncthreads();
    uint32_t seen = words[threadIdx.x];
    if (frames) {
        volatile uint32_t frame[4096];
#pragma unroll 1
        for (int i = 0; i < 4096; ++i) frame[i] = 0xDEADBEEFu;
        seen ^= frame[threadIdx.x & 4095] ^ 0xDEADBEEFu;
    }
    if (seen != 0xDEADBEEFu) *sink = seen;
}

// Counts cycles of one multiprocessor over a stretch of wall time, tick edge to tick edge.
INSTRUMENT(count_cycles)(uint64_t* answer, uint64_t stretch_ns) {
    uint64_t start = nanoseconds(), edge = start;
    while (edge == start) edge = nanoseconds();
    const uint64_t first = clock64();
    uint64_t now = edge;
    while (now - edge < stretch_ns) now = nanoseconds();
    answer[0] = clock64() - first;
    answer[1] = now - edge;
}

// Element types in the order of the Rust enum.
enum Dtype { F32, F16, BF16, E4M3, E5M2, E2M1, I64, I32, I16, I8, BOOL, U8, F64 };

// ---- inputs ---------------------------------------------------------------------------------
// The exact specification is in the judge's generator.rs; these kernels and that file must agree
// bit for bit.

struct Block {
    uint32_t word[4];
};

static __device__ Block philox(uint64_t index, uint32_t iteration, uint32_t key_0, uint32_t key_1) {
    uint32_t c0 = (uint32_t)index, c1 = (uint32_t)(index >> 32), c2 = iteration, c3 = 0;
#pragma unroll
    for (int round = 0; round < 10; ++round) {
        const uint32_t high_0 = __umulhi(0xD2511F53u, c0), low_0 = 0xD2511F53u * c0;
        const uint32_t high_1 = __umulhi(0xCD9E8D57u, c2), low_1 = 0xCD9E8D57u * c2;
        c0 = high_1 ^ c1 ^ key_0;
        c1 = low_1;
        c2 = high_0 ^ c3 ^ key_1;
        c3 = low_0;
        key_0 += 0x9E3779B9u;
        key_1 += 0xBB67AE85u;
    }
    return {{c0, c1, c2, c3}};
}

enum Form { BELL, FLAT, WHOLE };

struct Recipe {
    uint32_t form;
    float multiplier, offset, limit;
    long long low;
    uint32_t span, key_0, key_1, iteration;
};

static __device__ uint32_t one_word(const Recipe& r, uint64_t e) {
    const Block block = philox(e / 4, r.iteration, r.key_0, r.key_1);
    switch (e % 4) {
        case 0: return block.word[0];
        case 1: return block.word[1];
        case 2: return block.word[2];
        default: return block.word[3];
    }
}

static __device__ float float_value(const Recipe& r, uint64_t e) {
    int integer;
    if (r.form == BELL) {
        const Block block = philox(e, r.iteration, r.key_0, r.key_1);
        integer = -262140;
#pragma unroll
        for (int i = 0; i < 4; ++i) integer += (int)((block.word[i] & 0xffff) + (block.word[i] >> 16));
    } else {
        integer = (int)(one_word(r, e) >> 8);
    }
    const float value = __fadd_rn(__fmul_rn((float)integer, r.multiplier), r.offset);
    return value < -r.limit ? -r.limit : value > r.limit ? r.limit : value;
}

static __device__ long long whole_value(const Recipe& r, uint64_t e) {
    return r.low + (long long)(((uint64_t)one_word(r, e) * r.span) >> 32);
}

static __device__ uint8_t narrow(float value, int exponent_bits, int mantissa_bits, int largest_code) {
    const uint32_t bits = __float_as_uint(value);
    const int bias = (1 << (exponent_bits - 1)) - 1;
    const int exponent = max((int)(bits >> 23 & 0xff) - 127, 1 - bias);
    const float quantum = __uint_as_float((uint32_t)(exponent - mantissa_bits + 127) << 23);
    const int count = (int)fminf(rintf(__fdiv_rn(fabsf(value), quantum)), 512.0f);
    const int code = ((exponent + bias - 1) << mantissa_bits) + count;
    return (uint8_t)((bits >> 31) << (exponent_bits + mantissa_bits) | (uint32_t)min(code, largest_code));
}

static __device__ float as_float(const Recipe& r, uint64_t e) {
    return r.form == WHOLE ? (float)whole_value(r, e) : float_value(r, e);
}

static __device__ long long as_whole(const Recipe& r, uint64_t e) {
    return r.form == WHOLE ? whole_value(r, e) : (long long)float_value(r, e);
}

// Makes `count` elements. Element types in the order of the Rust enum.
INSTRUMENT(make)(void* out, uint32_t dtype, uint32_t form, float multiplier, float offset, float limit,
                 long long low, uint32_t span, uint32_t key_0, uint32_t key_1, uint32_t iteration,
                 uint64_t count) {
    const Recipe r = {form, multiplier, offset, limit, low, span, key_0, key_1, iteration};
    const uint64_t stride = (uint64_t)gridDim.x * blockDim.x;
    const uint64_t first = (uint64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (dtype == E2M1) {
        for (uint64_t pair = first; pair < (count + 1) / 2; pair += stride) {
            const uint8_t even = narrow(as_float(r, 2 * pair), 2, 1, 0x7);
            const uint8_t odd = 2 * pair + 1 < count ? narrow(as_float(r, 2 * pair + 1), 2, 1, 0x7) : 0;
            ((uint8_t*)out)[pair] = (even & 0xf) | odd << 4;
        }
        return;
    }
    for (uint64_t e = first; e < count; e += stride) {
        switch (dtype) {
            case F64: ((double*)out)[e] = as_float(r, e); break;
            case F32: ((float*)out)[e] = as_float(r, e); break;
            case F16: ((__half*)out)[e] = __float2half_rn(as_float(r, e)); break;
            case BF16: ((__nv_bfloat16*)out)[e] = __float2bfloat16_rn(as_float(r, e)); break;
            case E4M3: ((uint8_t*)out)[e] = narrow(as_float(r, e), 4, 3, 0x7e); break;
            case E5M2: ((uint8_t*)out)[e] = narrow(as_float(r, e), 5, 2, 0x7b); break;
            case I64: ((long long*)out)[e] = as_whole(r, e); break;
            case I32: ((int32_t*)out)[e] = (int32_t)as_whole(r, e); break;
            case I16: ((int16_t*)out)[e] = (int16_t)as_whole(r, e); break;
            default: ((int8_t*)out)[e] = (int8_t)as_whole(r, e); break;
        }
    }
}

// ---- comparison -----------------------------------------------------------------------------

// Counts bytes that differ.
INSTRUMENT(count_changed)(const uint8_t* a, const uint8_t* b, uint64_t count, unsigned long long* changed) {
    const uint64_t stride = (uint64_t)gridDim.x * blockDim.x;
    const uint64_t first = (uint64_t)blockIdx.x * blockDim.x + threadIdx.x;
    unsigned long long found = 0;
    const uint64_t vectors = count / 16;
    const uint4* wide_a = (const uint4*)a;
    const uint4* wide_b = (const uint4*)b;
    for (uint64_t i = first; i < vectors; i += stride) {
        const uint4 x = wide_a[i], y = wide_b[i];
        found += (x.x != y.x) + (x.y != y.y) + (x.z != y.z) + (x.w != y.w);
    }
    for (uint64_t i = vectors * 16 + first; i < count; i += stride) found += a[i] != b[i];
    if (found) atomicAdd(changed, found);
}

static __device__ double element(const void* data, uint64_t i, int dtype) {
    switch (dtype) {
        case F32: return ((const float*)data)[i];
        case F16: return __half2float(((const __half*)data)[i]);
        case BF16: return __bfloat162float(((const __nv_bfloat16*)data)[i]);
        case E4M3: return __half2float(__nv_cvt_fp8_to_halfraw(((const uint8_t*)data)[i], __NV_E4M3));
        case E5M2: return __half2float(__nv_cvt_fp8_to_halfraw(((const uint8_t*)data)[i], __NV_E5M2));
        case E2M1: {
            const uint8_t nibble = (((const uint8_t*)data)[i / 2] >> (i % 2 * 4)) & 15;
            const float magnitudes[8] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
            return nibble & 8 ? -magnitudes[nibble & 7] : magnitudes[nibble & 7];
        }
        case I64: return (double)((const int64_t*)data)[i];
        case I32: return ((const int32_t*)data)[i];
        case I16: return ((const int16_t*)data)[i];
        case I8: return ((const int8_t*)data)[i];
        case U8: return ((const uint8_t*)data)[i];
        case F64: return ((const double*)data)[i];
        default: return ((const uint8_t*)data)[i] != 0;
    }
}

struct Comparison {
    unsigned long long off;               // beyond both tolerances, or not finite
    unsigned long long non_finite;        // infinite or NaN
    unsigned long long reference_broken;  // elements where infinite or NaN was expected
    unsigned long long max_absolute;      // bits of a double
    unsigned long long max_relative;      // bits of a double
    double squared_error;
    double squared_reference;
};

INSTRUMENT(compare)(const void* found, int found_dtype, const void* expected, int expected_dtype,
                    uint64_t count, double absolute_tolerance, double relative_tolerance,
                    Comparison* answer) {
    const uint64_t stride = (uint64_t)gridDim.x * blockDim.x;
    unsigned long long off = 0, non_finite = 0, broken = 0;
    double max_absolute = 0, max_relative = 0, squared_error = 0, squared_reference = 0;
    for (uint64_t i = (uint64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += stride) {
        const double x = element(found, i, found_dtype), y = element(expected, i, expected_dtype);
        if (!isfinite(y)) {
            // What is not finite is matched exactly: NaN by NaN, an infinity by the same one.
            const bool same = isnan(y) ? isnan(x) : x == y;
            ++broken;
            off += !same;
            non_finite += !same;
            continue;
        }
        squared_reference += y * y;
        if (!isfinite(x)) {
            ++non_finite;
            ++off;
            continue;
        }
        // The rule is FlashInfer-Bench's, in single precision as there.
        const float difference = fabsf(__fsub_rn((float)x, (float)y));
        const float share = __fdiv_rn(difference, __fadd_rn(fabsf((float)y), 1e-8f));
        off += difference > (float)absolute_tolerance && share > (float)relative_tolerance;
        const double error = fabs(x - y);
        max_absolute = fmax(max_absolute, error);
        max_relative = fmax(max_relative, error / (fabs(y) + 1e-8));
        squared_error += error * error;
    }
    if (off) atomicAdd(&answer->off, off);
    if (non_finite) atomicAdd(&answer->non_finite, non_finite);
    if (broken) atomicAdd(&answer->reference_broken, broken);
    for (int offset = 16; offset; offset /= 2) {
        max_absolute = fmax(max_absolute, __shfl_xor_sync(~0u, max_absolute, offset));
        max_relative = fmax(max_relative, __shfl_xor_sync(~0u, max_relative, offset));
        squared_error += __shfl_xor_sync(~0u, squared_error, offset);
        squared_reference += __shfl_xor_sync(~0u, squared_reference, offset);
    }
    // One thread speaks for the block: atomics on one address wait for each other.
    __shared__ double of_warps[4][32];
    const uint32_t warp = threadIdx.x / 32;
    if (threadIdx.x % 32 == 0) {
        of_warps[0][warp] = max_absolute;
        of_warps[1][warp] = max_relative;
        of_warps[2][warp] = squared_error;
        of_warps[3][warp] = squared_reference;
    }
    __syncthreads();
    if (threadIdx.x != 0) return;
    for (uint32_t other = 1; other < blockDim.x / 32; ++other) {
        max_absolute = fmax(max_absolute, of_warps[0][other]);
        max_relative = fmax(max_relative, of_warps[1][other]);
        squared_error += of_warps[2][other];
        squared_reference += of_warps[3][other];
    }
    // Bits of non-negative doubles order like the doubles.
    atomicMax(&answer->max_absolute, (unsigned long long)__double_as_longlong(max_absolute));
    atomicMax(&answer->max_relative, (unsigned long long)__double_as_longlong(max_relative));
    atomicAdd(&answer->squared_error, squared_error);
    atomicAdd(&answer->squared_reference, squared_reference);
}

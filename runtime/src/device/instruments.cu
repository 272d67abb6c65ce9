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

// Element types in the order of the Rust enum.
enum Dtype { F32, F16, BF16, E4M3, E5M2, E2M1, I64, I32, I16, I8, BOOL };

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
        default: return ((const uint8_t*)data)[i] != 0;
    }
}

struct Comparison {
    unsigned long long exceeding;         // beyond both tolerances
    unsigned long long nonfinite_found;   // NaN or infinite, where the reference is finite
    unsigned long long nonfinite_agreed;  // NaN for NaN, or the same infinity
    unsigned long long nonfinite_missed;  // finite or another infinity, where the reference is not finite
    unsigned long long max_absolute;      // bits of a double
    unsigned long long max_relative;      // bits of a double
    double squared_error;
    double squared_reference;
};

INSTRUMENT(compare)(const void* found, int found_dtype, const void* expected, int expected_dtype,
                    uint64_t count, double absolute_tolerance, double relative_tolerance,
                    Comparison* answer) {
    const uint64_t stride = (uint64_t)gridDim.x * blockDim.x;
    unsigned long long exceeding = 0, wrong = 0, agreed = 0, missed = 0;
    double max_absolute = 0, max_relative = 0, squared_error = 0, squared_reference = 0;
    for (uint64_t i = (uint64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += stride) {
        const double x = element(found, i, found_dtype), y = element(expected, i, expected_dtype);
        if (!isfinite(y)) {
            if (x == y || (isnan(x) && isnan(y))) ++agreed; else ++missed;
            continue;
        }
        if (!isfinite(x)) {
            ++wrong;
            continue;
        }
        // The rule is FlashInfer-Bench's, in single precision as there.
        const float absolute = fabsf((float)x - (float)y);
        const float relative = absolute / (fabsf((float)y) + 1e-8f);
        exceeding += absolute > (float)absolute_tolerance && relative > (float)relative_tolerance;
        const double error = fabs(x - y);
        max_absolute = fmax(max_absolute, error);
        max_relative = fmax(max_relative, (double)relative);
        squared_error += error * error;
        squared_reference += y * y;
    }
    if (exceeding) atomicAdd(&answer->exceeding, exceeding);
    if (wrong) atomicAdd(&answer->nonfinite_found, wrong);
    if (agreed) atomicAdd(&answer->nonfinite_agreed, agreed);
    if (missed) atomicAdd(&answer->nonfinite_missed, missed);
    for (int offset = 16; offset; offset /= 2) {
        max_absolute = fmax(max_absolute, __shfl_xor_sync(~0u, max_absolute, offset));
        max_relative = fmax(max_relative, __shfl_xor_sync(~0u, max_relative, offset));
        squared_error += __shfl_xor_sync(~0u, squared_error, offset);
        squared_reference += __shfl_xor_sync(~0u, squared_reference, offset);
    }
    if (threadIdx.x % 32 == 0) {
        // Bits of non-negative doubles order like the doubles.
        atomicMax(&answer->max_absolute, (unsigned long long)__double_as_longlong(max_absolute));
        atomicMax(&answer->max_relative, (unsigned long long)__double_as_longlong(max_relative));
        atomicAdd(&answer->squared_error, squared_error);
        atomicAdd(&answer->squared_reference, squared_reference);
    }
}

// Vectors of one instruction set's width, through the vector extension of GCC and Clang: the same
// source is compiled once for each instruction set. No standard header with inline functions is
// included here or in its users: the linker keeps one copy of an inline function, and if that
// were the AVX-512 one, the portable path would crash on an older processor.
#pragma once

#include <stddef.h>
#include <stdint.h>

#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#endif

namespace nprnn {
namespace NPRNN_ISA {

// The register tile of `multiply`: kTileRows x kTileVectors sums, plus the operands, must fit in
// the registers (32 with AVX-512, 16 without). kRowVectors sums serve a single row.
#if defined(__AVX512F__)
constexpr int kVectorBytes = 64, kTileRows = 6, kTileVectors = 4;
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32, kTileRows = 4, kTileVectors = 3;
#else
constexpr int kVectorBytes = 16, kTileRows = 4, kTileVectors = 3;
#endif
constexpr int kRowVectors = 8;

template <typename T>
struct Vector {
    typedef T type __attribute__((vector_size(kVectorBytes)));
    static constexpr int64_t lanes = kVectorBytes / sizeof(T);
};

template <typename T>
using V = typename Vector<T>::type;

template <typename T>
constexpr int64_t num_vectors(int64_t count) {
    return (count + Vector<T>::lanes - 1) / Vector<T>::lanes;
}

template <typename T>
inline V<T> load(const T* from) {
    V<T> value;
    __builtin_memcpy(&value, from, sizeof value);
    return value;
}

template <typename T>
inline void store(T* to, V<T> value) {
    __builtin_memcpy(to, &value, sizeof value);
}

// A number in IEEE half precision. Its subnormals are none of a float's, so none is lost where those
// count as zero.
inline float from_half(uint16_t half) {
    constexpr uint32_t kInfinity = 0x7c00u << 13, kLeastNormal = 0x0400u << 13;
    const uint32_t magnitude = uint32_t{half & 0x7fffu} << 13;
    uint32_t bits = magnitude + (112u << 23);
    if (magnitude >= kInfinity) bits += 112u << 23;
    if (magnitude < kLeastNormal) bits += 1u << 23;  // of 2^-14 + the number
    float value;
    __builtin_memcpy(&value, &bits, sizeof value);
    if (magnitude < kLeastNormal) value -= 0x1p-14f;
    return half & 0x8000u ? -value : value;
}

template <typename T>
inline void widen_half(const uint16_t* from, int64_t count, T* to) {
    int64_t i = 0;
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4) {
        for (; i + 16 <= count; i += 16) {
            const auto* at = reinterpret_cast<const __m256i*>(from + i);
            // With a mask, as GCC 12 warns of the plain one's own code.
            _mm512_storeu_ps(to + i, _mm512_maskz_cvtph_ps(0xffff, _mm256_loadu_si256(at)));
        }
    }
#elif defined(__AVX2__)
    if constexpr (sizeof(T) == 4) {
        for (; i + 8 <= count; i += 8) {
            const auto* at = reinterpret_cast<const __m128i*>(from + i);
            _mm256_storeu_ps(to + i, _mm256_cvtph_ps(_mm_loadu_si128(at)));
        }
    }
#endif
    for (; i < count; ++i) to[i] = from_half(from[i]);
}

// Bit i is set if from[i] is not zero (NaN is not zero), for i < count <= 64.
template <typename T>
inline uint64_t nonzero_bits(const T* from, int64_t count) {
    uint64_t bits = 0;
    int64_t i = 0;
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4) {
        for (; i + 16 <= count; i += 16) {
            const __m512 x = _mm512_loadu_ps(from + i);
            bits |= uint64_t{_mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_NEQ_UQ)} << i;
        }
    }
#elif defined(__AVX2__)
    if constexpr (sizeof(T) == 4) {
        for (; i + 8 <= count; i += 8) {
            const __m256 zeros = _mm256_setzero_ps();
            const __m256 differs = _mm256_cmp_ps(_mm256_loadu_ps(from + i), zeros, _CMP_NEQ_UQ);
            bits |= uint64_t(uint32_t(_mm256_movemask_ps(differs))) << i;
        }
    }
#endif
    for (; i < count; ++i) bits |= uint64_t{from[i] != 0} << i;
    return bits;
}

// The first `count` lanes, at most all.
template <typename T>
inline void store_first(T* to, V<T> value, int64_t count) {
    if (count >= Vector<T>::lanes) return store(to, value);
    __builtin_memcpy(to, &value, static_cast<size_t>(count) * sizeof(T));
}

// The first `count` lanes, and zeros behind them.
template <typename T>
inline void store_padded(T* to, V<T> value, int64_t count) {
    if (count < Vector<T>::lanes) store(to, V<T>{});
    store_first<T>(to, value, count);
}

// The nonlinearities. Each comparison is written so that NaN stays NaN: a run that diverges must
// show it, as it does in torch.
struct Keep {
    template <typename T>
    static V<T> apply(V<T> s) { return s; }
};

struct Relu {
    template <typename T>
    static V<T> apply(V<T> s) { return s < 0 ? V<T>{} : s; }

    template <typename T>
    static V<T> back(V<T> grad, V<T> h) { return h <= 0 ? V<T>{} : grad; }
};

struct Tanh {
    // x P(x^2) / Q(x^2), our least-maximum fit of tanh on [-8, 8] (relative error 6e-9 before
    // rounding, 4e-7 after); beyond it tanh is 1 to within a float's last two bits.
    static V<float> apply_float(V<float> s) {
        const V<float> limit = V<float>{} + 8.0f;
        s = s > limit ? limit : s;
        s = s < -limit ? -limit : s;
        const V<float> u = s * s;
        V<float> p = V<float>{} + 1.5230609662353345e-08f;
        p = p * u + 2.189479891967494e-05f;
        p = p * u + 0.0035716064739972353f;
        p = p * u + 0.13444505631923676f;
        p = p * u + 1.0f;
        V<float> q = V<float>{} + 8.522524694853928e-07f;
        q = q * u + 0.00034113056608475745f;
        q = q * u + 0.026164473965764046f;
        q = q * u + 0.4677783250808716f;
        q = q * u + 1.0f;
        return s * p / q;
    }

    template <typename T>
    static V<T> apply(V<T> s) {
        if constexpr (sizeof(T) == 4) {
            return apply_float(s);
        } else {  // float64 exists to check gradients: exact, not fast
            for (int i = 0; i < Vector<T>::lanes; ++i) s[i] = __builtin_tanh(s[i]);
            return s;
        }
    }

    template <typename T>
    static V<T> back(V<T> grad, V<T> h) { return grad * (1 - h * h); }
};

}  // namespace NPRNN_ISA
}  // namespace nprnn

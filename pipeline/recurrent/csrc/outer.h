// Sums of outer products whose left factors are full of zeros, as the gradients of a ReLU net's
// weights are: C(i, :) += A(p, i) B(p, :) over pairs p in their order. Units that are zero equally
// often share a tile, which passes over the pairs where all of its units are zero. What is left out
// changes no bit of a sum, so that the result is that of `multiply`.
#pragma once

#include "chunks.h"
#include "multiply.h"

namespace nprnn {
namespace NPRNN_ISA {

// Whether no number of (rows, vectors) is infinite or NaN: zero times such a one is NaN.
template <typename T>
bool all_finite(const T* from, int64_t rows, int64_t vectors, int64_t stride) {
    V<T> zeros = {};
    for (int64_t r = 0; r < rows; ++r) {
        for (int64_t v = 0; v < vectors; ++v) {
            zeros += load(from + r * stride + v * Vector<T>::lanes) * 0;
        }
    }
    T sum = 0;
    for (int64_t i = 0; i < Vector<T>::lanes; ++i) sum += zeros[i];
    return sum == 0;
}

// Which units of each pair are not zero, into `lists.bits`, a word for 64 of them.
template <typename T>
void mark_nonzero(const T* a, int64_t pairs, int64_t stride, int64_t hidden, const Lists& lists) {
    const int64_t whole = num_vectors<T>(hidden) * Vector<T>::lanes;
    uint64_t* bits = lists.bits;
    for (int64_t p = 0; p < pairs; ++p, a += stride) {
        for (int64_t first = 0; first < hidden; first += 64) {
            *bits++ = nonzero_bits(a + first, smaller(whole - first, 64));
        }
    }
}

// All units, those that are zero in most pairs first, into `lists.units`: a stable counting sort.
template <typename T>
void sort_units(const T* a, int64_t pairs, int64_t stride, int64_t hidden, const Lists& lists) {
    constexpr int64_t lanes = Vector<T>::lanes;
    int32_t* starts = lists.starts;
    __builtin_memset(starts, 0, static_cast<size_t>(pairs + 2) * sizeof *starts);
    for (int64_t v = 0; v < num_vectors<T>(hidden); ++v) {
        V<T> sums = {};
        const V<T> one = sums + 1;
        for (int64_t p = 0; p < pairs; ++p) {
            sums += load(a + p * stride + v * lanes) != 0 ? one : V<T>{};
        }
        for (int64_t i = v * lanes; i < smaller(hidden, (v + 1) * lanes); ++i) {
            lists.counts[i] = int32_t(sums[i - v * lanes]);
            ++starts[lists.counts[i] + 1];
        }
    }
    for (int64_t p = 0; p < pairs; ++p) starts[p + 1] += starts[p];
    for (int64_t i = 0; i < hidden; ++i) lists.units[starts[lists.counts[i]]++] = int32_t(i);
}

// The pairs in which one of `rows` units is not zero, into `places`; how many they are.
inline int32_t list_pairs(const int32_t* units, int64_t rows, int64_t pairs, int64_t words,
                          const Lists& lists, int32_t* places) {
    fill_zero(lists.mask, words);
    for (int64_t r = 0; r < rows; ++r) lists.mask[units[r] / 64] |= uint64_t{1} << units[r] % 64;
    const uint64_t* bits = lists.bits;
    int32_t num = 0;
    for (int64_t p = 0; p < pairs; ++p) {
        uint64_t any = 0;
        for (int64_t w = 0; w < words; ++w) any |= *bits++ & lists.mask[w];
        places[num] = int32_t(p);
        num += any != 0;
    }
    return num;
}

template <typename T>
struct Outer {
    const T *a, *b;
    T* c;
    int64_t a_stride, b_stride, c_stride;
};

template <typename T, int ROWS, int VECTORS>
inline void outer_tile(int32_t count, const int32_t* places, const int32_t* units, Outer<T> of) {
    constexpr int64_t lanes = Vector<T>::lanes;
    V<T> sums[ROWS][VECTORS];
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; ++r) {
#pragma GCC unroll 8
        for (int v = 0; v < VECTORS; ++v) {
            sums[r][v] = load(of.c + units[r] * of.c_stride + v * lanes);
        }
    }
    for (int32_t i = 0; i < count; ++i) {
        const int64_t p = places[i];
        V<T> right[VECTORS];
#pragma GCC unroll 8
        for (int v = 0; v < VECTORS; ++v) right[v] = load(of.b + p * of.b_stride + v * lanes);
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; ++r) {
            const T left = of.a[p * of.a_stride + units[r]];
#pragma GCC unroll 8
            for (int v = 0; v < VECTORS; ++v) sums[r][v] += left * right[v];
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; ++r) {
#pragma GCC unroll 8
        for (int v = 0; v < VECTORS; ++v) {
            store(of.c + units[r] * of.c_stride + v * lanes, sums[r][v]);
        }
    }
}

template <typename T, int ROWS, int VECTORS>
void one_outer_tile(int64_t rows, int64_t width, int32_t count, const int32_t* places,
                    const int32_t* units, Outer<T> of) {
    if constexpr (ROWS > 1) {
        if (rows < ROWS) {
            return one_outer_tile<T, ROWS - 1, VECTORS>(rows, width, count, places, units, of);
        }
    }
    if constexpr (VECTORS > 1) {
        if (width < VECTORS) {
            return one_outer_tile<T, ROWS, VECTORS - 1>(rows, width, count, places, units, of);
        }
    }
    outer_tile<T, ROWS, VECTORS>(count, places, units, of);
}

// C(i, :) += A(p, i) B(p, :) for `hidden` units i, rows of `vectors` vectors; B is finite.
template <typename T>
void add_outer_products(int64_t pairs, int64_t hidden, int64_t vectors, Outer<T> of,
                        const Lists& lists) {
    mark_nonzero(of.a, pairs, of.a_stride, hidden, lists);
    sort_units(of.a, pairs, of.a_stride, hidden, lists);
    const int64_t words = (hidden + 63) / 64;
    for (int64_t first = 0, rows, tile = 0; first < hidden; first += rows, ++tile) {
        rows = panel_width(hidden - first, kTileRows);
        lists.counts[tile] = list_pairs(lists.units + first, rows, pairs, words, lists,
                                        lists.places + tile * pairs);
    }
    for (int64_t v = 0, width; v < vectors; v += width) {
        width = panel_width(vectors - v, kTileVectors);
        for (int64_t first = 0, rows, tile = 0; first < hidden; first += rows, ++tile) {
            rows = panel_width(hidden - first, kTileRows);
            one_outer_tile<T, kTileRows, kTileVectors>(rows, width, lists.counts[tile],
                                                       lists.places + tile * pairs,
                                                       lists.units + first, of);
        }
        of.b += width * Vector<T>::lanes;
        of.c += width * Vector<T>::lanes;
    }
}

}  // namespace NPRNN_ISA
}  // namespace nprnn

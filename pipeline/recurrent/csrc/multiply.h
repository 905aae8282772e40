// The one matrix product that every pass is made of: C = finish(start + A B), computed in tiles
// of rows x vectors that stay in registers while the depth is summed.
#pragma once

#include "vectors.h"

namespace nprnn {
namespace NPRNN_ISA {

// A(r, k) = from[r * row + k * depth]: either a matrix or its transpose.
template <typename T>
struct Left {
    const T* from;
    int64_t row, depth;
};

// B(k, :). Plain: rows `stride` apart. Packed (stride 0): panel after panel of at most
// `panel_vectors`, each with its rows back to back, so that a tile streams through memory.
template <typename T>
struct Right {
    const T* from;
    int64_t stride;
    int64_t panel_vectors;
};

// C(r, :), and what each sum starts from: null is zero, and stride 0 the same row for all.
template <typename T>
struct Out {
    T* to;
    int64_t stride;
    const T* start;
    int64_t start_stride;
};

// For each tile of rows, in their order, the places along the depth where one of its rows of A is
// not zero, ascending: the others add nothing. Null `places`: every tile sums the whole depth.
struct Places {
    const int32_t* places;  // of tile i: places + i * stride
    const int32_t* counts;
    int64_t stride;
};

// Vectors of the next panel: as equal as possible, so that no narrow one is left over.
inline int64_t panel_width(int64_t vectors_left, int64_t most) {
    const int64_t panels = (vectors_left + most - 1) / most;
    return (vectors_left + panels - 1) / panels;
}

// sums(r, :) += A(r, k) B(k, :) for one k, with `a` and `b` at that k.
template <typename T, int ROWS, int VECTORS>
inline void add_products(Left<T> a, const T* b, V<T> (&sums)[ROWS][VECTORS]) {
    constexpr int64_t lanes = Vector<T>::lanes;
    V<T> right[VECTORS];
#pragma GCC unroll 8
    for (int v = 0; v < VECTORS; ++v) right[v] = load(b + v * lanes);
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; ++r) {
        const T left = a.from[r * a.row];
#pragma GCC unroll 8
        for (int v = 0; v < VECTORS; ++v) sums[r][v] += left * right[v];
    }
}

// `count` places along the depth: those listed, or the first ones where `places` is null.
template <typename T, int ROWS, int VECTORS, typename Finish>
inline void tile(int64_t count, const int32_t* places, Left<T> a, const T* b, int64_t b_stride,
                 Out<T> c) {
    constexpr int64_t lanes = Vector<T>::lanes;
    V<T> sums[ROWS][VECTORS];
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; ++r) {
#pragma GCC unroll 8
        for (int v = 0; v < VECTORS; ++v) {
            sums[r][v] = c.start ? load(c.start + r * c.start_stride + v * lanes) : V<T>{};
        }
    }
    if (places) {
        for (int64_t i = 0; i < count; ++i) {
            const int64_t k = places[i];
            const Left<T> at = {a.from + k * a.depth, a.row, a.depth};
            add_products<T, ROWS, VECTORS>(at, b + k * b_stride, sums);
        }
    } else {
        for (int64_t k = 0; k < count; ++k) {
            add_products<T, ROWS, VECTORS>(a, b, sums);
            a.from += a.depth;
            b += b_stride;
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; ++r) {
#pragma GCC unroll 8
        for (int v = 0; v < VECTORS; ++v) {
            store(c.to + r * c.stride + v * lanes, Finish::template apply<T>(sums[r][v]));
        }
    }
}

// Tiles down one panel. The recursion turns run-time rows into a compile-time tile.
template <typename T, int ROWS, int VECTORS, typename Finish>
inline void one_tile(int64_t rows, int64_t count, const int32_t* places, Left<T> a, const T* b,
                     int64_t b_stride, Out<T> c) {
    if constexpr (ROWS > 1) {
        if (rows < ROWS) {
            return one_tile<T, ROWS - 1, VECTORS, Finish>(rows, count, places, a, b, b_stride, c);
        }
    }
    tile<T, ROWS, VECTORS, Finish>(count, places, a, b, b_stride, c);
}

template <typename T, int VECTORS, typename Finish>
void panel(int64_t width, int64_t rows, int64_t depth, Places sparse, Left<T> a, const T* b,
           int64_t b_stride, Out<T> c) {
    if constexpr (VECTORS > 1) {
        if (width < VECTORS) {
            return panel<T, VECTORS - 1, Finish>(width, rows, depth, sparse, a, b, b_stride, c);
        }
    }
    constexpr int most = VECTORS > kTileVectors ? 1 : kTileRows;
    while (rows > 0) {
        const int64_t now = panel_width(rows, most);
        const int64_t count = sparse.places ? *sparse.counts++ : depth;
        one_tile<T, most, VECTORS, Finish>(now, count, sparse.places, a, b, b_stride, c);
        if (sparse.places) sparse.places += sparse.stride;
        a.from += now * a.row;
        c.to += now * c.stride;
        if (c.start) c.start += now * c.start_stride;
        rows -= now;
    }
}

template <typename T, typename Finish = Keep>
void multiply(int64_t rows, int64_t vectors, int64_t depth, Left<T> a, Right<T> b, Out<T> c,
              Places sparse = {}) {
    constexpr int64_t lanes = Vector<T>::lanes;
    for (int64_t v = 0; v < vectors;) {
        const int64_t width = panel_width(vectors - v, b.panel_vectors);
        const T* from = b.from + v * lanes * (b.stride ? 1 : depth);
        const int64_t stride = b.stride ? b.stride : width * lanes;
        const T* start = c.start ? c.start + v * lanes : nullptr;
        const Out<T> out = {c.to + v * lanes, c.stride, start, c.start_stride};
        if (b.panel_vectors > kTileVectors) {  // a single row
            panel<T, kRowVectors, Finish>(width, rows, depth, sparse, a, from, stride, out);
        } else {
            panel<T, kTileVectors, Finish>(width, rows, depth, sparse, a, from, stride, out);
        }
        v += width;
    }
}

// The places of `rows` rows of A, `stride` apart and zero up to a whole vector past `depth`, for
// the tiles that `multiply` makes of them; into lists of `depth` numbers, and their counts.
template <typename T>
Places find_places(const T* a, int64_t rows, int64_t stride, int64_t depth, int32_t* lists,
                   int32_t* counts) {
    const Places found = {lists, counts, depth};
    while (rows > 0) {
        const int64_t now = panel_width(rows, kTileRows);
        int32_t* to = lists;
        for (int64_t first = 0; first < depth; first += 64) {
            const int64_t whole = num_vectors<T>(depth - first) * Vector<T>::lanes;
            const int64_t count = whole < 64 ? whole : 64;
            uint64_t bits = 0;
            for (int64_t r = 0; r < now; ++r) bits |= nonzero_bits(a + r * stride + first, count);
            for (; bits; bits &= bits - 1) *to++ = int32_t(first + __builtin_ctzll(bits));
        }
        *counts++ = int32_t(to - lists);
        lists += depth;
        a += now * stride;
        rows -= now;
    }
    return found;
}

// One row of `multiply` that passes over the zeros of A, about half of a ReLU net's units.
template <typename T, int VECTORS, typename Finish>
void sparse_panel(int64_t width, int64_t depth, const T* a, const T* b, const T* start, T* c) {
    constexpr int64_t lanes = Vector<T>::lanes;
    if constexpr (VECTORS > 1) {
        if (width < VECTORS) {
            return sparse_panel<T, VECTORS - 1, Finish>(width, depth, a, b, start, c);
        }
    }
    V<T> sums[VECTORS];
#pragma GCC unroll 8
    for (int v = 0; v < VECTORS; ++v) sums[v] = start ? load(start + v * lanes) : V<T>{};
    for (int64_t first = 0; first < depth; first += 64) {
        const int64_t count = depth - first < 64 ? depth - first : 64;
        for (uint64_t bits = nonzero_bits(a + first, count); bits; bits &= bits - 1) {
            const int64_t k = first + __builtin_ctzll(bits);
            const T* row = b + k * VECTORS * lanes;
#pragma GCC unroll 8
            for (int v = 0; v < VECTORS; ++v) sums[v] += a[k] * load(row + v * lanes);
        }
    }
#pragma GCC unroll 8
    for (int v = 0; v < VECTORS; ++v) store(c + v * lanes, Finish::template apply<T>(sums[v]));
}

template <typename T, typename Finish = Keep>
void multiply_sparse(int64_t vectors, int64_t depth, const T* a, Right<T> b, Out<T> c) {
    constexpr int64_t lanes = Vector<T>::lanes;
    for (int64_t v = 0; v < vectors;) {
        const int64_t width = panel_width(vectors - v, b.panel_vectors);
        const T* start = c.start ? c.start + v * lanes : nullptr;
        sparse_panel<T, kRowVectors, Finish>(width, depth, a, b.from + v * lanes * depth, start,
                                             c.to + v * lanes);
        v += width;
    }
}

// B(k, n) = from[k * k_stride + n * n_stride] in the order `multiply` reads it, zero-filled to
// whole vectors.
template <typename T>
void pack_panels(const T* from, int64_t k_stride, int64_t n_stride, int64_t depth, int64_t count,
                 int64_t panel_vectors, T* to) {
    constexpr int64_t lanes = Vector<T>::lanes;
    const int64_t vectors = num_vectors<T>(count);
    for (int64_t v = 0; v < vectors;) {
        const int64_t width = panel_width(vectors - v, panel_vectors);
        const int64_t begin = v * lanes, end = (v + width) * lanes;
        const int64_t real = count < end ? count : end;
        for (int64_t k = 0; k < depth; ++k) {
            for (int64_t n = begin; n < real; ++n) *to++ = from[k * k_stride + n * n_stride];
            for (int64_t n = real; n < end; ++n) *to++ = 0;
        }
        v += width;
    }
}

}  // namespace NPRNN_ISA
}  // namespace nprnn

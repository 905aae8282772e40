// A block of sequences cut into chunks of time steps, and what moves between them and the tensors.
#pragma once

#include "kernels.h"
#include "vectors.h"

namespace nprnn {
namespace NPRNN_ISA {

// Steps [begin, end) of the first `rows` sequences, all of which run through them.
struct Chunk {
    int64_t begin, end, rows;
    int64_t at;        // where in the block's states h_begin stands
    int64_t previous;  // where h_{begin-1} stands
};

inline int64_t most_steps(int64_t rows) {
    return rows < kChunkRows ? kChunkRows / rows : 1;
}

inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

// Sequences with at least `length` steps; `rows` of them are known to have.
template <typename T>
int64_t rows_with(const Block<T>& block, int64_t length, int64_t rows) {
    while (rows < block.rows && block.lengths[rows] >= length) ++rows;
    return rows;
}

// The chunk after `last`; the first follows {0, 0, block.rows, block.rows, 0}.
template <typename T>
Chunk next_chunk(const Block<T>& block, const Chunk& last) {
    Chunk chunk = {last.end, 0, last.rows, 0, 0};
    while (block.lengths[chunk.rows - 1] <= chunk.begin) --chunk.rows;
    chunk.end = smaller(block.lengths[chunk.rows - 1], chunk.begin + most_steps(chunk.rows));
    chunk.at = last.at + last.rows * (last.end - last.begin);
    chunk.previous = chunk.at - last.rows;
    return chunk;
}

// The chunk before `next`; the last one is before {longest, longest, 0, block.state_rows, 0}.
template <typename T>
Chunk chunk_before(const Block<T>& block, const Chunk& next) {
    Chunk chunk = {0, next.begin, rows_with(block, next.begin, next.rows), 0, 0};
    const int64_t shorter = chunk.rows < block.rows ? block.lengths[chunk.rows] : 0;
    chunk.begin = larger(shorter, chunk.end - most_steps(chunk.rows));
    chunk.at = next.at - chunk.rows * (chunk.end - chunk.begin);
    chunk.previous = chunk.at - rows_with(block, chunk.begin, chunk.rows);
    return chunk;
}

template <typename T>
void copy(const T* from, int64_t count, T* to) {
    __builtin_memcpy(to, from, static_cast<size_t>(count) * sizeof(T));
}

template <typename T>
void fill_zero(T* to, int64_t count) {
    __builtin_memset(to, 0, static_cast<size_t>(count) * sizeof(T));
}

// Sizes that every function below needs.
template <typename T>
struct Sizes {
    int64_t steps, inputs, hidden, sums;
    int64_t input_stride, hidden_stride, sums_stride;
    int64_t input_vectors, hidden_vectors, sums_vectors;

    explicit Sizes(const nprnn_pass& pass)
        : steps(pass.steps), inputs(pass.inputs), hidden(pass.hidden),
          sums(num_sums(pass.cell, pass.hidden)), input_stride(padded<T>(pass.inputs)),
          hidden_stride(padded<T>(pass.hidden)),
          sums_stride(sums_length<T>(pass.cell, pass.hidden)),
          input_vectors(num_vectors<T>(pass.inputs)),
          hidden_vectors(num_vectors<T>(pass.hidden)), sums_vectors(num_vectors<T>(sums)) {}
};

template <typename T>
void gather_inputs(const nprnn_pass& pass, const Block<T>& block, const Chunk& chunk, T* to) {
    const Sizes<T> size(pass);
    const T* features = static_cast<const T*>(pass.features);
    const uint16_t* halves = static_cast<const uint16_t*>(pass.features);
    const int64_t padding = size.input_vectors * Vector<T>::lanes - size.inputs;
    for (int64_t t = chunk.begin; t < chunk.end; ++t) {
        for (int64_t r = 0; r < chunk.rows; ++r, to += size.input_stride) {
            const int64_t place = (block.order[r] * size.steps + t) * size.inputs;
            const bool few = inputs_are_few<T>(size.inputs);
            if (pass.reads_half) {
                widen_half(halves + place, size.inputs, to);
            } else if (few) {  // a call for a few bytes would cost more
                for (int64_t d = 0; d < size.inputs; ++d) to[d] = features[place + d];
            } else {
                copy(features + place, size.inputs, to);
            }
            if (!few) fill_zero(to + size.inputs, padding);
        }
    }
}

// The first rows of `to`: the states before the first step, `start` or zero.
template <typename T>
void start_states(const nprnn_pass& pass, const Block<T>& block, const void* start, T* to) {
    const Sizes<T> size(pass);
    fill_zero(to, block.rows * size.hidden_stride);
    if (!start) return;
    for (int64_t r = 0; r < block.rows; ++r) {
        const T* from = static_cast<const T*>(start) + block.order[r] * pass.h0_stride;
        copy(from, size.hidden, to + r * size.hidden_stride);
    }
}

template <typename T>
void write_outputs(const nprnn_pass& pass, const Block<T>& block, const Chunk& chunk) {
    const Sizes<T> size(pass);
    T* output = static_cast<T*>(pass.output);
    for (int64_t r = 0; r < chunk.rows; ++r) {
        const int64_t begin = pass.reads_all ? chunk.begin : chunk.end - 1;
        if (!pass.reads_all && block.lengths[r] != chunk.end) continue;
        for (int64_t t = begin; t < chunk.end; ++t) {
            const int64_t row = chunk.at + (t - chunk.begin) * chunk.rows + r;
            const int64_t place = block.order[r] * (pass.reads_all ? size.steps : 1);
            copy(block.states + row * size.hidden_stride, size.hidden,
                 output + (place + (pass.reads_all ? t : 0)) * size.hidden);
        }
    }
}

template <typename T>
void zero_past_lengths(const nprnn_pass& pass, const Block<T>& block) {
    const Sizes<T> size(pass);
    T* output = static_cast<T*>(pass.output);
    for (int64_t r = 0; r < block.rows; ++r) {
        const int64_t first = block.order[r] * size.steps + block.lengths[r];
        fill_zero(output + first * size.hidden,
                  (size.steps - block.lengths[r]) * size.hidden);
    }
}

}  // namespace NPRNN_ISA
}  // namespace nprnn

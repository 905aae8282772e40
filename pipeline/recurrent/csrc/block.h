// Forward and backward of one block of sequences, a chunk of time steps at a time.
#pragma once

#include "chunks.h"
#include "outer.h"

namespace nprnn {
namespace NPRNN_ISA {

inline int64_t recurrent_panels(bool is_narrow) { return is_narrow ? kRowVectors : kTileVectors; }

// Where `rows` rows of states, or of their gradients, are not zero; all of it where that is unasked.
template <typename T>
Places find_nonzero(const Sizes<T>& size, const Packed<T>& packed, const Scratch<T>& scratch,
                    int64_t rows, const T* from) {
    if (!packed.skips_zeros) return {};
    return find_places(from, rows, size.hidden_stride, size.hidden, scratch.lists.places,
                       scratch.lists.counts);
}

// h_t = finish(s_t + W_hh h_{t-1}) of some rows, where `h` holds s_t = W_ih x_t + b before.
template <typename T, typename F>
void step_forward(const Sizes<T>& size, const Packed<T>& packed, const Scratch<T>& scratch,
                  int64_t rows, const T* before, T* h) {
    const int64_t stride = size.hidden_stride;
    const Right<T> weight = {packed.recurrent, 0, recurrent_panels(packed.is_narrow)};
    const Out<T> out = {h, stride, h, stride};
    if (packed.skips_zeros && packed.is_narrow) {
        multiply_sparse<T, F>(size.hidden_vectors, size.hidden, before, weight, out);
    } else {
        const Left<T> left = {before, stride, 1};
        const Places places = find_nonzero(size, packed, scratch, rows, before);
        multiply<T, F>(rows, size.hidden_vectors, size.hidden, left, weight, out, places);
    }
}

template <typename T, typename F>
void forward_as(const nprnn_pass& pass, const Packed<T>& packed, const Block<T>& block,
                const Scratch<T>& scratch) {
    const Sizes<T> size(pass);
    const int64_t stride = size.hidden_stride;
    start_states(pass, block, pass.h0, block.states);
    Chunk chunk = {0, 0, block.rows, block.rows, 0};
    while (chunk.end < block.lengths[0]) {
        chunk = next_chunk(block, chunk);
        gather_inputs(pass, block, chunk, scratch.inputs);
        T* h = block.states + chunk.at * stride;
        const T* before = block.states + chunk.previous * stride;
        multiply<T>((chunk.end - chunk.begin) * chunk.rows, size.hidden_vectors, size.inputs,
                    {scratch.inputs, size.input_stride, 1}, {packed.input, 0, kTileVectors},
                    {h, stride, packed.bias, 0});
        for (int64_t t = chunk.begin; t < chunk.end; ++t) {
            step_forward<T, F>(size, packed, scratch, chunk.rows, before, h);
            before = h;
            h += chunk.rows * stride;
        }
        write_outputs(pass, block, chunk);
    }
    if (pass.reads_all) zero_past_lengths(pass, block);
}

// Gradient of h_t, before what later steps add, for the rows whose last step ends the chunk.
template <typename T>
void start_carry(const nprnn_pass& pass, const Block<T>& block, const Chunk& chunk, T* carry) {
    const Sizes<T> size(pass);
    const T* grad = static_cast<const T*>(pass.grad_output);
    for (int64_t r = 0; r < chunk.rows; ++r) {
        if (block.lengths[r] != chunk.end) continue;
        T* row = carry + r * size.hidden_stride;
        fill_zero(row, size.hidden_stride);
        if (!pass.reads_all) copy(grad + block.order[r] * size.hidden, size.hidden, row);
    }
}

template <typename T>
void add_output_gradient(const nprnn_pass& pass, const Block<T>& block, int64_t t, int64_t rows,
                         T* carry) {
    const Sizes<T> size(pass);
    for (int64_t r = 0; r < rows; ++r) {
        const int64_t place = block.order[r] * size.steps + t;
        const T* grad = static_cast<const T*>(pass.grad_output) + place * size.hidden;
        for (int64_t j = 0; j < size.hidden; ++j) carry[r * size.hidden_stride + j] += grad[j];
    }
}

// From the gradient of h_t (in `scratch.carry`) to those of s_t (`delta`) and of h_{t-1} (there).
template <typename T, typename F>
void step_back(const Sizes<T>& size, const Packed<T>& packed, const Scratch<T>& scratch,
               int64_t rows, const T* h, T* delta) {
    T* carry = scratch.carry;
    const int64_t stride = size.hidden_stride, lanes = Vector<T>::lanes;
    for (int64_t r = 0; r < rows; ++r) {
        for (int64_t v = 0; v < size.hidden_vectors; ++v) {
            const int64_t i = r * stride + v * lanes;
            store(delta + i, F::template back<T>(load(carry + i), load(h + i)));
        }
    }
    const Right<T> weight = {packed.recurrent_back, 0, recurrent_panels(packed.is_narrow)};
    const Out<T> out = {carry, stride, nullptr, 0};
    if (packed.skips_zeros && packed.is_narrow) {
        multiply_sparse<T>(size.hidden_vectors, size.hidden, delta, weight, out);
    } else {
        const Left<T> left = {delta, stride, 1};
        const Places places = find_nonzero(size, packed, scratch, rows, delta);
        multiply<T>(rows, size.hidden_vectors, size.hidden, left, weight, out, places);
    }
}

// C += A^T B of `pairs` rows of deltas A and of states or inputs B.
template <typename T>
void add_products_of_pairs(const Sizes<T>& size, int64_t skips_zeros, int64_t pairs,
                           int64_t vectors, Outer<T> of, const Lists& lists) {
    if (skips_zeros && all_finite(of.b, pairs, vectors, of.b_stride)) {
        return add_outer_products(pairs, size.sums, vectors, of, lists);
    }
    multiply<T>(size.sums, vectors, pairs, {of.a, 1, of.a_stride},
                {of.b, of.b_stride, kTileVectors}, {of.c, of.c_stride, of.c, of.c_stride});
}

template <typename T>
void add_weight_gradients(const Sizes<T>& size, const Packed<T>& packed, const Block<T>& block,
                          const Chunk& chunk, const Scratch<T>& scratch,
                          const Gradients<T>& sums) {
    const int64_t stride = size.hidden_stride, delta_stride = size.sums_stride;
    const int64_t lanes = Vector<T>::lanes;
    const int64_t pairs = (chunk.end - chunk.begin) * chunk.rows;
    const auto add = [&](int64_t num, int64_t vectors, Outer<T> of) {
        add_products_of_pairs(size, packed.skips_zeros, num, vectors, of, scratch.lists);
    };
    // Rows that ended at chunk.begin stand between h_{begin-1} and h_begin: the first step's
    // states then do not continue into the next step's.
    const bool continues = chunk.at - chunk.previous == chunk.rows;
    const int64_t first = continues ? pairs : chunk.rows;
    add(first, size.hidden_vectors,
        {scratch.deltas, block.states + chunk.previous * stride, sums.weight_hh, delta_stride,
         stride, stride});
    if (first < pairs) {
        add(pairs - first, size.hidden_vectors,
            {scratch.deltas + first * delta_stride, block.states + chunk.at * stride,
             sums.weight_hh, delta_stride, stride, stride});
    }
    const int64_t wide = size.input_stride;
    if (inputs_are_few<T>(size.inputs)) {
        multiply<T>(size.inputs, size.sums_vectors, pairs, {scratch.inputs, 1, wide},
                    {scratch.deltas, delta_stride, kTileVectors},
                    {sums.weight_ih, delta_stride, sums.weight_ih, delta_stride});
    } else {
        add(pairs, size.input_vectors,
            {scratch.deltas, scratch.inputs, sums.weight_ih, delta_stride, wide, wide});
    }
    for (int64_t p = 0; p < pairs; ++p) {
        for (int64_t v = 0; v < size.sums_vectors; ++v) {
            T* bias = sums.bias + v * lanes;
            store(bias, load(bias) + load(scratch.deltas + p * delta_stride + v * lanes));
        }
    }
}

template <typename T>
void write_feature_gradients(const nprnn_pass& pass, const Packed<T>& packed,
                             const Block<T>& block, const Chunk& chunk,
                             const Scratch<T>& scratch) {
    const Sizes<T> size(pass);
    T* grad = static_cast<T*>(pass.grad_features);
    multiply<T>((chunk.end - chunk.begin) * chunk.rows, size.input_vectors, size.sums,
                {scratch.deltas, size.sums_stride, 1}, {packed.input_back, 0, kTileVectors},
                {scratch.grad_inputs, size.input_stride, nullptr, 0});
    const T* from = scratch.grad_inputs;
    for (int64_t t = chunk.begin; t < chunk.end; ++t) {
        for (int64_t r = 0; r < chunk.rows; ++r, from += size.input_stride) {
            copy(from, size.inputs, grad + (block.order[r] * size.steps + t) * size.inputs);
        }
    }
}

template <typename T>
void write_start_gradient(const Sizes<T>& size, const Block<T>& block, const T* carry, void* grad) {
    if (!grad) return;
    for (int64_t r = 0; r < block.rows; ++r) {
        copy(carry + r * size.hidden_stride, size.hidden,
             static_cast<T*>(grad) + block.order[r] * size.hidden);
    }
}

template <typename T, typename F>
void backward_as(const nprnn_pass& pass, const Packed<T>& packed, const Block<T>& block,
                 const Scratch<T>& scratch, const Gradients<T>& sums) {
    const Sizes<T> size(pass);
    const int64_t stride = size.hidden_stride;
    const int64_t longest = block.lengths[0];
    Chunk chunk = {longest, longest, 0, block.state_rows, 0};
    while (chunk.begin > 0) {
        chunk = chunk_before(block, chunk);
        gather_inputs(pass, block, chunk, scratch.inputs);
        start_carry(pass, block, chunk, scratch.carry);
        for (int64_t t = chunk.end - 1; t >= chunk.begin; --t) {
            const int64_t pair = (t - chunk.begin) * chunk.rows;
            if (pass.reads_all) add_output_gradient(pass, block, t, chunk.rows, scratch.carry);
            step_back<T, F>(size, packed, scratch, chunk.rows,
                            block.states + (chunk.at + pair) * stride,
                            scratch.deltas + pair * stride);
        }
        add_weight_gradients(size, packed, block, chunk, scratch, sums);
        if (pass.grad_features) write_feature_gradients(pass, packed, block, chunk, scratch);
    }
    write_start_gradient(size, block, scratch.carry, pass.grad_h0);
}

template <typename T>
void pack(const nprnn_pass& pass, const Packed<T>& packed) {
    const Sizes<T> size(pass);
    const int64_t h = size.hidden, d = size.inputs, s = size.sums;
    const int64_t panels = recurrent_panels(packed.is_narrow);
    const T* weight_ih = static_cast<const T*>(pass.weight_ih);
    const T* weight_hh = static_cast<const T*>(pass.weight_hh);
    if (packed.input) pack_panels(weight_ih, 1, d, d, s, kTileVectors, packed.input);
    if (packed.input_back) pack_panels(weight_ih, d, 1, s, d, kTileVectors, packed.input_back);
    if (packed.recurrent) pack_panels(weight_hh, 1, h, h, s, panels, packed.recurrent);
    if (packed.recurrent_back) pack_panels(weight_hh, h, 1, s, h, panels, packed.recurrent_back);
    if (packed.bias) {
        fill_zero(packed.bias, size.sums_stride);
        copy(static_cast<const T*>(pass.bias), s, packed.bias);
    }
}

template <typename T>
void reduce(const nprnn_pass& pass, const Gradients<T>* partials, int64_t count) {
    const Sizes<T> size(pass);
    T* weight_ih = static_cast<T*>(pass.grad_weight_ih);
    T* weight_hh = static_cast<T*>(pass.grad_weight_hh);
    T* bias = static_cast<T*>(pass.grad_bias);
    const bool few = inputs_are_few<T>(size.inputs);
    const int64_t row = few ? 1 : size.input_stride, column = few ? size.sums_stride : 1;
    for (int64_t p = 0; p < count; ++p) {
        const Gradients<T>& from = partials[p];
        for (int64_t i = 0; i < size.sums; ++i) {
            for (int64_t j = 0; j < size.hidden; ++j) {
                T& sum = weight_hh[i * size.hidden + j];
                sum = (p ? sum : 0) + from.weight_hh[i * size.hidden_stride + j];
            }
            for (int64_t d = 0; d < size.inputs; ++d) {
                T& sum = weight_ih[i * size.inputs + d];
                sum = (p ? sum : 0) + from.weight_ih[i * row + d * column];
            }
            bias[i] = (p ? bias[i] : 0) + from.bias[i];
        }
    }
}

}  // namespace NPRNN_ISA
}  // namespace nprnn

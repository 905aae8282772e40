// Forward and backward of one block of sequences through an LSTM or a GRU.
#pragma once

#include "block.h"

namespace nprnn {
namespace NPRNN_ISA {

template <typename T>
inline V<T> sigmoid(V<T> s) {
    return T(0.5) + T(0.5) * Tanh::apply<T>(T(0.5) * s);
}

// One vector of units at one step: sums become gates; `h` and `c` are those of the step before.
template <typename T>
struct Units {
    V<T> gates[4];
    V<T> h, c;
};

// Gradients of one vector of units: those of h_t and c_t become what goes straight to h_{t-1} and
// c_{t-1}; `sums` are those of the gates' sums.
template <typename T>
struct UnitGradients {
    V<T> sums[4];
    V<T> h, c;
};

// Hochreiter & Schmidhuber 1997 with forget gates: input, forget, cell, output, as in torch.
struct Lstm {
    static constexpr bool passes_h = false;  // whether h_t reads h_{t-1} past the gates

    template <typename T>
    static void forward(Units<T>& u) {
        for (int g = 0; g < 4; ++g) {
            u.gates[g] = g == 2 ? Tanh::apply<T>(u.gates[g]) : sigmoid<T>(u.gates[g]);
        }
        u.c = u.gates[1] * u.c + u.gates[0] * u.gates[2];
        u.h = u.gates[3] * Tanh::apply<T>(u.c);
    }

    // `u` holds the gates and c_{t-1}; c_t is that of `after`.
    template <typename T>
    static void back(const Units<T>& u, V<T> after, UnitGradients<T>& grad) {
        const V<T> in = u.gates[0], forget = u.gates[1], cell = u.gates[2], out = u.gates[3];
        const V<T> squashed = Tanh::apply<T>(after);
        const V<T> of_cell = grad.c + grad.h * out * (1 - squashed * squashed);
        grad.sums[0] = of_cell * cell * in * (1 - in);
        grad.sums[1] = of_cell * u.c * forget * (1 - forget);
        grad.sums[2] = of_cell * in * (1 - cell * cell);
        grad.sums[3] = grad.h * squashed * out * (1 - out);
        grad.c = of_cell * forget;
    }
};

// Cho et al. 2014 as torch has it: reset, update, new; the fourth sum is the new state's part of
// h_{t-1}, which the reset gate scales.
struct Gru {
    static constexpr bool passes_h = true;

    template <typename T>
    static void forward(Units<T>& u) {
        u.gates[0] = sigmoid<T>(u.gates[0]);
        u.gates[1] = sigmoid<T>(u.gates[1]);
        u.gates[2] = Tanh::apply<T>(u.gates[2] + u.gates[0] * u.gates[3]);
        u.h = u.gates[2] + u.gates[1] * (u.h - u.gates[2]);
    }

    template <typename T>
    static void back(const Units<T>& u, V<T>, UnitGradients<T>& grad) {
        const V<T> reset = u.gates[0], update = u.gates[1], fresh = u.gates[2];
        const V<T> of_sum = grad.h * (1 - update) * (1 - fresh * fresh);
        grad.sums[0] = of_sum * u.gates[3] * reset * (1 - reset);
        grad.sums[1] = grad.h * (u.h - fresh) * update * (1 - update);
        grad.sums[2] = of_sum;
        grad.sums[3] = of_sum * reset;
        grad.h = grad.h * update;
    }
};

// Where one step of a block stands in its states: rows of h and c, and those of the step before.
template <typename T>
struct Step {
    int64_t rows;
    T *h, *c, *gates;
    const T *h_before, *c_before;
};

template <typename T>
Step<T> find_step(const Sizes<T>& size, const Block<T>& block, const Chunk& chunk, int64_t t) {
    const int64_t at = chunk.at + (t - chunk.begin) * chunk.rows;
    const int64_t before = t == chunk.begin ? chunk.previous : at - chunk.rows;
    const int64_t stride = size.hidden_stride;
    return {chunk.rows,
            block.states + at * stride,
            block.cells + at * stride,
            block.gates + at * size.sums_stride,
            block.states + before * stride,
            block.cells + before * stride};
}

template <typename T>
Units<T> load_units(const T* gates, int64_t hidden, const T* h, const T* c) {
    Units<T> u;
    for (int g = 0; g < 4; ++g) u.gates[g] = load(gates + g * hidden);
    u.h = load(h);
    u.c = load(c);
    return u;
}

// Whole vectors of sums reach into the next gate's: the last vector of each gate is stored in part,
// and after all gates were read.
template <typename T, typename C>
void step_forward_gated(const Sizes<T>& size, const Packed<T>& packed, const Step<T>& step) {
    const int64_t lanes = Vector<T>::lanes, stride = size.hidden_stride;
    multiply<T>(step.rows, size.sums_vectors, size.hidden, {step.h_before, stride, 1},
                {packed.recurrent, 0, recurrent_panels(packed.is_narrow)},
                {step.gates, size.sums_stride, step.gates, size.sums_stride});
    for (int64_t r = 0; r < step.rows; ++r) {
        T* gates = step.gates + r * size.sums_stride;
        for (int64_t v = 0; v < size.hidden_vectors; ++v) {
            const int64_t i = r * stride + v * lanes, count = size.hidden - v * lanes;
            Units<T> u = load_units(gates + v * lanes, size.hidden, step.h_before + i,
                                    step.c_before + i);
            C::forward(u);
            for (int g = 0; g < 4; ++g) {
                store_first(gates + g * size.hidden + v * lanes, u.gates[g], count);
            }
            store_padded(step.h + i, u.h, count);
            store_padded(step.c + i, u.c, count);
        }
    }
}

template <typename T>
void write_last_cells(const nprnn_pass& pass, const Block<T>& block, const Chunk& chunk) {
    const Sizes<T> size(pass);
    for (int64_t r = 0; r < chunk.rows; ++r) {
        if (block.lengths[r] != chunk.end) continue;
        const int64_t row = chunk.at + (chunk.end - 1 - chunk.begin) * chunk.rows + r;
        copy(block.cells + row * size.hidden_stride, size.hidden,
             static_cast<T*>(pass.last_cell) + block.order[r] * size.hidden);
    }
}

template <typename T, typename C>
void forward_gated(const nprnn_pass& pass, const Packed<T>& packed, const Block<T>& block,
                   const Scratch<T>& scratch) {
    const Sizes<T> size(pass);
    start_states(pass, block, pass.h0, block.states);
    start_states(pass, block, pass.c0, block.cells);
    Chunk chunk = {0, 0, block.rows, block.rows, 0};
    while (chunk.end < block.lengths[0]) {
        chunk = next_chunk(block, chunk);
        gather_inputs(pass, block, chunk, scratch.inputs);
        multiply<T>((chunk.end - chunk.begin) * chunk.rows, size.sums_vectors, size.inputs,
                    {scratch.inputs, size.input_stride, 1}, {packed.input, 0, kTileVectors},
                    {block.gates + chunk.at * size.sums_stride, size.sums_stride, packed.bias, 0});
        for (int64_t t = chunk.begin; t < chunk.end; ++t) {
            step_forward_gated<T, C>(size, packed, find_step(size, block, chunk, t));
        }
        write_outputs(pass, block, chunk);
        if (pass.last_cell) write_last_cells(pass, block, chunk);
    }
    if (pass.reads_all) zero_past_lengths(pass, block);
}

template <typename T>
void start_carry_cell(const nprnn_pass& pass, const Block<T>& block, const Chunk& chunk, T* carry) {
    const Sizes<T> size(pass);
    const T* grad = static_cast<const T*>(pass.grad_last_cell);
    for (int64_t r = 0; r < chunk.rows; ++r) {
        if (block.lengths[r] != chunk.end) continue;
        T* row = carry + r * size.hidden_stride;
        fill_zero(row, size.hidden_stride);
        if (grad) copy(grad + block.order[r] * size.hidden, size.hidden, row);
    }
}

template <typename T, typename C>
void step_back_gated(const Sizes<T>& size, const Packed<T>& packed, const Scratch<T>& scratch,
                     const Step<T>& step, T* deltas) {
    const int64_t lanes = Vector<T>::lanes, stride = size.hidden_stride;
    for (int64_t r = 0; r < step.rows; ++r) {
        for (int64_t v = 0; v < size.hidden_vectors; ++v) {
            const int64_t i = r * stride + v * lanes, count = size.hidden - v * lanes;
            const Units<T> u = load_units(step.gates + r * size.sums_stride + v * lanes,
                                          size.hidden, step.h_before + i, step.c_before + i);
            UnitGradients<T> grad = {{}, load(scratch.carry + i), load(scratch.carry_cell + i)};
            C::back(u, load(step.c + i), grad);
            for (int g = 0; g < 4; ++g) {
                T* to = deltas + r * size.sums_stride + g * size.hidden + v * lanes;
                store_first(to, grad.sums[g], count);
            }
            store_padded(scratch.carry + i, grad.h, count);
            store_padded(scratch.carry_cell + i, grad.c, count);
        }
    }
    T* carry = scratch.carry;
    multiply<T>(step.rows, size.hidden_vectors, size.sums, {deltas, size.sums_stride, 1},
                {packed.recurrent_back, 0, recurrent_panels(packed.is_narrow)},
                {carry, stride, C::passes_h ? carry : nullptr, stride});
}

template <typename T, typename C>
void backward_gated(const nprnn_pass& pass, const Packed<T>& packed, const Block<T>& block,
                    const Scratch<T>& scratch, const Gradients<T>& sums) {
    const Sizes<T> size(pass);
    const int64_t longest = block.lengths[0];
    Chunk chunk = {longest, longest, 0, block.state_rows, 0};
    while (chunk.begin > 0) {
        chunk = chunk_before(block, chunk);
        gather_inputs(pass, block, chunk, scratch.inputs);
        start_carry(pass, block, chunk, scratch.carry);
        start_carry_cell(pass, block, chunk, scratch.carry_cell);
        const int64_t pairs = (chunk.end - chunk.begin) * chunk.rows;
        // The sums' gradients are read by whole vectors.
        const int64_t tail = size.sums_vectors * Vector<T>::lanes - size.sums;
        for (int64_t p = 0; p < pairs; ++p) {
            fill_zero(scratch.deltas + p * size.sums_stride + size.sums, tail);
        }
        for (int64_t t = chunk.end - 1; t >= chunk.begin; --t) {
            if (pass.reads_all) add_output_gradient(pass, block, t, chunk.rows, scratch.carry);
            T* deltas = scratch.deltas + (t - chunk.begin) * chunk.rows * size.sums_stride;
            step_back_gated<T, C>(size, packed, scratch, find_step(size, block, chunk, t), deltas);
        }
        add_weight_gradients(size, packed, block, chunk, scratch, sums);
        if (pass.grad_features) write_feature_gradients(pass, packed, block, chunk, scratch);
    }
    write_start_gradient(size, block, scratch.carry, pass.grad_h0);
    write_start_gradient(size, block, scratch.carry_cell, pass.grad_c0);
}

template <typename T>
void forward(const nprnn_pass& pass, const Packed<T>& packed, const Block<T>& block,
             const Scratch<T>& scratch) {
    switch (pass.cell) {
        case NPRNN_LSTM: return forward_gated<T, Lstm>(pass, packed, block, scratch);
        case NPRNN_GRU: return forward_gated<T, Gru>(pass, packed, block, scratch);
        case NPRNN_TANH: return forward_as<T, Tanh>(pass, packed, block, scratch);
        default: return forward_as<T, Relu>(pass, packed, block, scratch);
    }
}

template <typename T>
void backward(const nprnn_pass& pass, const Packed<T>& packed, const Block<T>& block,
              const Scratch<T>& scratch, const Gradients<T>& sums) {
    switch (pass.cell) {
        case NPRNN_LSTM: return backward_gated<T, Lstm>(pass, packed, block, scratch, sums);
        case NPRNN_GRU: return backward_gated<T, Gru>(pass, packed, block, scratch, sums);
        case NPRNN_TANH: return backward_as<T, Tanh>(pass, packed, block, scratch, sums);
        default: return backward_as<T, Relu>(pass, packed, block, scratch, sums);
    }
}

}  // namespace NPRNN_ISA
}  // namespace nprnn

// The seam between the entry points (simple_rnn.cpp, compiled once) and the arithmetic
// (block.h and its kin, compiled once for each instruction set).
#pragma once

#include "abi.h"

// Functions here are static: see vectors.h for why no inline one may be shared.

namespace nprnn {

// Rows of the batch that go through time together: enough to keep the arithmetic units busy,
// few enough that their states stay in the first-level cache.
constexpr int64_t kBlockRows = 18;

// (time step, row) pairs whose inputs are projected, and whose gradients are kept, at once.
// Long chunks make the weight gradient cheap; short ones stay in the second-level cache.
constexpr int64_t kChunkRows = 144;

constexpr int64_t kLineBytes = 64;

// Length of the rows of internal matrices: whole cache lines, and an odd number of them, since
// rows a power of two apart would crowd into a few sets of the cache.
static constexpr int64_t padded_length(int64_t count, int64_t item_bytes) {
    return ((count * item_bytes + kLineBytes - 1) / kLineBytes | 1) * kLineBytes / item_bytes;
}

template <typename T>
static constexpr int64_t padded(int64_t count) {
    return padded_length(count, sizeof(T));
}

// An LSTM or a GRU; their rows are h, then c (kept for a GRU, too), then the gates.
static constexpr bool is_gated(int64_t cell) { return cell >= NPRNN_LSTM; }

// Sums of a step: H, or those of four gates side by side.
static constexpr int64_t num_sums(int64_t cell, int64_t hidden) {
    return is_gated(cell) ? 4 * hidden : hidden;
}

// Length of a row of sums. The last gate is read by whole vectors, which may reach past it.
template <typename T>
static constexpr int64_t sums_length(int64_t cell, int64_t hidden) {
    const int64_t past = is_gated(cell) ? kLineBytes / static_cast<int64_t>(sizeof(T)) : 0;
    return padded<T>(num_sums(cell, hidden) + past);
}

// Sequences of one block, longest first, so that the rows still running are always the first.
template <typename T>
struct Block {
    int64_t rows;
    const int64_t* lengths;  // (rows), descending
    const int64_t* order;    // (rows): place of each row in the batch
    int64_t state_rows;      // rows of `states`
    T* states;  // h_{-1} of all rows, then h_t of the rows that run at t = 0, 1, ...; padded
    T* cells;   // of gated cells alone: c in the same rows
    T* gates;   // likewise, in rows of `sums_length`: the sums of a step, then its gates
};

// Weights in the orders in which the passes stream them; see `pack_panels`.
template <typename T>
struct Packed {
    int64_t is_narrow;    // blocks of one row: panels as wide as one row's registers
    int64_t skips_zeros;  // a ReLU net: half of its units are zero, many in all rows of a tile
    T* input;           // W_ih transposed: D x sums_length
    T* recurrent;       // W_hh transposed: H x sums_length
    T* recurrent_back;  // W_hh: S x padded(H)
    T* input_back;      // W_ih: S x padded(D); null if no gradient of the features is wanted
    T* bias;            // sums_length
};

// Sums over the rows of some blocks; all padded, `weight_ih` as (S, D) or as (D, S) if
// `inputs_are_few` says so.
template <typename T>
struct Gradients {
    T* weight_ih;
    T* weight_hh;
    T* bias;
};

// Where factors of products are not zero, found anew for each product.
struct Lists {
    int32_t* places;  // of each tile of rows, at most kChunkRows x H in all
    int32_t* counts;  // of each tile, or of each unit, at most kBlockRows or H
    int32_t* units;   // H
    int32_t* starts;  // kChunkRows + 2
    uint64_t* bits;   // kChunkRows x words of 64 units
    uint64_t* mask;   // words of 64 units
};

// What one computing thread writes on the way.
template <typename T>
struct Scratch {
    T* inputs;       // kChunkRows x padded(D)
    T* deltas;       // kChunkRows x sums_length: gradient of s_t = W_ih x_t + W_hh h_{t-1} + b
    T* carry;        // kBlockRows x padded(H): gradient of h_t
    T* carry_cell;   // kBlockRows x padded(H): gradient of c_t; null without gates
    T* grad_inputs;  // kChunkRows x padded(D)
    Lists lists;
};

// The linear readout of a block of updates, all without padding.
template <typename T>
struct Readout {
    T* hidden;       // b x H, the last states, or the means of `states`
    T* outputs;      // b x C, then their gradient
    T* grad_hidden;  // b x H
    T* grad_weight;  // C x H
    T* grad_bias;    // C
    T* states;       // b x T x H where means are read, otherwise null; so are their gradients
    T* grad_states;
};

template <typename T>
struct Kernels {
    void (*pack)(const nprnn_pass&, const Packed<T>&);
    void (*forward)(const nprnn_pass&, const Packed<T>&, const Block<T>&, const Scratch<T>&);
    void (*backward)(const nprnn_pass&, const Packed<T>&, const Block<T>&, const Scratch<T>&,
                     const Gradients<T>&);
    // Adds up `count` partial gradients, always in the same order, into pass.grad_*.
    void (*reduce)(const nprnn_pass&, const Gradients<T>* partials, int64_t count);
    // The loss of one update, with its gradients.
    double (*readout)(const nprnn_updates&, int64_t update, const Readout<T>&);
    // Clips and takes one step of the optimizer; gives the gradient's norm before clipping.
    double (*step)(const nprnn_updates&, int64_t update, const Gradients<T>&, const Readout<T>&);
};

// With few inputs a row of W_ih is shorter than a vector: its gradient is summed transposed.
template <typename T>
static constexpr bool inputs_are_few(int64_t inputs) {
    return inputs < kLineBytes / static_cast<int64_t>(sizeof(T));
}

namespace portable { template <typename T> const Kernels<T>& kernels(); }
namespace avx2 { template <typename T> const Kernels<T>& kernels(); }
namespace avx512 { template <typename T> const Kernels<T>& kernels(); }

}  // namespace nprnn

// What Python and the library agree on. Every field has 8 bytes, so that the ctypes mirror in
// library.py has no padding to get wrong; `nprnn_layout` lets it check that the two match. A field
// is listed in layout.h too; where arguments or meanings change, bump kMeaning there.
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum nprnn_isa { NPRNN_PORTABLE = 0, NPRNN_AVX2 = 1, NPRNN_AVX512 = 2 };
enum nprnn_cell { NPRNN_RELU = 0, NPRNN_TANH = 1, NPRNN_LSTM = 2, NPRNN_GRU = 3 };
enum nprnn_optimizer { NPRNN_SGD = 0, NPRNN_RMSPROP = 1, NPRNN_ADAM = 2 };
enum nprnn_error { NPRNN_OK = 0, NPRNN_NO_MEMORY = 1, NPRNN_BAD_ARGUMENT = 2 };

// One forward or backward pass. Matrices are row-major and contiguous, in the shapes of
// torch.nn.RNN: weight_ih (S, D), weight_hh (S, H), bias (S), where S is H, or 4H for an LSTM (torch's
// order of gates) and for a GRU: reset, update, the new state's part of the input (zero rows in
// weight_hh), its part of the state (zero rows in weight_ih). A null pointer means "not there".
struct nprnn_pass {
    int64_t isa;
    int64_t cell;
    int64_t reads_all;    // output is (B, T, H), zero past each length; otherwise (B, H)
    int64_t num_threads;  // the most that may compute at once
    int64_t reads_half;   // the features are IEEE half precision, whatever the rest is
    int64_t h0_stride;    // H for a (B, H) start, 0 for an (H) one; of c0, too
    int64_t batch, steps, inputs, hidden;
    const int64_t* lengths;  // (B), each in [1, T]; null: all T
    const void* features;    // (B, T, D)
    const void* weight_ih;
    const void* weight_hh;
    const void* bias;
    const void* h0;          // null: zero; so is c0, an LSTM's
    const void* c0;
    void* states;  // (B + sum of lengths) x nprnn_row_length: forward writes, backward reads
    void* output;
    void* last_cell;  // (B, H): an LSTM's c after each sequence's last step
    const void* grad_output;
    const void* grad_last_cell;  // null: zero
    void* grad_features;  // (B, T, D), null if not wanted; so is grad_h0
    void* grad_weight_ih;
    void* grad_weight_hh;
    void* grad_bias;
    void* grad_h0;  // (B, H), and grad_c0
    void* grad_c0;
};

// A block of consecutive updates: forward, linear readout of one state a sequence, loss, backward, clip,
// one step of the optimizer. The five parameters are changed in place, and so is what the optimizer
// keeps of each, in the parameter's shape.
struct nprnn_updates {
    int64_t isa;
    int64_t cell;
    int64_t optimizer;
    int64_t num_before;  // steps that the optimizer has made: Adam's correction reads it
    int64_t num_updates, batch, longest, inputs, hidden, outputs;  // longest: the most of steps
    int64_t is_classification;  // cross entropy of int64 classes; otherwise squared error
    int64_t is_mean;            // loss averaged as torch averages it; otherwise summed
    int64_t reads_mean;         // the readout reads the mean of a sequence's states; otherwise the last
    int64_t reads_half;         // the features are IEEE half precision, whatever the rest is
    int64_t clips_values;       // clip each value to +-clip; otherwise the global norm to clip
    double learning_rate;
    double clip;           // infinity: no clipping
    double decay;          // of the running means of squared gradients
    double mean_decay;     // of those of gradients: Adam alone
    double epsilon;        // beside the root of the former
    const void* const* features;  // K, each (b, T, D) of its own T
    const int64_t* steps;         // (K): these T
    const int64_t* lengths;       // (K, b), each in [1, T]; null: all T
    const void* masks;            // (K, b, H): factors of what the readout reads; null: 1
    const void* targets;   // (K, b, C) of the features' type, or (K, b) int64
    void* weight_ih;
    void* weight_hh;
    void* bias;
    void* weight_out;  // (C, H)
    void* bias_out;    // (C)
    void* const* means;    // of the five parameters above, in their order; null where not kept
    void* const* squares;
    double* losses;    // (K): NaN where no update was made
    double* gradient_norms;  // (K): before clipping
};

#pragma GCC visibility push(default)
// A digest of the structs above; see layout.h.
uint64_t nprnn_layout(void);
int64_t nprnn_best_isa(void);
// The numbers of `states` for each step of a sequence, and for its start.
int64_t nprnn_row_length(int64_t cell, int64_t hidden, int64_t item_bytes);
int64_t nprnn_forward_f32(const struct nprnn_pass* pass);
int64_t nprnn_forward_f64(const struct nprnn_pass* pass);
int64_t nprnn_backward_f32(const struct nprnn_pass* pass);
int64_t nprnn_backward_f64(const struct nprnn_pass* pass);
int64_t nprnn_updates_f32(const struct nprnn_updates* updates);
int64_t nprnn_updates_f64(const struct nprnn_updates* updates);
#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

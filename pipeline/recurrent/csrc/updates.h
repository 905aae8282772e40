// What a training update needs beside the recurrent net: readout, loss, clipping.
#pragma once

#include "kernels.h"
#include "multiply.h"
#include "optimizers.h"

namespace nprnn {
namespace NPRNN_ISA {

template <typename T>
T dot(const T* a, const T* b, int64_t count) {
    T sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < count; ++i) sum += a[i] * b[i];
    return sum;
}

template <typename T>
void add_scaled(T scale, const T* from, int64_t count, T* to) {
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) to[i] += scale * from[i];
}

// Squared error of one sequence; `outputs` become the loss's gradient.
template <typename T>
double squared_error(const T* targets, int64_t count, double scale, T* outputs) {
    double loss = 0;
    for (int64_t c = 0; c < count; ++c) {
        const double error = static_cast<double>(outputs[c]) - targets[c];
        loss += scale * error * error;
        outputs[c] = static_cast<T>(2 * scale * error);
    }
    return loss;
}

// Cross entropy of one sequence; `outputs` become the loss's gradient.
template <typename T>
double cross_entropy(int64_t target, int64_t count, double scale, T* outputs) {
    T most = outputs[0];
    for (int64_t c = 1; c < count; ++c) most = outputs[c] > most ? outputs[c] : most;
    double sum = 0;
    for (int64_t c = 0; c < count; ++c) {
        sum += __builtin_exp(static_cast<double>(outputs[c] - most));
    }
    const double loss = __builtin_log(sum) - static_cast<double>(outputs[target] - most);
    for (int64_t c = 0; c < count; ++c) {
        const double share = __builtin_exp(static_cast<double>(outputs[c] - most)) / sum;
        outputs[c] = static_cast<T>(scale * (share - (c == target)));
    }
    return scale * loss;
}

// The outputs and the loss of one update, and the gradients of what they read.
template <typename T>
double answer(const nprnn_updates& all, int64_t update, const Readout<T>& read) {
    const int64_t h = all.hidden, num_outputs = all.outputs;
    const T* weight = static_cast<const T*>(all.weight_out);
    const T* bias = static_cast<const T*>(all.bias_out);
    const int64_t terms = all.batch * (all.is_classification ? 1 : num_outputs);
    const double scale = all.is_mean ? 1.0 / static_cast<double>(terms) : 1.0;
    __builtin_memset(read.grad_weight, 0, static_cast<size_t>(num_outputs * h) * sizeof(T));
    __builtin_memset(read.grad_bias, 0, static_cast<size_t>(num_outputs) * sizeof(T));
    __builtin_memset(read.grad_hidden, 0, static_cast<size_t>(all.batch * h) * sizeof(T));
    double loss = 0;
    for (int64_t b = 0; b < all.batch; ++b) {
        const int64_t sequence = update * all.batch + b;
        const T* hidden = read.hidden + b * h;
        T* outputs = read.outputs + b * num_outputs;
        for (int64_t c = 0; c < num_outputs; ++c) {
            outputs[c] = bias[c] + dot(weight + c * h, hidden, h);
        }
        if (all.is_classification) {
            const int64_t target = static_cast<const int64_t*>(all.targets)[sequence];
            loss += cross_entropy(target, num_outputs, scale, outputs);
        } else {
            const T* targets = static_cast<const T*>(all.targets) + sequence * num_outputs;
            loss += squared_error(targets, num_outputs, scale, outputs);
        }
        for (int64_t c = 0; c < num_outputs; ++c) {
            add_scaled(outputs[c], hidden, h, read.grad_weight + c * h);
            add_scaled(outputs[c], weight + c * h, h, read.grad_hidden + b * h);
            read.grad_bias[c] += outputs[c];
        }
    }
    return loss;
}

inline int64_t length_of(const nprnn_updates& all, int64_t update, int64_t b) {
    return all.lengths ? all.lengths[update * all.batch + b] : all.steps[update];
}

// The mean of each sequence's states over its real steps.
template <typename T>
void average_states(const nprnn_updates& all, int64_t update, const Readout<T>& read) {
    const int64_t h = all.hidden;
    __builtin_memset(read.hidden, 0, static_cast<size_t>(all.batch * h) * sizeof(T));
    for (int64_t b = 0; b < all.batch; ++b) {
        const int64_t length = length_of(all, update, b);
        const T* states = read.states + b * all.steps[update] * h;
        T* mean = read.hidden + b * h;
        for (int64_t t = 0; t < length; ++t) add_scaled(T(1), states + t * h, h, mean);
        for (int64_t j = 0; j < h; ++j) mean[j] /= static_cast<T>(length);
    }
}

// From the gradient of the mean, which is changed, to that of each state.
template <typename T>
void spread_gradients(const nprnn_updates& all, int64_t update, const Readout<T>& read) {
    const int64_t h = all.hidden;
    for (int64_t b = 0; b < all.batch; ++b) {
        const int64_t length = length_of(all, update, b);
        T* states = read.grad_states + b * all.steps[update] * h;
        T* mean = read.grad_hidden + b * h;
        for (int64_t j = 0; j < h; ++j) mean[j] /= static_cast<T>(length);
        for (int64_t t = 0; t < length; ++t) copy(mean, h, states + t * h);
    }
}

template <typename T>
void multiply_each(const T* by, int64_t count, T* to) {
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) to[i] *= by[i];
}

template <typename T>
double readout(const nprnn_updates& all, int64_t update, const Readout<T>& read) {
    const int64_t count = all.batch * all.hidden;
    const T* masks = static_cast<const T*>(all.masks);
    if (read.states) average_states(all, update, read);
    if (masks) multiply_each(masks + update * count, count, read.hidden);
    const double loss = answer(all, update, read);
    if (masks) multiply_each(masks + update * count, count, read.grad_hidden);
    if (read.states) spread_gradients(all, update, read);
    return loss;
}

template <typename T>
double sum_of_squares(const Parameter<T>& p) {
    double sum = 0;
    for (int64_t i = 0; i < p.rows; ++i) {
        const T* row = p.grad + i * p.row_stride;
        if (p.column_stride == 1) {
            sum += static_cast<double>(dot(row, row, p.columns));
        } else {
            for (int64_t j = 0; j < p.columns; ++j) {
                const double g = row[j * p.column_stride];
                sum += g * g;
            }
        }
    }
    return sum;
}

// The five parameters in the order of abi.h's `means`.
template <typename T>
struct Parameters {
    Parameter<T> all[5];

    Parameters(const nprnn_updates& of, const Gradients<T>& grads, const Readout<T>& read) {
        const int64_t h = of.hidden, d = of.inputs, num_outputs = of.outputs;
        const int64_t s = num_sums(of.cell, h), sums_stride = sums_length<T>(of.cell, h);
        const bool few = inputs_are_few<T>(d);
        all[0] = {static_cast<T*>(of.weight_ih), nullptr, nullptr, grads.weight_ih, s, d,
                  few ? 1 : padded<T>(d), few ? sums_stride : 1};
        all[1] = {static_cast<T*>(of.weight_hh), nullptr, nullptr, grads.weight_hh, s, h,
                  padded<T>(h), 1};
        all[2] = {static_cast<T*>(of.bias), nullptr, nullptr, grads.bias, 1, s, s, 1};
        all[3] = {static_cast<T*>(of.weight_out), nullptr, nullptr, read.grad_weight, num_outputs,
                  h, h, 1};
        all[4] = {static_cast<T*>(of.bias_out), nullptr, nullptr, read.grad_bias, 1, num_outputs,
                  num_outputs, 1};
        for (int i = 0; i < 5; ++i) {
            if (of.means) all[i].mean = static_cast<T*>(of.means[i]);
            if (of.squares) all[i].square = static_cast<T*>(of.squares[i]);
        }
    }
};

// Clipping as torch.nn.utils.clip_grad_norm_ and clip_grad_value_ do it, then a step.
template <typename T>
double step(const nprnn_updates& all, int64_t update, const Gradients<T>& grads,
            const Readout<T>& read) {
    const Parameters<T> parameters(all, grads, read);
    double squares = 0;
    for (const Parameter<T>& p : parameters.all) squares += sum_of_squares(p);
    const double norm = __builtin_sqrt(squares);
    const double shrink = all.clip / (norm + 1e-6);
    const double limit = all.clips_values ? all.clip : __builtin_inf();
    const StepSizes sizes = {all.clips_values || shrink > 1 ? 1 : shrink,
                             all.learning_rate,
                             all.decay,
                             all.mean_decay,
                             all.epsilon,
                             static_cast<double>(all.num_before + update + 1)};
    for (const Parameter<T>& p : parameters.all) {
        step_by(all.optimizer, sizes, p, static_cast<T>(limit));
    }
    return norm;
}

}  // namespace NPRNN_ISA
}  // namespace nprnn

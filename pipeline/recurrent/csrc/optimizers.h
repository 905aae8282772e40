// The steps of torch.optim.SGD, RMSprop and Adam, in torch's order of operations.
#pragma once

#include "kernels.h"

namespace nprnn {
namespace NPRNN_ISA {

inline float root(float value) { return __builtin_sqrtf(value); }
inline double root(double value) { return __builtin_sqrt(value); }

// A parameter, its gradient, which may have padded rows or be transposed, and what its optimizer
// keeps beside each value: running means of gradients and of their squares, null where not kept.
template <typename T>
struct Parameter {
    T* value;  // rows x columns
    T* mean;
    T* square;
    const T* grad;
    int64_t rows, columns, row_stride, column_stride;
};

// What all rules read: of one update, with `shrink` for the norm's clipping.
struct StepSizes {
    double shrink, rate, decay, mean_decay, epsilon;
    double num_steps;  // this one included
};

template <typename T>
struct Sgd {
    T rate;

    explicit Sgd(const StepSizes& of) : rate(static_cast<T>(of.rate * of.shrink)) {}

    void step(const Parameter<T>& p, int64_t at, T grad) const { p.value[at] -= rate * grad; }
};

template <typename T>
struct RmsProp {
    T shrink, rate, decay, rest, epsilon;

    explicit RmsProp(const StepSizes& of)
        : shrink(static_cast<T>(of.shrink)), rate(static_cast<T>(of.rate)),
          decay(static_cast<T>(of.decay)), rest(static_cast<T>(1 - of.decay)),
          epsilon(static_cast<T>(of.epsilon)) {}

    void step(const Parameter<T>& p, int64_t at, T grad) const {
        const T g = shrink * grad;
        const T square = p.square[at] * decay + rest * g * g;
        p.square[at] = square;
        p.value[at] -= rate * g / (root(square) + epsilon);
    }
};

template <typename T>
struct Adam {
    T shrink, rate, decay, rest, mean_rest, of_root, epsilon;

    explicit Adam(const StepSizes& of)
        : shrink(static_cast<T>(of.shrink)),
          rate(static_cast<T>(of.rate / (1 - __builtin_pow(of.mean_decay, of.num_steps)))),
          decay(static_cast<T>(of.decay)), rest(static_cast<T>(1 - of.decay)),
          mean_rest(static_cast<T>(1 - of.mean_decay)),
          of_root(static_cast<T>(__builtin_sqrt(1 - __builtin_pow(of.decay, of.num_steps)))),
          epsilon(static_cast<T>(of.epsilon)) {}

    void step(const Parameter<T>& p, int64_t at, T grad) const {
        const T g = shrink * grad;
        const T mean = p.mean[at] + mean_rest * (g - p.mean[at]);
        const T square = p.square[at] * decay + rest * g * g;
        p.mean[at] = mean;
        p.square[at] = square;
        p.value[at] -= rate * mean / (root(square) / of_root + epsilon);
    }
};

template <typename T>
T clamped(T value, T limit) {
    value = value > limit ? limit : value;
    return value < -limit ? -limit : value;
}

// One step of `rule` by the gradients, each value of which is clipped to +-limit.
template <typename T, typename Rule>
void step_parameter(const Parameter<T>& p, T limit, const Rule& rule) {
    for (int64_t i = 0; i < p.rows; ++i) {
        const T* grad = p.grad + i * p.row_stride;
        const int64_t row = i * p.columns;
        if (p.column_stride == 1) {
#pragma omp simd
            for (int64_t j = 0; j < p.columns; ++j) {
                rule.step(p, row + j, clamped(grad[j], limit));
            }
        } else {
            for (int64_t j = 0; j < p.columns; ++j) {
                rule.step(p, row + j, clamped(grad[j * p.column_stride], limit));
            }
        }
    }
}

template <typename T>
void step_by(int64_t optimizer, const StepSizes& sizes, const Parameter<T>& p, T limit) {
    switch (optimizer) {
        case NPRNN_RMSPROP: return step_parameter(p, limit, RmsProp<T>(sizes));
        case NPRNN_ADAM: return step_parameter(p, limit, Adam<T>(sizes));
        default: return step_parameter(p, limit, Sgd<T>(sizes));
    }
}

}  // namespace NPRNN_ISA
}  // namespace nprnn

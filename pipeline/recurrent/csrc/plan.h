// How a pass is cut into blocks of sequences.
#pragma once

#include "kernels.h"

#include <algorithm>
#include <numeric>
#include <vector>

namespace nprnn {

// The batch, longest sequences first, cut into blocks. It depends on the lengths alone, never on
// the number of threads, and neither does the order of any sum.
template <typename T>
struct Plan {
    std::vector<int64_t> order, lengths;
    std::vector<Block<T>> blocks;
    int64_t state_rows = 0;

    explicit Plan(const nprnn_pass& pass) : order(pass.batch), lengths(pass.batch, pass.steps) {
        std::iota(order.begin(), order.end(), 0);
        if (const int64_t* given = pass.lengths) {
            std::stable_sort(order.begin(), order.end(),
                             [given](int64_t a, int64_t b) { return given[a] > given[b]; });
            for (int64_t r = 0; r < pass.batch; ++r) lengths[r] = given[order[r]];
        }
        // All rows of h, then of c, then of gates.
        const int64_t all_rows = std::accumulate(lengths.begin(), lengths.end(), pass.batch);
        const int64_t stride = padded<T>(pass.hidden);
        T* const cells = static_cast<T*>(pass.states) + all_rows * stride;
        T* const gates = cells + all_rows * stride;
        const int64_t count = (pass.batch + kBlockRows - 1) / kBlockRows;
        for (int64_t i = 0; i < count; ++i) {
            const int64_t begin = pass.batch * i / count, end = pass.batch * (i + 1) / count;
            const auto first = lengths.begin();
            const int64_t rows = std::accumulate(first + begin, first + end, end - begin);
            blocks.push_back({end - begin, &lengths[begin], &order[begin], rows,
                              static_cast<T*>(pass.states) + state_rows * stride,
                              cells + state_rows * stride,
                              gates + state_rows * sums_length<T>(pass.cell, pass.hidden)});
            state_rows += rows;
        }
    }
};

}  // namespace nprnn

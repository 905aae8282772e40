// The entry points: choice of instruction set, memory, threads. No arithmetic.
//
// There is no state between calls and no pool of threads: a call starts the threads that it
// needs (some 10 microseconds each) and joins them. So there is nothing that a fork could leave
// locked or missing in the child, as an OpenMP pool shared with torch would be, and nothing to
// clean up at exit.

#include "abi.h"
#include "kernels.h"
#include "layout.h"
#include "memory.h"
#include "plan.h"

#include <algorithm>
#include <atomic>
#include <limits>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

namespace nprnn {
namespace {

bool runs_here(int64_t isa) {
#ifdef NPRNN_IS_X86
    if (isa == NPRNN_AVX512) {
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("fma");
    }
    if (isa == NPRNN_AVX2) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
               __builtin_cpu_supports("f16c");
#endif
    return isa == NPRNN_PORTABLE;
}

template <typename T>
const Kernels<T>& kernels_for(int64_t isa) {
#ifdef NPRNN_IS_X86
    if (isa == NPRNN_AVX512) return avx512::kernels<T>();
    if (isa == NPRNN_AVX2) return avx2::kernels<T>();
#endif
    return portable::kernels<T>();
}

// The numbers of a row of states: h alone, or h, c and gates.
template <typename T>
int64_t row_length(int64_t cell, int64_t hidden) {
    const int64_t h = padded<T>(hidden);
    return is_gated(cell) ? 2 * h + sums_length<T>(cell, hidden) : h;
}

template <typename T>
Packed<T> take_packed(const nprnn_pass& pass, bool is_forward, bool is_backward, Arena* arena) {
    const int64_t h = pass.hidden, d = pass.inputs, s = num_sums(pass.cell, h);
    const int64_t wide = sums_length<T>(pass.cell, h);
    Packed<T> packed = {};
    packed.is_narrow = pass.batch == 1;
    if (is_forward) {
        packed.input = arena->take<T>(d * wide);
        packed.recurrent = arena->take<T>(h * wide);
        packed.bias = arena->take<T>(wide);
    }
    if (is_backward) {
        packed.recurrent_back = arena->take<T>(s * padded<T>(h));
        if (pass.grad_features) packed.input_back = arena->take<T>(s * padded<T>(d));
    }
    return packed;
}

// Zero times infinity is NaN: with weights that are not finite, zeros are not skipped.
template <typename T>
bool skips_zeros(const nprnn_pass& pass) {
    if (pass.cell != NPRNN_RELU) return false;
    const T* weight = static_cast<const T*>(pass.weight_hh);
    T zero = 0;
    for (int64_t i = 0; i < pass.hidden * pass.hidden; ++i) zero += weight[i] * 0;
    return zero == 0;
}

Lists take_lists(int64_t hidden, int64_t rows, Arena* arena) {
    const int64_t words = (hidden + 63) / 64;
    return {arena->take<int32_t>(rows * hidden), arena->take<int32_t>(std::max(rows, hidden)),
            arena->take<int32_t>(hidden),        arena->take<int32_t>(rows + 2),
            arena->take<uint64_t>(rows * words), arena->take<uint64_t>(words)};
}

template <typename T>
Scratch<T> take_scratch(const nprnn_pass& pass, bool is_backward, Arena* arena) {
    const int64_t h = padded<T>(pass.hidden), d = padded<T>(pass.inputs);
    Scratch<T> scratch = {};
    scratch.inputs = arena->take<T>(kChunkRows * d);
    scratch.lists = take_lists(pass.hidden, is_backward ? kChunkRows : kBlockRows, arena);
    if (!is_backward) return scratch;
    scratch.deltas = arena->take<T>(kChunkRows * sums_length<T>(pass.cell, pass.hidden));
    scratch.carry = arena->take<T>(kBlockRows * h);
    if (is_gated(pass.cell)) scratch.carry_cell = arena->take<T>(kBlockRows * h);
    if (pass.grad_features) scratch.grad_inputs = arena->take<T>(kChunkRows * d);
    return scratch;
}

template <typename T>
struct GradientSizes {
    int64_t weight_ih, weight_hh, bias;

    explicit GradientSizes(const nprnn_pass& pass)
        : bias(sums_length<T>(pass.cell, pass.hidden)) {
        const int64_t sums = num_sums(pass.cell, pass.hidden);
        weight_hh = sums * padded<T>(pass.hidden);
        weight_ih = inputs_are_few<T>(pass.inputs) ? pass.inputs * bias
                                                   : sums * padded<T>(pass.inputs);
    }

    int64_t bytes() const { return (weight_ih + weight_hh + bias) * int64_t{sizeof(T)}; }
};

template <typename T>
Gradients<T> take_gradients(const nprnn_pass& pass, Arena* arena) {
    const GradientSizes<T> size(pass);
    return {arena->take_zeros<T>(size.weight_ih), arena->take_zeros<T>(size.weight_hh),
            arena->take_zeros<T>(size.bias)};
}

// How many partial gradients are kept: one for each block as long as they stay small.
template <typename T>
int64_t num_groups(const nprnn_pass& pass, int64_t blocks) {
    const int64_t most = (int64_t{64} << 20) / GradientSizes<T>(pass).bytes();
    return std::min(blocks, std::clamp<int64_t>(most, 1, 64));
}

// Fewer threads than allowed where starting them would cost more than they save.
template <typename T>
int64_t useful_threads(const nprnn_pass& pass, const Plan<T>& plan, int64_t groups) {
    const double products = static_cast<double>(plan.state_rows) *
                            static_cast<double>(num_sums(pass.cell, pass.hidden) *
                                                (pass.hidden + pass.inputs));
    const double worth = products / 1e6;  // some 30 microseconds each
    const int64_t most = std::min({pass.num_threads, groups, int64_t{256}});
    return std::max<int64_t>(1, worth < static_cast<double>(most) ? int64_t(worth) : most);
}

// Calls work(thread, group) for every group, the calling thread included.
template <typename Work>
void run_groups(int64_t groups, int64_t num_threads, const Work& work) {
    std::atomic<int64_t> next{0};
    const auto run = [&](int64_t thread) {
        const FlushSubnormals flush;
        for (int64_t g = next++; g < groups; g = next++) work(thread, g);
    };
    std::vector<std::thread> threads;
    threads.reserve(static_cast<size_t>(num_threads));
    try {
        for (int64_t i = 1; i < num_threads; ++i) threads.emplace_back(run, i);
    } catch (const std::system_error&) {
        // No more threads to be had: those that started, at least this one, do all the work.
    }
    run(0);
    for (std::thread& thread : threads) thread.join();
}

template <typename T>
int64_t run_pass(const nprnn_pass& pass, bool is_backward) {
    const Kernels<T>& kernels = kernels_for<T>(pass.isa);
    Arena arena;
    const Plan<T> plan(pass);
    const int64_t blocks = static_cast<int64_t>(plan.blocks.size());
    const int64_t groups = is_backward ? num_groups<T>(pass, blocks) : blocks;
    const int64_t num_threads = useful_threads(pass, plan, groups);
    if (!is_backward) {
        const int64_t row_bytes = row_length<T>(pass.cell, pass.hidden) * int64_t{sizeof(T)};
        prefer_large_pages(pass.states, plan.state_rows * row_bytes);
    }
    Packed<T> packed = take_packed<T>(pass, !is_backward, is_backward, &arena);
    packed.skips_zeros = skips_zeros<T>(pass);
    kernels.pack(pass, packed);
    std::vector<Scratch<T>> scratch;
    for (int64_t i = 0; i < num_threads; ++i) {
        scratch.push_back(take_scratch<T>(pass, is_backward, &arena));
    }
    std::vector<Gradients<T>> partials;
    for (int64_t g = 0; is_backward && g < groups; ++g) {
        partials.push_back(take_gradients<T>(pass, &arena));
    }
    run_groups(groups, num_threads, [&](int64_t thread, int64_t g) {
        for (int64_t i = blocks * g / groups; i < blocks * (g + 1) / groups; ++i) {
            if (is_backward) {
                kernels.backward(pass, packed, plan.blocks[i], scratch[thread], partials[g]);
            } else {
                kernels.forward(pass, packed, plan.blocks[i], scratch[thread]);
            }
        }
    });
    if (is_backward) kernels.reduce(pass, partials.data(), groups);
    return NPRNN_OK;
}

template <typename T>
void clear(const nprnn_pass& pass, const Gradients<T>& sums) {
    const GradientSizes<T> size(pass);
    std::fill_n(sums.weight_ih, size.weight_ih, T{0});
    std::fill_n(sums.weight_hh, size.weight_hh, T{0});
    std::fill_n(sums.bias, size.bias, T{0});
}

template <typename T>
nprnn_pass pass_of(const nprnn_updates& all, const Readout<T>& read, Arena* arena) {
    nprnn_pass pass = {};
    pass.isa = all.isa;
    pass.cell = all.cell;
    pass.batch = all.batch;
    pass.inputs = all.inputs;
    pass.hidden = all.hidden;
    pass.reads_half = all.reads_half;
    pass.weight_ih = all.weight_ih;
    pass.weight_hh = all.weight_hh;
    pass.bias = all.bias;
    pass.states =
        arena->take<T>(all.batch * (all.longest + 1) * row_length<T>(all.cell, all.hidden));
    pass.reads_all = all.reads_mean;
    pass.output = all.reads_mean ? read.states : read.hidden;
    pass.grad_output = all.reads_mean ? read.grad_states : read.grad_hidden;
    return pass;
}

template <typename T>
Readout<T> take_readout(const nprnn_updates& all, Arena* arena) {
    const int64_t b = all.batch, h = all.hidden, c = all.outputs;
    Readout<T> read = {arena->take<T>(b * h), arena->take<T>(b * c), arena->take<T>(b * h),
                       arena->take<T>(c * h), arena->take<T>(c), nullptr, nullptr};
    if (all.reads_mean) {
        read.states = arena->take<T>(b * all.longest * h);
        read.grad_states = arena->take<T>(b * all.longest * h);
    }
    return read;
}

template <typename T>
int64_t run_updates(const nprnn_updates& all) {
    const Kernels<T>& kernels = kernels_for<T>(all.isa);
    const FlushSubnormals flush;
    Arena arena;
    const Readout<T> read = take_readout<T>(all, &arena);
    nprnn_pass pass = pass_of(all, read, &arena);
    Packed<T> packed = take_packed<T>(pass, true, true, &arena);
    const Scratch<T> scratch = take_scratch<T>(pass, true, &arena);
    const Gradients<T> sums = take_gradients<T>(pass, &arena);
    std::fill_n(all.losses, all.num_updates, std::numeric_limits<double>::quiet_NaN());
    std::fill_n(all.gradient_norms, all.num_updates, std::numeric_limits<double>::quiet_NaN());
    for (int64_t k = 0; k < all.num_updates; ++k) {
        pass.features = all.features[k];
        pass.steps = all.steps[k];
        pass.lengths = all.lengths ? all.lengths + k * all.batch : nullptr;
        const Plan<T> plan(pass);
        packed.skips_zeros = skips_zeros<T>(pass);
        kernels.pack(pass, packed);
        for (const Block<T>& block : plan.blocks) kernels.forward(pass, packed, block, scratch);
        const double loss = all.losses[k] = kernels.readout(all, k, read);
        if (!(loss - loss == 0)) break;  // infinite or NaN: the weights stay as they were
        clear(pass, sums);
        for (const Block<T>& block : plan.blocks) {
            kernels.backward(pass, packed, block, scratch, sums);
        }
        all.gradient_norms[k] = kernels.step(all, k, sums, read);
    }
    return NPRNN_OK;
}

// Exceptions end here: the callers speak C.
template <typename Run>
int64_t guarded(const Run& run) {
    try {
        return run();
    } catch (const std::bad_alloc&) {
        return NPRNN_NO_MEMORY;
    } catch (...) {
        return NPRNN_BAD_ARGUMENT;
    }
}

template <typename T>
int64_t checked_pass(const nprnn_pass* pass, bool is_backward) {
    if (!runs_here(pass->isa)) return NPRNN_BAD_ARGUMENT;
    return guarded([&] { return run_pass<T>(*pass, is_backward); });
}

template <typename T>
int64_t checked_updates(const nprnn_updates* all) {
    if (!runs_here(all->isa)) return NPRNN_BAD_ARGUMENT;
    return guarded([&] { return run_updates<T>(*all); });
}

}  // namespace
}  // namespace nprnn

extern "C" {

uint64_t nprnn_layout(void) { return nprnn::digest_layout(); }

int64_t nprnn_best_isa(void) {
    for (int64_t isa : {NPRNN_AVX512, NPRNN_AVX2}) {
        if (nprnn::runs_here(isa)) return isa;
    }
    return NPRNN_PORTABLE;
}

int64_t nprnn_row_length(int64_t cell, int64_t hidden, int64_t item_bytes) {
    return item_bytes == sizeof(float) ? nprnn::row_length<float>(cell, hidden)
                                       : nprnn::row_length<double>(cell, hidden);
}

int64_t nprnn_forward_f32(const nprnn_pass* p) { return nprnn::checked_pass<float>(p, false); }
int64_t nprnn_forward_f64(const nprnn_pass* p) { return nprnn::checked_pass<double>(p, false); }
int64_t nprnn_backward_f32(const nprnn_pass* p) { return nprnn::checked_pass<float>(p, true); }
int64_t nprnn_backward_f64(const nprnn_pass* p) { return nprnn::checked_pass<double>(p, true); }
int64_t nprnn_updates_f32(const nprnn_updates* u) { return nprnn::checked_updates<float>(u); }
int64_t nprnn_updates_f64(const nprnn_updates* u) { return nprnn::checked_updates<double>(u); }

}  // extern "C"

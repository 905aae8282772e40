// What a call takes from the machine and gives back: memory, and the processor's settings.
#pragma once

#include "kernels.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

#ifdef __x86_64__
#define NPRNN_IS_X86 1
#include <xmmintrin.h>
#endif
#ifdef __linux__
#include <sys/mman.h>
#endif

namespace nprnn {

// Vanishing gradients become subnormal numbers, on which processors are many times slower.
// The setting belongs to a thread: each one that computes holds one of these.
class FlushSubnormals {
public:
#ifdef NPRNN_IS_X86
    FlushSubnormals() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040); }
    ~FlushSubnormals() { _mm_setcsr(before_); }
    FlushSubnormals(const FlushSubnormals&) = delete;
    FlushSubnormals& operator=(const FlushSubnormals&) = delete;

private:
    unsigned before_;
#endif
};

struct FreeAligned {
    void operator()(void* memory) const {
        ::operator delete(memory, std::align_val_t{kLineBytes});
    }
};

// Memory of one call, given out in pieces that begin on cache lines; freed as a whole.
class Arena {
public:
    template <typename T>
    T* take(int64_t count) {
        const size_t bytes = static_cast<size_t>(std::max<int64_t>(count, 1)) * sizeof(T);
        pieces_.emplace_back(::operator new(bytes, std::align_val_t{kLineBytes}));
        return static_cast<T*>(pieces_.back().get());
    }

    template <typename T>
    T* take_zeros(int64_t count) {
        T* piece = take<T>(count);
        std::memset(piece, 0, static_cast<size_t>(count) * sizeof(T));
        return piece;
    }

private:
    std::vector<std::unique_ptr<void, FreeAligned>> pieces_;
};

// Asks for large pages where a long pass is about to touch fresh memory for the first time: on
// small ones that costs more than the arithmetic. Only a hint, which may be refused.
inline void prefer_large_pages(void* memory, int64_t bytes) {
#ifdef __linux__
    constexpr uintptr_t page = uintptr_t{2} << 20;
    const uintptr_t begin = (reinterpret_cast<uintptr_t>(memory) + page - 1) / page * page;
    const uintptr_t end = (reinterpret_cast<uintptr_t>(memory) + uintptr_t(bytes)) / page * page;
    if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#else
    (void)memory, (void)bytes;
#endif
}

}  // namespace nprnn

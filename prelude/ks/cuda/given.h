// What goes along with a launch, as the host makes it and the grid reads it.
#ifndef KS_CUDA_GIVEN_H
#define KS_CUDA_GIVEN_H

#include <cstddef>
#include <cstdint>

#include "ks/cuda/device.h"
#include "ks/cuda/indices.h"
#include "ks/macros.h"

namespace ks {

// Threads of a block, a multiple of a warp.
#ifdef KS_BLOCK_SIZE
constexpr int block_size = KS_BLOCK_SIZE;
#else
constexpr int block_size = 256;
#endif
constexpr int warp_size = 32;

// A tensor of the host's, as a kernel receives it.
struct given {
    void *data;
    int64_t sizes[KS_CUDA_MOST_DIMENSIONS];
    int64_t strides[KS_CUDA_MOST_DIMENSIONS];
};

template <int count> struct operands {
    given at[count > 0 ? count : 1];
};

// What the host gave for the whole grid.
struct grid {
    ks_cuda_state *state;
    ks_cuda_report *report;
    const void *owner;
    char *scratch;
    int64_t scratch_bytes;
    int64_t scratch_per_thread;
    bool deterministic;
    bool traps;
};

// What the blocks need to combine numbers: two sets that take turns.
KS_FN int64_t partial_bytes(int numbers, unsigned blocks) { return 16 * static_cast<int64_t>(numbers) * blocks; }

// Whether iterations allocate: threads then have memory of their own, maybe not all of them.
enum memory { no_memory, own_memory };

// The storage types of a kernel's results and arguments, in the order of its operands.
template <class... T> struct results {};
template <class... T> struct arguments {};

// Where operands begin, results first; a number of the host's is here itself.
template <int count> struct pointers {
    char *at[count];
    int64_t numbers[count];
    unsigned shared[(count + 31) / 32];  // a bit for each operand of which all elements are one

    __device__ const char *operator[](int k) const {
        return at[k] != nullptr ? at[k] : reinterpret_cast<const char *>(numbers + k);
    }
    KS_FN bool is_shared(int k) const { return (shared[k / 32] >> k % 32 & 1u) != 0; }
};

// Arrays of any strides: sizes and, for each operand, strides in bytes, the innermost dimension first.
template <int count> struct strided {
    int rank;
    int64_t elements;
    int64_t sizes[KS_CUDA_MOST_DIMENSIONS];
    reciprocal by[KS_CUDA_MOST_DIMENSIONS];  // where there are less than 2^31 elements
    pointers<count> data;
    int64_t strides[count][KS_CUDA_MOST_DIMENSIONS];
};

constexpr size_t largest(size_t size) { return size; }
template <class... Rest> constexpr size_t largest(size_t a, size_t b, Rest... rest) { return largest(a > b ? a : b, rest...); }

// Elements of a pack: 16 bytes of the largest type.
template <class... T> constexpr int width_of = static_cast<int>(16 / largest(sizeof(T)...));

// A thread loads so many packs before it computes, so that enough of the memory is on its way.
constexpr int packs_in_flight = 2;

}  // namespace ks

#endif

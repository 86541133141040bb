// From what a host hands to an entry to a launch of its grid. For the host's compiler.
#ifndef KS_CUDA_ENTER_H
#define KS_CUDA_ENTER_H

#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include "ks/cuda/given.h"
#include "ks/cuda/launch.h"

namespace ks {

// Runs a kernel on the host's operands, of the given ranks, in as many blocks as their elements ask for; on one thread
// where it is not made for more.
template <int count, class Kernel>
inline int enter(const kernel<Kernel> &walking, const ks_cuda *device, const ks_tensor *described, std::initializer_list<int> ranks,
                 int numbers, bool together) {
    operands<count> all = {};
    int64_t most = 1;
    int k = 0;
    for (const int rank : ranks) {
        if (rank > KS_CUDA_MOST_DIMENSIONS) {
            return KS_CUDA_RANK;
        }
        given &operand = all.at[k];
        operand.data = described[k].data;
        if (operand.data == nullptr && rank == 0) {
            operand.sizes[0] = described[k].sizes[0];
        }
        int64_t step = 1;
        for (int dim = rank - 1; dim >= 0; --dim) {
            operand.sizes[dim] = described[k].sizes[dim];
            operand.strides[dim] = described[k].strides != nullptr ? described[k].strides[dim] : step;
            step *= operand.sizes[dim];
        }
        most = step > most ? step : most;
        ++k;
    }
    return launch(walking, device, together ? most : 0, numbers, &all);
}

// Describes the operands; the number of elements, or a refusal.
template <int count>
inline int64_t describe(strided<count> &all, char *const *data, const int64_t *strides, const int64_t *sizes, int rank,
                        const int64_t *numbers) {
    if (rank > KS_CUDA_MOST_DIMENSIONS) {
        return KS_CUDA_RANK;
    }
    all.rank = rank;
    all.elements = 1;
    for (int dim = 0; dim < rank; ++dim) {
        all.sizes[dim] = sizes[dim];
        all.elements *= sizes[dim];
    }
    for (int dim = 0; dim < rank && all.elements > 0 && all.elements <= INT32_MAX; ++dim) {
        all.by[dim] = reciprocal::of(static_cast<uint32_t>(sizes[dim]));
    }
    for (unsigned &bits : all.data.shared) {
        bits = 0;
    }
    for (int k = 0; k < count; ++k) {
        all.data.at[k] = data[k];
        all.data.numbers[k] = data[k] == nullptr ? numbers[k] : 0;
        bool shared = true;
        for (int dim = 0; dim < rank; ++dim) {
            all.strides[k][dim] = strides[k * rank + dim];
            shared = shared && (all.strides[k][dim] == 0 || all.sizes[dim] == 1);
        }
        all.data.shared[k / 32] |= shared ? 1u << k % 32 : 0u;
    }
    return all.elements;
}

// Whether the elements of each operand lie one after another, as packs do, or are all one.
template <int count> inline bool in_packs(const strided<count> &all, const size_t *sizes, int width) {
    for (int k = 0; k < count; ++k) {
        if (all.data.is_shared(k)) {
            continue;
        }
        int64_t step = static_cast<int64_t>(sizes[k]);
        if (reinterpret_cast<uintptr_t>(all.data.at[k]) % (sizes[k] * static_cast<size_t>(width)) != 0) {
            return false;
        }
        for (int dim = 0; dim < all.rank; ++dim) {
            if (all.sizes[dim] != 1 && all.strides[k][dim] != step) {
                return false;
            }
            step *= all.sizes[dim];
        }
    }
    return true;
}

inline unsigned blocks_for(int64_t threads) {
    constexpr int64_t most = INT32_MAX;
    const int64_t blocks = (threads + block_size - 1) / block_size;
    return static_cast<unsigned>(blocks < 1 ? 1 : blocks < most ? blocks : most);
}

// Puts an elementwise grid on the stream: the one that goes by packs where operands lie so, else the one for any strides.
template <class Packs, class Strided, class... R, class... A>
inline int map(const kernel<Packs> &packs, const kernel<Strided> &any_strides, const ks_cuda *device, results<R...>, arguments<A...>,
               char *const *data, const int64_t *strides, const int64_t *sizes, int rank, const int64_t *numbers) {
    constexpr int count = sizeof...(R) + sizeof...(A), width = width_of<R..., A...>;
    strided<count> all;
    const int64_t n = describe(all, data, strides, sizes, rank, numbers);
    if (n <= 0) {
        return static_cast<int>(n);
    }
    const size_t bytes[] = {sizeof(R)..., sizeof(A)...};
    if (in_packs(all, bytes, width)) {
        void *given[] = {&all.data, const_cast<int64_t *>(&n)};
        return packs.start(device, blocks_for((n + width * packs_in_flight - 1) / (width * packs_in_flight)), given);
    }
    void *given[] = {&all};
    return any_strides.start(device, blocks_for(n), given);
}

// The same for a lane that gets a runtime, and memory for itself where it `needs` that.
template <class Kernel, class... R, class... A>
inline int map_checked(const kernel<Kernel> &each, const ks_cuda *device, memory needs, results<R...>, arguments<A...>,
                       char *const *data, const int64_t *strides, const int64_t *sizes, int rank, const int64_t *numbers) {
    strided<sizeof...(R) + sizeof...(A)> all;
    const int64_t n = describe(all, data, strides, sizes, rank, numbers);
    if (n <= 0) {
        return static_cast<int>(n);
    }
    grid about = grid_of(device);
    void *given[] = {&about, &all};
    int64_t most = int64_t{block_size} * (device->most_blocks > 0 ? device->most_blocks : INT32_MAX);
    if (needs == own_memory) {
        // More threads than have memory would only come and go.
        const int64_t share = about.scratch_per_thread > 16 ? about.scratch_per_thread : 16;
        const int64_t fed = about.scratch_bytes / share;
        most = fed < most ? fed : most;
    }
    return each.start(device, blocks_for(n < most ? n : most), given);
}

}  // namespace ks

#endif

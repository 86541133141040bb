// A loop whose iterations the threads of the grid share, each with its own memory, and what they combine in the end.
#ifndef KS_CUDA_PARALLEL_H
#define KS_CUDA_PARALLEL_H

#include <cstdint>
#include <type_traits>

#include "ks/cuda/bulk.h"
#include "ks/cuda/runtime.h"
#include "ks/tensor.h"

namespace ks {

// Whether iterations allocate: threads then have memory of their own, maybe not all of them.
enum memory { no_memory, own_memory };

// Numbers.

template <class T> __device__ inline T from_below(T value, int lanes) { return __shfl_down_sync(0xffffffffu, value, lanes); }
__device__ inline int64_t from_below(int64_t value, int lanes) {
    return __shfl_down_sync(0xffffffffu, static_cast<long long>(value), lanes);
}
__device__ inline bool from_below(bool value, int lanes) {
    return __shfl_down_sync(0xffffffffu, static_cast<int>(value), lanes) != 0;
}

// What all threads of the block give, combined in an order that is always the same; all of them receive it.
template <class T, class Combine> __device__ inline T combined_in_block(T value, const Combine &combine) {
    KS_SHARED(T, of_warps, block_size / warp_size);
    for (int lanes = warp_size / 2; lanes > 0; lanes /= 2) {
        value = combine(value, from_below(value, lanes));
    }
    if (threadIdx.x % warp_size == 0) {
        of_warps[threadIdx.x / warp_size] = value;
    }
    __syncthreads();
    value = of_warps[0];
    for (int warp = 1; warp < block_size / warp_size; ++warp) {
        value = combine(value, of_warps[warp]);
    }
    __syncthreads();
    return value;
}

// A number that all iterations contribute to. The first thread goes on from what there is, each other one from `neutral`.
template <class T, class Combine> struct combined_number {
    T &total;
    T neutral;
    Combine combine;
    T mine;

    __device__ combined_number(T &total, T neutral, Combine combine)
        : total(total), neutral(neutral), combine(combine), mine(neutral) {}

    static constexpr int numbers = 1;
    static constexpr bool is_staged = false;
    __device__ static bool is_finished() { return false; }
    __device__ T &itself() const { return total; }
    __device__ int64_t limit(const runtime &, int64_t threads) const { return threads; }
    __device__ void divide(runtime &rt, int64_t, char *, int64_t &) { mine = rt.thread() == 0 ? total : neutral; }
    __device__ T &part() { return mine; }
    __device__ void contribute(const runtime &rt, int &slot) const {
        const T of_block = combined_in_block(mine, combine);
        if (threadIdx.x == 0) {
            rt.partials<T>(slot)[blockIdx.x] = of_block;
        }
        ++slot;
    }
    __device__ void finish(runtime &rt, int64_t, int &slot) const {
        const T *const of_blocks = rt.partials<T>(slot);
        T value = neutral;
        for (unsigned block = threadIdx.x; block < gridDim.x; block += blockDim.x) {
            value = combine(value, of_blocks[block]);
        }
        total = combined_in_block(value, combine);
        ++slot;
    }
};

// Tensors of which each thread has one for itself, to be combined in the order of the threads.

constexpr int64_t most_parts = 4096;
constexpr int64_t most_part_bytes = int64_t{64} << 20;

template <class T, int rank> struct parts_of {
    T *first = nullptr;

    __device__ static int64_t limit(const tensor<T, rank> &total, int64_t threads) {
        const int64_t bytes = total.count() * static_cast<int64_t>(sizeof(T));
        int64_t most = bytes > 0 ? most_part_bytes / bytes : most_parts;
        most = most < 1 ? 1 : most < most_parts ? most : most_parts;
        return most < threads ? most : threads;
    }
    __device__ void divide(runtime &rt, const tensor<T, rank> &total, int64_t active, T neutral) {
        first = rt.alloc<T>((active - 1) * total.count());
        const int64_t k = rt.thread();
        if (k > 0 && k < active) {
            const auto own = part(total, k);
            for (int64_t i = 0; i < own.count(); ++i) {
                own.data[i] = neutral;
            }
        }
    }
    __device__ tensor<T, rank> part(const tensor<T, rank> &total, int64_t k) const {
        return k == 0 ? total : tensor<T, rank>::at(first + (k - 1) * total.count(), total.size);
    }
    template <class Combine>
    __device__ void merge(runtime &rt, const tensor<T, rank> &total, int64_t active, const Combine &combine) const {
        const int64_t count = total.count();
        for (int64_t i = rt.thread(); i < count; i += rt.threads()) {
            T value = total.data[i];
            for (int64_t k = 1; k < active; ++k) {
                value = combine(value, first[(k - 1) * count + i]);
            }
            total.data[i] = value;
        }
        rt.part_ways();
    }
};

template <class T, int rank, class Combine> struct combined_tensor {
    tensor<T, rank> total;
    T neutral;
    Combine combine;
    int64_t thread = 0;
    parts_of<T, rank> parts = {};

    static constexpr int numbers = 0;
    static constexpr bool is_staged = false;
    __device__ static bool is_finished() { return false; }
    __device__ tensor<T, rank> itself() const { return total; }
    __device__ int64_t limit(const runtime &, int64_t threads) const { return parts.limit(total, threads); }
    __device__ void divide(runtime &rt, int64_t active, char *, int64_t &) {
        thread = rt.thread();
        parts.divide(rt, total, active, neutral);
    }
    __device__ tensor<T, rank> part() const { return parts.part(total, thread); }
    __device__ void contribute(const runtime &, int &) const {}
    __device__ void finish(runtime &rt, int64_t active, int &) const { parts.merge(rt, total, active, combine); }
};

// Sums of tensors.

template <class T> struct sum_of {
    __device__ T operator()(T a, T b) const { return static_cast<T>(a + b); }
};

// Adds where other threads may add at the same time. Neighbouring threads often add to the same place, since each goes through
// the same loops: then one of a warp adds for all of it.
template <class T> __device__ inline void add_together(T *place, T amount) {
#ifdef __CUDACC__
    const unsigned here = __activemask();
    int same = 0;
    if (here == 0xffffffffu) {
        __match_all_sync(here, reinterpret_cast<unsigned long long>(place), &same);
    }
    if (same != 0) {
        for (int lanes = warp_size / 2; lanes > 0; lanes /= 2) {
            amount += from_below(amount, lanes);
        }
        if (threadIdx.x % warp_size != 0) {
            return;
        }
    }
#endif
    atomicAdd(place, amount);
}

// An element that several threads may add to at the same time.
template <class T> struct shared_element {
    T *place;
    __device__ void operator+=(T amount) const { add_together(place, amount); }
    __device__ void operator-=(T amount) const { add_together(place, -amount); }
};

template <class T, int rank> struct shared_tensor : private tensor<T, rank> {
    using tensor<T, rank>::size;
    using tensor<T, rank>::count;

    __device__ shared_tensor(const tensor<T, rank> &whole) : tensor<T, rank>(whole) {}
    template <class... Index> __device__ shared_element<T> operator()(Index... indices) const {
        return {&tensor<T, rank>::operator()(indices...)};
    }
    __device__ shared_element<T> operator[](int64_t k) const { return {this->data + k}; }
    template <class... Index>
    __device__ shared_tensor<T, rank - static_cast<int>(sizeof...(Index))> part(Index... indices) const {
        return tensor<T, rank>::part(indices...);
    }
};

template <class T, int rank>
__device__ inline void add_to(runtime &rt, const shared_tensor<T, rank> &target, const tensor<T, rank> &amount, int line) {
    for (int k = 0; k < rank; ++k) {
        if (target.size[k] != amount.size[k]) {
            rt.fail(KS_ERROR_INDEX, line, "tensors of different sizes");
        }
    }
    for (int64_t k = 0; k < amount.count(); ++k) {
        target[k] += amount.data[k];
    }
}

// Small tensors are summed up in the memory of each block first.
constexpr int64_t staged_bytes = 16384;

template <class T, int rank> struct summed_tensor {
    tensor<T, rank> total;
    int64_t thread = 0;
    bool in_parts = false;
    T *staged = nullptr;
    parts_of<T, rank> parts = {};

    static constexpr int numbers = 0;
    static constexpr bool is_staged = true;
    // Whether what the threads contributed is all there is to do.
    __device__ bool is_finished() const { return !in_parts; }
    __device__ shared_tensor<T, rank> itself() const { return total; }
    __device__ int64_t limit(const runtime &rt, int64_t threads) const {
        return rt.is_deterministic() ? parts.limit(total, threads) : threads;
    }
    __device__ void divide(runtime &rt, int64_t active, char *pool, int64_t &used) {
        in_parts = rt.is_deterministic();
        thread = rt.thread();
        if (in_parts) {
            parts.divide(rt, total, active, T{0});
            return;
        }
        const int64_t count = total.count();
        if (count <= (staged_bytes - used) / static_cast<int64_t>(sizeof(T))) {
            staged = reinterpret_cast<T *>(pool + used);
            used += (count * static_cast<int64_t>(sizeof(T)) + 7) / 8 * 8;
            for (int64_t i = threadIdx.x; i < count; i += blockDim.x) {
                staged[i] = T{0};
            }
        }
    }
    __device__ shared_tensor<T, rank> part() const {
        return in_parts ? parts.part(total, thread) : staged != nullptr ? tensor<T, rank>::at(staged, total.size) : total;
    }
    __device__ void contribute(const runtime &, int &) const {
        if (staged != nullptr) {
            for (int64_t i = threadIdx.x; i < total.count(); i += blockDim.x) {
                if (staged[i] != T{0}) {
                    atomicAdd(total.data + i, staged[i]);
                }
            }
        }
    }
    __device__ void finish(runtime &rt, int64_t active, int &) const {
        if (in_parts) {
            parts.merge(rt, total, active, sum_of<T>());
        }
    }
};

template <class T, class Combine> __device__ inline combined_number<T, Combine> combined(T &total, T neutral, Combine combine) {
    return {total, neutral, combine};
}
template <class T, int rank, class Combine>
__device__ inline combined_tensor<T, rank, Combine> combined(tensor<T, rank> total, T neutral, Combine combine) {
    return {total, neutral, combine};
}
template <class T> __device__ inline combined_number<T, sum_of<T>> summed(T &total) { return {total, T{0}, {}}; }
template <class T, int rank> __device__ inline summed_tensor<T, rank> summed(tensor<T, rank> total) { return {total}; }

// Calls body(rt, first, last, own...) for ranges that make up [0, n), on all threads that are here. `own` are the results that
// iterations share, each `combined` or `summed`. Neighbouring threads take neighbouring iterations.
template <class Body, class... Own>
__device__ inline void parallel(runtime &rt, int64_t n, memory needs, const Body &body, Own... own) {
    if (rt.is_alone()) {
        body(rt, 0, n, own.itself()...);
        return;
    }
    rt.settle();
    const scratch all(rt);
    int64_t active = needs == own_memory ? rt.with_memory() : rt.threads();
    ((active = own.limit(rt, active)), ...);
    if constexpr ((Own::is_staged || ... || false)) {
        KS_SHARED(double, pool, staged_bytes / sizeof(double));
        int64_t used = 0;
        (own.divide(rt, active, reinterpret_cast<char *>(pool), used), ...);
        __syncthreads();
    } else {
        [[maybe_unused]] int64_t used = 0;
        (own.divide(rt, active, nullptr, used), ...);
    }
    runtime mine = rt.part(active);
    for (int64_t i = rt.thread(); rt.thread() < active && i < n; i += active) {
        body(mine, i, i + 1, own.part()...);
    }
    if constexpr ((Own::is_staged || ... || false)) {
        __syncthreads();
    }
    [[maybe_unused]] int slot = 0;
    (own.contribute(rt, slot), ...);
    if (!(own.is_finished() && ...)) {
        rt.meet();
        slot = 0;
        (own.finish(rt, active, slot), ...);
    } else {
        rt.part_ways();
    }
    if constexpr ((Own::numbers + ... + 0) > 0) {
        rt.swap_partials();
    }
}

}  // namespace ks

#endif

// Lifting a scalar function over the lanes of strided arrays: the loop inside every elementwise entry.
#ifndef KS_MAP_H
#define KS_MAP_H

#include <cstddef>
#include <cstdint>
#include <utility>

#include "ks/arena.h"
#include "ks/macros.h"
#include "ks/runtime.h"

namespace ks {

// The storage types of a kernel's results and arguments, in the order of its operands.
template <class... T> struct results {};
template <class... T> struct arguments {};

// Operands that are not contiguous pass through buffers of this many lanes, which stay in the first-level cache.
constexpr int64_t lanes_per_block = 256;

// The vectorised loop. A result never overlaps another operand, hence ivdep.
template <class... R, class... A, size_t... r, size_t... a, class F>
inline void map_contiguous(char *const *data, int64_t n, F f, results<R...>, arguments<A...>,
                           std::index_sequence<r...>, std::index_sequence<a...>) {
    char *const operand[] = {data[r]..., data[sizeof...(R) + a]..., nullptr};
#ifdef __clang__
#pragma clang loop vectorize(assume_safety)
#else
#pragma GCC ivdep
#endif
    for (int64_t i = 0; i < n; ++i) {
        f(reinterpret_cast<const A *>(operand[sizeof...(R) + a])[i]..., reinterpret_cast<R *>(operand[r])[i]...);
    }
}
// One operand of `map`: whole lanes where it is contiguous, else a block of them copied to and fro.
template <class T> struct lanes {
    char *data;
    int64_t stride;
    T block[lanes_per_block];

    bool contiguous() const { return stride == int64_t{sizeof(T)}; }

    // Where the loop finds the lanes from `start` on; `load` says that they are read.
    char *at(int64_t start, int64_t count, bool load) {
        if (contiguous()) {
            return data + start * stride;
        }
        // A value shared by all lanes stays in the block that it filled the first time.
        if (load && (stride != 0 || start == 0)) {
            gather(start, count);
        }
        return reinterpret_cast<char *>(block);
    }

    __attribute__((noinline)) void gather(int64_t start, int64_t count) {
        for (int64_t i = 0; i < count; ++i) {
            block[i] = *reinterpret_cast<const T *>(data + (start + i) * stride);
        }
    }

    __attribute__((noinline)) void scatter(int64_t start, int64_t count) const {
        for (int64_t i = 0; i < count; ++i) {
            *reinterpret_cast<T *>(data + (start + i) * stride) = block[i];
        }
    }
};

template <class... T> struct all_lanes;

template <> struct all_lanes<> {
    all_lanes(char *const *, const int64_t *) {}
    bool contiguous() const { return true; }
    void at(int64_t, int64_t, bool, char **) {}
    void store(int64_t, int64_t) const {}
};

template <class T, class... Rest> struct all_lanes<T, Rest...> {
    lanes<T> first;
    all_lanes<Rest...> rest;

    all_lanes(char *const *data, const int64_t *strides) : rest(data + 1, strides + 1) {
        first.data = data[0];
        first.stride = strides[0];
    }
    bool contiguous() const { return first.contiguous() && rest.contiguous(); }
    void at(int64_t start, int64_t count, bool load, char **where) {
        where[0] = first.at(start, count, load);
        rest.at(start, count, load, where + 1);
    }
    void store(int64_t start, int64_t count) const {
        if (!first.contiguous()) {
            first.scatter(start, count);
        }
        rest.store(start, count);
    }
};

// Calls f(argument..., result &...) for each of n lanes. `data` and `strides` (in bytes) list results, then arguments.
template <class... R, class... A, class F>
inline int map(results<R...> out, arguments<A...> in, char *const *data, const int64_t *strides, int64_t n, F f) {
    all_lanes<R...> written(data, strides);
    all_lanes<A...> read(data + sizeof...(R), strides + sizeof...(R));
    const int64_t step = written.contiguous() && read.contiguous() ? n : lanes_per_block;
    for (int64_t start = 0; start < n; start += step) {
        const int64_t count = n - start < step ? n - start : step;
        char *where[sizeof...(R) + sizeof...(A) + 1];
        written.at(start, count, false, where);
        read.at(start, count, true, where + sizeof...(R));
        map_contiguous(where, count, f, out, in, std::index_sequence_for<R...>{}, std::index_sequence_for<A...>{});
        written.store(start, count);
    }
    return 0;
}

// The same for a function that may stop the kernel or needs scratch memory, which it gets as its first argument.
template <class... R, class... A, size_t... r, size_t... a, class F>
inline int map_each(const ks_runtime *host, results<R...>, arguments<A...>, std::index_sequence<r...>,
                    std::index_sequence<a...>, char *const *data, const int64_t *strides, int64_t n, F f) {
    constexpr size_t outs = sizeof...(R);
    runtime rt(host);
    try {
        for (int64_t i = 0; i < n; ++i) {
            scratch lane(rt);
            f(rt, *reinterpret_cast<const A *>(data[outs + a] + i * strides[outs + a])...,
              *reinterpret_cast<R *>(data[r] + i * strides[r])...);
        }
        return 0;
    } catch (const stop &) {
        return 1;
    }
}

template <class... R, class... A, class F>
inline int map_checked(const ks_runtime *host, results<R...> out, arguments<A...> in, char *const *data,
                       const int64_t *strides, int64_t n, F f) {
    return map_each(host, out, in, std::index_sequence_for<R...>{}, std::index_sequence_for<A...>{}, data, strides, n, f);
}

}  // namespace ks

#endif

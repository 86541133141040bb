// What is done to all elements of a tensor at once, each thread of those that are here doing its share.
#ifndef KS_CUDA_BULK_H
#define KS_CUDA_BULK_H

#include <cstdint>
#include <type_traits>

#include "ks/cuda/runtime.h"
#include "ks/tensor.h"

namespace ks {

// Elements that one thread computes one after the other, to be stored 16 bytes at a time.
template <class T, int count> struct short_row {
    T of[count];

    __device__ T &operator()(int64_t k) { return of[k]; }
    __device__ T &operator[](int64_t k) { return of[k]; }

    template <int rank> __device__ void store(const tensor<T, rank> &target) const {
        constexpr int width = alignment / static_cast<int>(sizeof(T));
        static_assert(count % width == 0, "the row ends with a whole load");
        struct alignas(alignment) wide {
            T of[width];
        };
        T *const place = target.data;
        if (is_aligned(place)) {
            KS_UNROLLED
            for (int k = 0; k < count; k += width) {
                wide next;
                for (int i = 0; i < width; ++i) {
                    next.of[i] = of[k + i];
                }
                *reinterpret_cast<wide *>(place + k) = next;
            }
        } else {
            KS_UNROLLED
            for (int k = 0; k < count; ++k) {
                place[k] = of[k];
            }
        }
    }
};

// Calls f(k) for each k below `count`, before which all before it is done.
template <class F> __device__ inline void for_each(runtime &rt, int64_t count, const F &f) {
    rt.settle();
    const int64_t step = rt.threads();
    for (int64_t k = rt.thread(); k < count; k += step) {
        f(k);
    }
    rt.part_ways();
}

template <class T, int rank> __device__ inline tensor<T, rank> copy(runtime &rt, const tensor<T, rank> &source) {
    const auto fresh = tensor<T, rank>::like(rt, source.size);
    for_each(rt, source.count(), [=](int64_t k) { fresh.data[k] = source.data[k]; });
    return fresh;
}

template <class T, int rank>
__device__ inline void require_same_sizes(runtime &rt, const tensor<T, rank> &a, const tensor<T, rank> &b, int line) {
    for (int k = 0; k < rank; ++k) {
        if (a.size[k] != b.size[k]) {
            rt.fail(KS_ERROR_INDEX, line, "tensors of different sizes");
        }
    }
}

// target[...] = source[...]
template <class T, int rank>
__device__ inline void put(runtime &rt, const tensor<T, rank> &target, const tensor<T, rank> &source, int line) {
    require_same_sizes(rt, target, source, line);
    for_each(rt, source.count(), [=](int64_t k) { target.data[k] = source.data[k]; });
}

// target[...] = operation(target[...], value[...])
template <class T, int rank, class Operation>
__device__ inline void combine(
    runtime &rt, const tensor<T, rank> &target, const tensor<T, rank> &value, int line, Operation operation) {
    require_same_sizes(rt, target, value, line);
    for_each(rt, value.count(), [=](int64_t k) { target.data[k] = operation(target.data[k], value.data[k]); });
}

// target[...] += amount[...]
template <class T, int rank>
__device__ inline void add_to(runtime &rt, const tensor<T, rank> &target, const tensor<T, rank> &amount, int line) {
    combine(rt, target, amount, line, [](T a, T b) { return static_cast<T>(a + b); });
}

template <class T, int rank> __device__ inline void fill(runtime &rt, const tensor<T, rank> &target, T value) {
    for_each(rt, target.count(), [=](int64_t k) { target.data[k] = value; });
}

template <class T> __device__ inline void copy_elements(runtime &rt, T *to, const T *from, int64_t count) {
    for_each(rt, count, [=](int64_t k) { to[k] = from[k]; });
}

// What one thread says to the others: values one after the other, each at a place of its own.
constexpr int64_t said_bytes = 16 + 8 * 2 * KS_CUDA_MOST_DIMENSIONS;
__device__ inline void say(char *) {}
template <class T, class... Rest> __device__ inline void say(char *place, const T &value, const Rest &...rest) {
    static_assert(sizeof(T) <= said_bytes, "a value has its place");
    *reinterpret_cast<T *>(place) = value;
    say(place + said_bytes, rest...);
}
__device__ inline void hear(const char *) {}
template <class T, class... Rest> __device__ inline void hear(const char *place, T &value, Rest &...rest) {
    value = *reinterpret_cast<const T *>(place);
    hear(place + said_bytes, rest...);
}

// Runs what stores elements one after the other on one of the threads that are here; the others wait, and are told the values
// that it changes.
template <class Body, class... Value> __device__ inline void lead(runtime &rt, const Body &body, Value &...values) {
    if (rt.is_alone()) {
        body(rt);
        return;
    }
    char *const said = rt.alloc<char>(said_bytes * (1 + sizeof...(values)));
    rt.settle();
    if (rt.thread() == 0) {
        runtime mine = rt.leader();
        body(mine);
        say(said, mine.used(), values...);
    }
    rt.meet();
    int64_t used = 0;
    hear(said, used, values...);
    rt.go_on(used);
}

// One element, written by one of the threads that are here; the others wait.
template <class T> __device__ inline void store(runtime &rt, T &place, const std::type_identity_t<T> &value) {
    rt.settle();
    if (rt.thread() == 0) {
        place = value;
    }
    rt.part_ways();
}
template <class T> __device__ inline void add(runtime &rt, T &place, const std::type_identity_t<T> &amount) {
    rt.settle();
    if (rt.thread() == 0) {
        place += amount;
    }
    rt.part_ways();
}

}  // namespace ks

#endif

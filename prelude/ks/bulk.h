// What is done to all elements of a tensor at once.
#ifndef KS_BULK_H
#define KS_BULK_H

#include <cstdint>

#include "ks/arena.h"
#include "ks/tensor.h"

namespace ks {

// One element, or `count` of them; out of line, as compilers make some forty blocks of each such loop.
template <class T> inline void store(runtime &, T &place, const T &value) { place = value; }
template <class T> KS_NOINLINE void copy_elements(runtime &, T *to, const T *from, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
        to[i] = from[i];
    }
}

template <class T, int rank> inline tensor<T, rank> copy(runtime &rt, const tensor<T, rank> &source) {
    const auto fresh = tensor<T, rank>::like(rt, source.size);
    copy_elements(rt, fresh.data, source.data, source.count());
    return fresh;
}

template <class T, int rank>
inline void require_same_sizes(runtime &rt, const tensor<T, rank> &a, const tensor<T, rank> &b, int line) {
    for (int k = 0; k < rank; ++k) {
        if (a.size[k] != b.size[k]) {
            rt.fail(KS_ERROR_INDEX, line, "tensors of different sizes");
        }
    }
}

// target[...] = source[...]
template <class T, int rank>
inline void put(runtime &rt, const tensor<T, rank> &target, const tensor<T, rank> &source, int line) {
    require_same_sizes(rt, target, source, line);
    copy_elements(rt, target.data, source.data, source.count());
}

// target[...] = operation(target[...], value[...])
template <class T, int rank, class Operation>
inline void combine(runtime &rt, const tensor<T, rank> &target, const tensor<T, rank> &value, int line, Operation operation) {
    require_same_sizes(rt, target, value, line);
    const int64_t count = value.count();
    for (int64_t i = 0; i < count; ++i) {
        target.data[i] = operation(target.data[i], value.data[i]);
    }
}

// target[...] += amount[...]
template <class T, int rank>
inline void add_to(runtime &rt, const tensor<T, rank> &target, const tensor<T, rank> &amount, int line) {
    combine(rt, target, amount, line, [](T a, T b) { return static_cast<T>(a + b); });
}

template <class T, int rank> inline void fill(const tensor<T, rank> &target, T value) {
    const int64_t count = target.count();
    for (int64_t i = 0; i < count; ++i) {
        target.data[i] = value;
    }
}

}  // namespace ks

#endif

// Tensors inside a kernel: contiguous, row-major, in the arena; never copied or freed by themselves.
#ifndef KS_TENSOR_H
#define KS_TENSOR_H

#include <cstddef>
#include <cstdint>
#include <utility>

#include "ks/arena.h"

namespace ks {

// No dimension is larger, not even of a tensor without elements: sums and multiples of a few sizes fit into 64 bits.
constexpr int64_t largest_size = int64_t{1} << 48;

template <class T, int rank> struct tensor {
    T *data = nullptr;
    int64_t size[rank] = {};

    tensor() = default;

    // Uninitialised; a size below zero counts as zero.
    template <class... Size> explicit tensor(runtime &rt, Size... sizes) : size{(sizes > 0 ? int64_t{sizes} : 0)...} {
        static_assert(sizeof...(Size) == rank, "one size per dimension");
        allocate(rt);
    }

    static tensor like(runtime &rt, const int64_t *sizes) {
        tensor fresh;
        for (int k = 0; k < rank; ++k) {
            fresh.size[k] = sizes[k];
        }
        fresh.allocate(rt);
        return fresh;
    }

    // What lies at `data` already.
    static tensor at(T *data, const int64_t *sizes) {
        tensor view;
        view.data = data;
        for (int k = 0; k < rank; ++k) {
            view.size[k] = sizes[k];
        }
        return view;
    }

    int64_t count() const {
        int64_t product = 1;
        for (int k = 0; k < rank; ++k) {
            product *= size[k];
        }
        return product;
    }

    template <class... Index> T &operator()(Index... indices) const {
        static_assert(sizeof...(Index) == rank, "one index per dimension");
        return data[offset(indices...)];
    }

    // The k-th element in memory.
    T &operator[](int64_t k) const { return data[k]; }

    // What is left where the leading dimensions are indexed.
    template <class... Index> tensor<T, rank - static_cast<int>(sizeof...(Index))> part(Index... indices) const {
        return rest(offset(indices...), std::make_index_sequence<rank - sizeof...(Index)>{});
    }

  private:
    // Without a loop, which would keep those around from being vectorised.
    template <size_t... k> tensor<T, static_cast<int>(sizeof...(k))> rest(int64_t place, std::index_sequence<k...>) const {
        constexpr size_t leading = rank - sizeof...(k);
        tensor<T, static_cast<int>(sizeof...(k))> rest;
        int64_t step = 1;
        ((rest.size[k] = size[leading + k], step *= size[leading + k]), ...);
        rest.data = data + place * step;
        return rest;
    }

    template <class... Index> int64_t offset(Index... indices) const {
        int64_t place = 0;
        int k = 0;
        ((place = place * size[k] + indices, ++k), ...);
        return place;
    }

    void allocate(runtime &rt) {
        int64_t product = 1;
        for (int k = 0; k < rank; ++k) {
            if (size[k] > largest_size || __builtin_mul_overflow(product, size[k], &product)) {
                rt.fail(KS_ERROR_MEMORY, 0, "a temporary tensor is too large");
            }
        }
        data = rt.alloc<T>(product);
    }
};

template <class T, int rank> inline tensor<T, rank> copy(runtime &rt, const tensor<T, rank> &source) {
    const auto fresh = tensor<T, rank>::like(rt, source.size);
    const int64_t count = source.count();
    for (int64_t i = 0; i < count; ++i) {
        fresh.data[i] = source.data[i];
    }
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
    const int64_t count = source.count();
    for (int64_t i = 0; i < count; ++i) {
        target.data[i] = source.data[i];
    }
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

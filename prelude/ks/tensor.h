// Tensors inside a kernel: contiguous, row-major, in the arena; never copied or freed by themselves.
#ifndef KS_TENSOR_H
#define KS_TENSOR_H

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "ks/macros.h"
#ifndef KS_CUDA
#include "ks/arena.h"
#endif

namespace ks {

// No dimension is larger, not even of a tensor without elements: sums and multiples of a few sizes fit into 64 bits.
constexpr int64_t largest_size = int64_t{1} << 48;

// In how many bits places in a tensor of several dimensions are computed. Kernels for GPUs may say 32, and stop where a tensor is
// too large for that.
#ifndef KS_OFFSETS
#define KS_OFFSETS 64
#endif
#if KS_OFFSETS == 32
using offset_type = int32_t;
#ifndef KS_MOST_ELEMENTS
#define KS_MOST_ELEMENTS INT32_MAX
#endif
#else
using offset_type = int64_t;
#endif

// Stops a kernel that meets a tensor of so many elements, where offsets do not reach them.
KS_KERNEL_FN void require_reach(runtime &rt, int64_t elements) {
#if KS_OFFSETS == 32
    if (elements > KS_MOST_ELEMENTS) {
        rt.fail(KS_ERROR_OFFSETS, 0, "a tensor has more elements than offsets of 32 bits reach");
    }
#else
    (void)rt;
    (void)elements;
#endif
}

// Multiplies two sizes; whether the product has more than 63 bits.
KS_KERNEL_FN bool too_large(int64_t a, int64_t b, int64_t *product) {
#ifdef __CUDACC__
    *product = static_cast<int64_t>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
    return __mul64hi(a, b) != 0 || *product < 0;
#else
    return __builtin_mul_overflow(a, b, product);
#endif
}

// The number of elements of a temporary tensor.
template <class... Size> KS_KERNEL_FN int64_t count_of(runtime &rt, Size... sizes) {
    int64_t product = 1;
    if (((sizes > largest_size || too_large(product, sizes, &product)) || ...)) {
        rt.fail(KS_ERROR_MEMORY, 0, "a temporary tensor is too large");
    }
    require_reach(rt, product);
    return product;
}

#ifndef KS_CUDA
// Whether the product of sizes, none below zero, surely is a size.
template <class... Size> inline bool are_small(Size... sizes) { return ((sizes | ...) >> 48 / sizeof...(Size)) == 0; }

// Uninitialised memory for a tensor where there is none at hand. Out of line: a long kernel makes hundreds, and compilers
// take more than twice as long for twice the branches.
template <class... Size> KS_NOINLINE void *memory_of(runtime &rt, int64_t element, Size... sizes) {
    return rt.alloc_bytes(count_of(rt, sizes...), element);
}
#endif

template <class T, int rank> struct tensor {
    T *data = nullptr;
    int64_t size[rank] = {};

    tensor() = default;

    // Uninitialised; a size below zero counts as zero.
    template <class... Size> KS_KERNEL_FN explicit tensor(runtime &rt, Size... sizes) : size{(sizes > 0 ? int64_t{sizes} : 0)...} {
        static_assert(sizeof...(Size) == rank, "one size per dimension");
        allocate<(std::is_same_v<Size, int> && ...)>(rt, std::make_index_sequence<rank>{});
    }

    KS_KERNEL_FN static tensor like(runtime &rt, const int64_t *sizes) {
        tensor fresh;
        for (int k = 0; k < rank; ++k) {
            fresh.size[k] = sizes[k];
        }
        fresh.template allocate<false>(rt, std::make_index_sequence<rank>{});
        return fresh;
    }

    // What lies at `data` already.
    KS_KERNEL_FN static tensor at(T *data, const int64_t *sizes) {
        tensor view;
        view.data = data;
        for (int k = 0; k < rank; ++k) {
            view.size[k] = sizes[k];
        }
        return view;
    }

    KS_KERNEL_FN int64_t count() const {
        int64_t product = 1;
        for (int k = 0; k < rank; ++k) {
            product *= size[k];
        }
        return product;
    }

    template <class... Index> KS_KERNEL_FN T &operator()(Index... indices) const {
        static_assert(sizeof...(Index) == rank, "one index per dimension");
        return data[offset(indices...)];
    }

    // The k-th element in memory.
    KS_KERNEL_FN T &operator[](int64_t k) const { return data[k]; }

    // What is left where the leading dimensions are indexed.
    template <class... Index>
    KS_KERNEL_FN tensor<T, rank - static_cast<int>(sizeof...(Index))> part(Index... indices) const {
        return rest(offset(indices...), std::make_index_sequence<rank - sizeof...(Index)>{});
    }

  private:
    // Without a loop, which would keep those around from being vectorised.
    template <size_t... k>
    KS_KERNEL_FN tensor<T, static_cast<int>(sizeof...(k))> rest(int64_t place, std::index_sequence<k...>) const {
        constexpr size_t leading = rank - sizeof...(k);
        tensor<T, static_cast<int>(sizeof...(k))> rest;
        int64_t step = 1;
        ((rest.size[k] = size[leading + k], step *= size[leading + k]), ...);
        rest.data = data + place * step;
        return rest;
    }

    template <class... Index> KS_KERNEL_FN int64_t offset(Index... indices) const {
        // The place of a single index is where it says, without any arithmetic.
        using place_type = std::conditional_t<(rank > 1), offset_type, int64_t>;
        place_type place = 0;
        int k = 0;
        ((place = place * static_cast<place_type>(size[k]) + static_cast<place_type>(indices), ++k), ...);
        return place;
    }

    // Sizes that are numbers in the text are `known`: of the arithmetic with them nothing is left.
    template <bool known, size_t... k> KS_KERNEL_FN void allocate(runtime &rt, std::index_sequence<k...>) {
#ifndef KS_CUDA
        if constexpr (!known) {
            const int64_t bytes = (int64_t{sizeof(T)} * ... * size[k]);
            data = static_cast<T *>(rt.next_piece());
            if (!rt.cut(bytes, are_small(size[k]...))) {
                data = static_cast<T *>(memory_of(rt, int64_t{sizeof(T)}, size[k]...));
            }
            return;
        }
#endif
        data = rt.alloc<T>(count_of(rt, size[k]...));
    }
};

// A tensor of constants, of which only elements are read.
template <class T, class... Size> inline tensor<T, sizeof...(Size)> table(const T *elements, Size... sizes) {
    const int64_t size[] = {sizes...};
    return tensor<T, sizeof...(Size)>::at(const_cast<T *>(elements), size);
}

}  // namespace ks

#endif

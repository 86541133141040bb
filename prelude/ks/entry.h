// Between a tensor entry and the function behind it: the host's descriptors in, the function's values out.
#ifndef KS_ENTRY_H
#define KS_ENTRY_H

#include <cstdint>
#include <type_traits>

#include "ks/arena.h"
#include "ks/half.h"
#include "ks/runtime.h"
#include "ks/tensor.h"

namespace ks {

// How a stored number is computed with: half precision in float, anything else as it is.
template <class Stored>
using computed = std::conditional_t<std::is_same_v<Stored, half> || std::is_same_v<Stored, bfloat16>, float, Stored>;

// Runs `body`, which may stop the kernel; nothing is thrown past here.
template <class Body> inline int enter(const ks_runtime *host, const ks_tensor *operands, Body body) {
    runtime rt(host, operands);
    return rt.guard([&] { body(rt); });
}

template <int rank> inline bool is_contiguous(const ks_tensor &operand) {
    if (operand.strides == nullptr) {
        return true;
    }
    int64_t step = 1;
    bool dense = true;
    for (int k = rank - 1; k >= 0; --k) {
        if (operand.sizes[k] == 0) {
            return true;
        }
        dense = dense && (operand.sizes[k] == 1 || operand.strides[k] == step);
        step *= operand.sizes[k];
    }
    return dense;
}

// Writes the elements of an operand of any strides one after another.
template <int rank, class T, class Stored> inline void gather(const ks_tensor &operand, int dim, const Stored *from, T *&to) {
    const int64_t stride = operand.strides[dim];
    for (int64_t i = 0; i < operand.sizes[dim]; ++i) {
        if (dim == rank - 1) {
            *to++ = static_cast<T>(from[i * stride]);
        } else {
            gather<rank>(operand, dim + 1, from + i * stride, to);
        }
    }
}

// An argument: in place where it is contiguous and stored as it is computed with, else copied to the arena.
template <class Stored, int rank> inline auto argument(runtime &rt, const ks_tensor &operand) {
    using T = computed<Stored>;
    if constexpr (rank == 0) {
        (void)rt;
        return static_cast<T>(*static_cast<const Stored *>(operand.data));
    } else {
        for (int k = 0; k < rank; ++k) {
            if (operand.sizes[k] > largest_size) {
                rt.fail(KS_ERROR_MEMORY, 0, "an argument is too large");
            }
        }
        const bool contiguous = is_contiguous<rank>(operand);
        if constexpr (std::is_same_v<T, Stored>) {
            if (contiguous) {
                return tensor<T, rank>::at(static_cast<T *>(operand.data), operand.sizes);
            }
        }
        const auto copied = tensor<T, rank>::like(rt, operand.sizes);
        const Stored *const stored = static_cast<const Stored *>(operand.data);
        if (contiguous) {
            const int64_t count = copied.count();
            for (int64_t i = 0; i < count; ++i) {
                copied.data[i] = static_cast<T>(stored[i]);
            }
        } else {
            T *to = copied.data;
            gather<rank>(operand, 0, stored, to);
        }
        return copied;
    }
}

// The same tensor, of sizes that the compiler knows; a size below zero stands for any.
template <int64_t... size, class T, int rank> inline tensor<T, rank> sized(runtime &rt, tensor<T, rank> value) {
    static_assert(sizeof...(size) == rank, "one size per dimension");
    constexpr int64_t known[rank] = {size...};
    for (int k = 0; k < rank; ++k) {
        if (known[k] >= 0) {
            if (value.size[k] != known[k]) {
                rt.fail(KS_ERROR_SHAPE, 0, "an argument has other sizes than the kernel was made for");
            }
            value.size[k] = known[k];
        }
    }
    return value;
}

template <int rank> inline bool is_empty(const int64_t *sizes) {
    bool empty = false;
    for (int k = 0; k < rank; ++k) {
        empty = empty || sizes[k] == 0;
    }
    return empty;
}

// What is empty may be so in another dimension: a loop without iterations does not know the sizes of its elements.
template <int rank> inline void require_sizes(runtime &rt, const ks_tensor &operand, const int64_t *sizes) {
    const bool empty = is_empty<rank>(sizes) && is_empty<rank>(operand.sizes);
    for (int k = 0; k < rank; ++k) {
        if (operand.sizes[k] != sizes[k] && !empty) {
            rt.fail(KS_ERROR_SHAPE, 0, "a result has other sizes than were computed for it");
        }
    }
}

// The memory of the k-th result, for a tensor that becomes it.
template <class T, class... Size> inline tensor<T, sizeof...(Size)> result(runtime &rt, int k, Size... sizes) {
    constexpr int rank = sizeof...(Size);
    const int64_t size[rank] = {sizes...};
    const ks_tensor &operand = rt.result(k);
    require_sizes<rank>(rt, operand, size);
    return tensor<T, rank>::at(static_cast<T *>(operand.data), size);
}

// A copy that becomes the k-th result.
template <class T, int rank> inline tensor<T, rank> result_copy(runtime &rt, int k, const tensor<T, rank> &source) {
    const ks_tensor &operand = rt.result(k);
    require_sizes<rank>(rt, operand, source.size);
    const auto place = tensor<T, rank>::at(static_cast<T *>(operand.data), source.size);
    put(rt, place, source, 0);
    return place;
}

// Hands a result over; one that was made in place is there already.
template <class Stored, class T> inline void give(runtime &, const ks_tensor &operand, const T &value) {
    *static_cast<Stored *>(operand.data) = static_cast<Stored>(value);
}

template <class Stored, class T, int rank>
inline void give(runtime &rt, const ks_tensor &operand, const tensor<T, rank> &value) {
    require_sizes<rank>(rt, operand, value.size);
    if (static_cast<const void *>(value.data) == operand.data) {
        return;
    }
    Stored *const place = static_cast<Stored *>(operand.data);
    const int64_t count = value.count();
    for (int64_t i = 0; i < count; ++i) {
        place[i] = static_cast<Stored>(value.data[i]);
    }
}

}  // namespace ks

#endif

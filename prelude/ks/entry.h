// Between a tensor entry and the function behind it: the host's descriptors in, the function's values out.
#ifndef KS_ENTRY_H
#define KS_ENTRY_H

#include <cstdint>
#include <type_traits>

#include "ks/arena.h"
#include "ks/half.h"
#include "ks/operand.h"
#include "ks/runtime.h"
#include "ks/tensor.h"

namespace ks {

// Runs `body`, which may stop the kernel; nothing is thrown past here.
template <class Body> inline int enter(const ks_runtime *host, const ks_tensor *operands, Body body) {
    runtime rt(host, operands);
    return rt.guard([&] { body(rt); });
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

// A tensor argument: in place where it is contiguous and stored as it is computed with, else copied to the arena. Compiled
// once for all arguments of a kind.
template <class Stored, int rank>
KS_NOINLINE tensor<computed<Stored>, rank> tensor_argument(runtime &rt, const ks_tensor &operand) {
    using T = computed<Stored>;
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

// An argument of any rank.
template <class Stored, int rank> inline auto argument(runtime &rt, const ks_tensor &operand) {
    if constexpr (rank == 0) {
        (void)rt;
        return static_cast<computed<Stored>>(*static_cast<const Stored *>(operand.data));
    } else {
        return tensor_argument<Stored, rank>(rt, operand);
    }
}

// Hands a result over; one that was made in place is there already.
template <class Stored, class T> inline void give(runtime &, const ks_tensor &operand, const T &value) {
    *static_cast<Stored *>(operand.data) = static_cast<Stored>(value);
}

template <class Stored, class T> KS_NOINLINE void hand_over(Stored *place, const T *value, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
        place[i] = static_cast<Stored>(value[i]);
    }
}

template <class Stored, class T, int rank>
inline void give(runtime &rt, const ks_tensor &operand, const tensor<T, rank> &value) {
    require_sizes<rank>(rt, operand, value.size);
    if (static_cast<const void *>(value.data) == operand.data) {
        return;
    }
    hand_over(static_cast<Stored *>(operand.data), value.data, value.count());
}

}  // namespace ks

#endif

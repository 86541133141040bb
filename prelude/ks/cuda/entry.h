// What a grid does around the function of a tensor entry: the host's operands become its arguments, and its values the results.
#ifndef KS_CUDA_ENTRY_H
#define KS_CUDA_ENTRY_H

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "ks/cuda/bulk.h"
#include "ks/cuda/indices.h"
#include "ks/cuda/runtime.h"
#include "ks/cuda/sized.h"
#include "ks/operand.h"

namespace ks {

// Where the k-th element in row-major order is.
template <int rank> __device__ inline int64_t place_of(const given &operand, int64_t k) {
    int64_t place = 0;
    for (int dim = rank - 1; dim >= 0; --dim) {
        place += remainder(k, operand.sizes[dim]) * operand.strides[dim];
        k = quotient(k, operand.sizes[dim]);
    }
    return place;
}

// A number of the host's.
template <class T> __device__ inline T number(const int64_t *bytes) {
    T value;
    memcpy(&value, bytes, sizeof value);
    return value;
}

// An argument: in place where it is contiguous and stored as it is computed with, else copied to scratch memory.
template <class Stored, int rank> __device__ inline auto argument(runtime &rt, const given &operand) {
    using T = computed<Stored>;
    const Stored *const stored = static_cast<const Stored *>(operand.data);
    if constexpr (rank == 0) {
        (void)rt;
        return static_cast<T>(stored != nullptr ? *stored : number<Stored>(operand.sizes));
    } else {
        for (int k = 0; k < rank; ++k) {
            if (operand.sizes[k] > largest_size) {
                rt.fail(KS_ERROR_MEMORY, 0, "an argument is too large");
            }
        }
        if constexpr (std::is_same_v<T, Stored>) {
            if (is_contiguous<rank>(operand)) {
                const auto there = tensor<T, rank>::at(static_cast<T *>(operand.data), operand.sizes);
                require_reach(rt, there.count());
                return there;
            }
        }
        const auto copied = tensor<T, rank>::like(rt, operand.sizes);
        for_each(rt, copied.count(), [&](int64_t k) { copied.data[k] = static_cast<T>(stored[place_of<rank>(operand, k)]); });
        return copied;
    }
}

// Hands a result over; one that was made in place is there already.
template <class Stored, class T> __device__ inline void give(runtime &rt, const given &operand, const T &value) {
    if (rt.thread() == 0) {
        *static_cast<Stored *>(operand.data) = static_cast<Stored>(value);
    }
}

template <class Stored, class T, int rank>
__device__ inline void give(runtime &rt, const given &operand, const tensor<T, rank> &value) {
    require_sizes<rank>(rt, operand, value.size);
    if (static_cast<const void *>(value.data) == operand.data) {
        return;
    }
    Stored *const place = static_cast<Stored *>(operand.data);
    for_each(rt, value.count(), [=](int64_t k) { place[k] = static_cast<Stored>(value.data[k]); });
}

}  // namespace ks

#endif

// What the entries of the CPU and of the GPU have in common: how the host's tensors become the function's, and the other way round.
#ifndef KS_OPERAND_H
#define KS_OPERAND_H

#include <cstdint>
#include <type_traits>

#include "ks/half.h"
#ifndef KS_CUDA
#include "ks/bulk.h"
#endif
#include "ks/tensor.h"

namespace ks {

// How a stored number is computed with: half precision in float, anything else as it is.
template <class Stored>
using computed = std::conditional_t<std::is_same_v<Stored, half> || std::is_same_v<Stored, bfloat16>, float, Stored>;

template <int rank, class Operand> KS_KERNEL_FN bool is_contiguous(const Operand &operand) {
    if (static_cast<const int64_t *>(operand.strides) == nullptr) {
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

// The same tensor, of sizes that the compiler knows; a size below zero stands for any.
template <int64_t... size, class T, int rank> KS_KERNEL_FN tensor<T, rank> sized(runtime &rt, tensor<T, rank> value) {
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

template <int rank> KS_KERNEL_FN bool is_empty(const int64_t *sizes) {
    bool empty = false;
    for (int k = 0; k < rank; ++k) {
        empty = empty || sizes[k] == 0;
    }
    return empty;
}

// What is empty may be so in another dimension: a loop without iterations does not know the sizes of its elements.
template <int rank, class Operand> KS_KERNEL_FN void require_sizes(runtime &rt, const Operand &operand, const int64_t *sizes) {
    bool same = true;
    for (int k = 0; k < rank; ++k) {
        same = same && operand.sizes[k] == sizes[k];
    }
    if (!same && !(is_empty<rank>(sizes) && is_empty<rank>(operand.sizes))) {
        rt.fail(KS_ERROR_SHAPE, 0, "a result has other sizes than were computed for it");
    }
}

// The memory of the k-th result, for a tensor that becomes it.
template <class T, class... Size> KS_KERNEL_FN tensor<T, sizeof...(Size)> result(runtime &rt, int k, Size... sizes) {
    constexpr int rank = sizeof...(Size);
    const int64_t size[rank] = {sizes...};
    const auto &operand = rt.result(k);
    require_sizes<rank>(rt, operand, size);
#ifdef KS_CUDA
    const int64_t count = (int64_t{1} * ... * sizes);
    require_reach(rt, count);
    return tensor<T, rank>::at(rt.result_place<T>(k, count), size);
#else
    return tensor<T, rank>::at(static_cast<T *>(operand.data), size);
#endif
}

// A copy that becomes the k-th result.
template <class T, int rank> KS_KERNEL_FN tensor<T, rank> result_copy(runtime &rt, int k, const tensor<T, rank> &source) {
    const auto &operand = rt.result(k);
    require_sizes<rank>(rt, operand, source.size);
    const auto place = tensor<T, rank>::at(static_cast<T *>(operand.data), source.size);
    put(rt, place, source, 0);
    return place;
}

}  // namespace ks

#endif

// Arguments of sizes that the compiler knows.
#ifndef KS_CUDA_SIZED_H
#define KS_CUDA_SIZED_H

#include <cstdint>

#include "ks/cuda/bulk.h"
#include "ks/cuda/runtime.h"
#include "ks/operand.h"
#include "ks/tensor.h"

namespace ks {

// A tensor of these sizes, of which one below zero stands for any; rows of whole packs of 16 bytes are aligned to them. A loop that
// is a function of its own, and given the tensor as one of many values, would know neither: so each access says it once more.
template <class T, int64_t... known> struct sized_tensor : tensor<T, static_cast<int>(sizeof...(known))> {
    static constexpr int rank = static_cast<int>(sizeof...(known));

    __device__ explicit sized_tensor(const tensor<T, rank> &value) : tensor<T, rank>(value) {}

    template <class... Index> __device__ T &operator()(Index... indices) const { return told()(indices...); }
    __device__ T &operator[](int64_t k) const { return told()[k]; }
    template <class... Index> __device__ auto part(Index... indices) const { return told().part(indices...); }

    __device__ static constexpr bool is_in_packs() {
        constexpr int64_t size[] = {known...};
        int64_t bytes = sizeof(T);
        for (int k = rank - 1; k > 0 && size[k] >= 0; --k) {
            bytes *= size[k];
        }
        return bytes % alignment == 0;
    }

  private:
    __device__ tensor<T, rank> told() const {
        constexpr int64_t size[] = {known...};
        tensor<T, rank> same = *this;
        for (int k = 0; k < rank; ++k) {
            same.size[k] = size[k] >= 0 ? size[k] : same.size[k];
        }
        if constexpr (is_in_packs()) {
            same.data = aligned(same.data);
        }
        return same;
    }
};

// An argument; one whose rows could be read in packs, but for where it begins, is copied.
template <int64_t... size, class T, int rank>
__device__ inline sized_tensor<T, size...> sized_argument(runtime &rt, const tensor<T, rank> &value) {
    tensor<T, rank> checked = sized<size...>(rt, value);
    if constexpr (sized_tensor<T, size...>::is_in_packs()) {
        if (!is_aligned(checked.data)) {
            checked = copy(rt, checked);
        }
    }
    return sized_tensor<T, size...>(checked);
}

}  // namespace ks

#endif

// Matrices as products take them: part of a tensor as it lies, or its transpose.
#ifndef KS_MATRIX_H
#define KS_MATRIX_H

#include <cstdint>

#include "ks/macros.h"
#include "ks/tensor.h"

namespace ks {

// A matrix whose element (i, j) lies at data[i * row + j * column].
template <class T> struct matrix {
    const T *data;
    int64_t row;
    int64_t column;

    KS_KERNEL_FN matrix from(int64_t i, int64_t j) const { return {data + i * row + j * column, row, column}; }
};

// A vector as a matrix of one row.
template <class T> KS_KERNEL_FN tensor<T, 2> one_row(tensor<T, 1> x) {
    const int64_t sizes[] = {1, x.size[0]};
    return tensor<T, 2>::at(x.data, sizes);
}

template <class T> KS_KERNEL_FN matrix<T> as_rows(tensor<T, 2> x) { return {x.data, x.size[1], 1}; }
template <class T> KS_KERNEL_FN matrix<T> transposed(tensor<T, 2> x) { return {x.data, 1, x.size[1]}; }

}  // namespace ks

#endif

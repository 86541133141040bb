// Products of matrices.
#ifndef KS_MULTIPLY_H
#define KS_MULTIPLY_H

#include <cstdint>

#include "ks/arena.h"
#include "ks/bulk.h"
#include "ks/macros.h"
#include "ks/matrix.h"
#include "ks/parallel.h"
#include "ks/sums.h"
#include "ks/tensor.h"
#include "ks/tiles.h"

namespace ks {

// Columns of c for one tile's width; `room` is for a packed panel of b.
template <class T> inline void multiply_columns(panel<T> now, matrix<T> b, T *room, int64_t parts) {
    const int64_t whole = parts * tile<T>::lanes;
    now.b = b.data;
    now.b_row = b.row;
    if (b.column != 1 || now.width < whole || now.rows > tile<T>::few_rows) {
        pack_panel(room, whole, b, now.depth, now.width);
        now.b = room;
        now.b_row = whole;
    }
    multiply_panel(now, parts);
}

// On one thread, where neither `rows`, `columns` nor `depth` is zero.
template <class T>
KS_NOINLINE void multiply_tiles(runtime &rt, T *c, int64_t c_row, matrix<T> a, matrix<T> b, int64_t rows, int64_t columns,
                                int64_t depth) {
    typedef tile<T> own;
    const auto least = [](int64_t x, int64_t y) { return x < y ? x : y; };
    const scratch region(rt);
    const bool packs_a = columns > (a.column == 1 ? own::few_columns : own::few_turned);
    const int64_t deep = least(depth, own::depth);
    T *const room_a = packs_a ? rt.alloc<T>(deep * least(rows + own::rows, own::block)) : nullptr;
    T *const room_b = rt.alloc<T>(deep * least(columns + own::lanes, own::parts * own::lanes));
    panel<T> now;
    now.c_row = c_row;
    for (int64_t i = 0; i < rows; i += own::block) {
        now.rows = least(rows - i, own::block);
        for (int64_t k = 0; k < depth; k += own::depth) {
            now.depth = least(depth - k, own::depth);
            now.onward = k > 0;
            now.a = a.from(i, k);
            now.a_tile = own::rows * a.row;
            if (packs_a) {
                now.a_tile = own::rows * now.depth;
                for (int64_t l = 0; l < now.rows; l += own::rows) {
                    const matrix<T> turned{now.a.data + l * a.row, a.column, a.row};
                    pack_panel<T>(room_a + l * now.depth, own::rows, turned, now.depth, least(now.rows - l, own::rows));
                }
                now.a = {room_a, 1, own::rows};
            }
            int64_t parts;
            for (int64_t j = 0; j < columns; j += parts * own::lanes) {
                const int64_t left = (columns - j + own::lanes - 1) / own::lanes;
                // Two and two, rather than three and one.
                parts = left == 4 ? 2 : least(left, own::parts);
                now.width = least(columns - j, parts * own::lanes);
                now.c = c + i * c_row + j;
                multiply_columns(now, b.from(k, j), room_b, parts);
            }
        }
    }
}

// Adds without tiles: for small products.
template <class T>
KS_NOINLINE void add_product(T *__restrict c, matrix<T> a, matrix<T> b, int64_t rows, int64_t columns, int64_t depth) {
    for (int64_t i = 0; i < rows; ++i, c += columns) {
        for (int64_t k = 0; k < depth; ++k) {
            const T x = a.data[i * a.row + k * a.column];
            const T *__restrict const right = b.data + k * b.row;
            for (int64_t j = 0; j < columns; ++j) {
                c[j] += x * right[j * b.column];
            }
        }
    }
}

// The products of one row with so many columns of b, each stored from its first to its last element: sums in lanes, if any are.
template <int columns, class T> inline void multiply_dense(T *c, const T *a, matrix<T> b, int64_t depth) {
    T total[columns] = {};
    int64_t k = 0;
#if defined(KS_SUMS_IN_LANES)
    typedef typename tile<T>::part part;
    constexpr int64_t lanes = tile<T>::lanes;
    part sums[columns] = {};
    for (; k + lanes <= depth; k += lanes) {
        part left, right;
        __builtin_memcpy(&left, a + k, sizeof left);
        KS_UNROLLED
        for (int j = 0; j < columns; ++j) {
            __builtin_memcpy(&right, b.data + j * b.column + k, sizeof right);
            sums[j] += left * right;
        }
    }
    KS_UNROLLED
    for (int j = 0; j < columns; ++j) {
        total[j] = tree_sum<lanes, T>([&](int l) { return sums[j][l]; });
    }
#endif
    for (; k < depth; ++k) {
        KS_UNROLLED
        for (int j = 0; j < columns; ++j) {
            total[j] += a[k] * b.data[k + j * b.column];
        }
    }
    __builtin_memcpy(c, total, sizeof total);
}

// One row of c: of rows of b, some at a time, or of columns of b, where terms may be added up in lanes.
template <class T> KS_NOINLINE void multiply_row(T *__restrict c, matrix<T> a, matrix<T> b, int64_t columns, int64_t depth) {
    if (a.column == 1 && b.row == 1 && (b.column != 1 || columns == 1)) {
        int64_t j = 0;
        for (; j + 4 <= columns; j += 4) {
            multiply_dense<4>(c + j, a.data, b.from(0, j), depth);
        }
        for (; j < columns; ++j) {
            multiply_dense<1>(c + j, a.data, b.from(0, j), depth);
        }
        return;
    }
    for (int64_t j = 0; j < columns; ++j) {
        c[j] = 0;
    }
    int64_t k = 0;
    for (; b.column == 1 && k + 4 <= depth; k += 4) {
        const T *const left = a.data + k * a.column;
        const T x[4] = {left[0], left[a.column], left[2 * a.column], left[3 * a.column]};
        const T *__restrict const right = b.data + k * b.row;
        for (int64_t j = 0; j < columns; ++j) {
            T sum = c[j];
            KS_UNROLLED
            for (int64_t l = 0; l < 4; ++l) {
                sum += x[l] * right[j + l * b.row];
            }
            c[j] = sum;
        }
    }
    add_product(c, a.from(0, k), b.from(k, 0), 1, columns, depth - k);
}

// c(i, j) = the sum over k < depth of a(i, k) b(k, j), in the order of k but for a vector times columns of a matrix; c overlaps
// neither a nor b.
template <class T> KS_NOINLINE void multiply(runtime &rt, tensor<T, 2> c, matrix<T> a, matrix<T> b, int64_t depth) {
    const int64_t rows = c.size[0];
    const int64_t columns = c.size[1];
    if (columns == 1 && rows > 1) {
        const int64_t row[] = {1, rows};
        multiply(rt, tensor<T, 2>::at(c.data, row), {b.data, b.column, b.row}, {a.data, a.column, a.row}, depth);
        return;
    }
    const int64_t products = rows * columns * depth;
    if (columns == 0 || depth <= 0 || (rows != 1 && products <= small_product)) {
        fill(c, T{0});
        add_product(c.data, a, b, rows, columns, depth);
        return;
    }
    // Ranges of rows or of columns, whole tiles each: two to a thread, since each packs by itself what it shares with others.
    const bool by_rows = rows > 1 && rows >= columns;
    const int64_t size = by_rows ? rows : columns;
    const int64_t unit = by_rows ? tile<T>::rows : tile<T>::parts * tile<T>::lanes;
    const int64_t cost = rows * columns / size * depth * static_cast<int64_t>(sizeof(T) / sizeof(float)) * (rows == 1 ? 4 : 1);
    const bool divided = static_cast<double>(size) * static_cast<double>(cost) >= 2 * work_per_part;
    const int64_t ranges = divided ? 2 * rt.threads() : 1;
    const int64_t step = division::whole((size + ranges - 1) / ranges, unit);
    parallel(rt, (size + step - 1) / step, step * cost, [=](runtime &mine, int64_t first, int64_t last) {
        first *= step;
        last = last * step < size ? last * step : size;
        if (rows == 1) {
            multiply_row(c.data + first, a, b.from(0, first), last - first, depth);
        } else if (by_rows) {
            multiply_tiles(mine, c.data + first * columns, columns, a.from(first, 0), b, last - first, columns, depth);
        } else {
            multiply_tiles(mine, c.data + first, columns, a, b.from(0, first), rows, last - first, depth);
        }
    });
}

// Compiled once for many kernels: KS_MULTIPLY_OF does it, and KS_MULTIPLY_ELSEWHERE says that it was done.
#define KS_MULTIPLY_OF(T) template void multiply(runtime &, tensor<T, 2>, matrix<T>, matrix<T>, int64_t)
#if defined(KS_MULTIPLY_ELSEWHERE)
extern KS_MULTIPLY_OF(float);
extern KS_MULTIPLY_OF(double);
#endif

}  // namespace ks

#endif

// Tiles of a product of matrices, each summed up in registers, in the order of k; and packing, for what is read for many of
// them: a tile then finds its numbers in the order in which it takes them.
#ifndef KS_TILES_H
#define KS_TILES_H

#include <cstdint>

#include "ks/macros.h"
#include "ks/matrix.h"
#include "ks/pack.h"

namespace ks {

// Sizes, for an instruction set: a tile of `rows` by `parts` registers takes three quarters of them.
template <class T> struct tile {
    typedef T part __attribute__((vector_size(register_bytes)));
    static constexpr int64_t lanes = register_bytes / static_cast<int64_t>(sizeof(T));
    static constexpr int parts = 3;
#if defined(__AVX512F__) || defined(__aarch64__)
    static constexpr int rows = 8;
#else
    static constexpr int rows = 4;
#endif
    // Of so many rows, a packed panel of b fits into the first-level cache.
    static constexpr int64_t depth = 256;
    // So many rows of a, packed, fit into the second-level cache.
    static constexpr int64_t block = (1 << 19) / static_cast<int64_t>(sizeof(T)) / depth / rows * rows;
    // Rows of c for which rows of b are not worth packing, and columns for which rows of a are not, or columns of a.
    static constexpr int64_t few_rows = 16 * rows;
    static constexpr int64_t few_columns = 16 * parts * lanes;
    static constexpr int64_t few_turned = 4 * parts * lanes;
};

// A product of so many multiplications takes longer to prepare than to do.
constexpr int64_t small_product = 512;

// Columns of c for one tile's width, and what they are made of. From the rows of a for one tile it is `a_tile` to the next ones.
template <class T> struct panel {
    int64_t rows, width, depth;
    matrix<T> a;
    int64_t a_tile;
    const T *b;
    int64_t b_row;
    T *c;
    int64_t c_row;
    bool onward;  // on top of what is there
};

// One tile of c, on top of `start`; `depth` is not zero.
template <int rows, int parts, class T>
KS_NOINLINE void multiply_tile(int64_t depth, matrix<T> a, const T *b, int64_t b_row, const T *start, int64_t start_row, T *c,
                               int64_t c_row) {
    typedef typename tile<T>::part part;
    constexpr int64_t lanes = tile<T>::lanes;
    part sums[rows][parts];
    KS_UNROLLED
    for (int i = 0; i < rows; ++i) {
        KS_UNROLLED
        for (int j = 0; j < parts; ++j) {
            __builtin_memcpy(&sums[i][j], start + i * start_row + j * lanes, sizeof(part));
        }
    }
    int64_t k = 0;
    do {
        part right[parts];
        KS_UNROLLED
        for (int j = 0; j < parts; ++j) {
            __builtin_memcpy(&right[j], b + k * b_row + j * lanes, sizeof(part));
        }
        const T *const left = a.data + k * a.column;
        KS_UNROLLED
        for (int i = 0; i < rows; ++i) {
            const part x = left[i * a.row] - part{};
            KS_UNROLLED
            for (int j = 0; j < parts; ++j) {
                sums[i][j] += x * right[j];
            }
        }
    } while (++k < depth);
    KS_UNROLLED
    for (int i = 0; i < rows; ++i) {
        KS_UNROLLED
        for (int j = 0; j < parts; ++j) {
            __builtin_memcpy(c + i * c_row + j * lanes, &sums[i][j], sizeof(part));
        }
    }
}

// How a tile of so many rows, `rows` or half as many and so on, and of so many registers beside each other, is computed.
template <class T> using tile_product = void (*)(int64_t, matrix<T>, const T *, int64_t, const T *, int64_t, T *, int64_t);
template <int rows, class T> inline tile_product<T> tile_of(int64_t parts) {
    return parts == 3 ? multiply_tile<rows, 3, T> : parts == 2 ? multiply_tile<rows, 2, T> : multiply_tile<rows, 1, T>;
}
template <class T> inline tile_product<T> tile_of(int64_t rows, int64_t parts) {
    if constexpr (tile<T>::rows == 8) {
        if (rows == 8) {
            return tile_of<8, T>(parts);
        }
    }
    return rows == 4 ? tile_of<4, T>(parts) : rows == 2 ? tile_of<2, T>(parts) : tile_of<1, T>(parts);
}

template <class T> KS_NOINLINE void copy_rows(T *to, int64_t to_row, const T *from, int64_t from_row, int64_t rows, int64_t width) {
    for (int64_t i = 0; i < rows; ++i) {
        for (int64_t j = 0; j < width; ++j) {
            to[i * to_row + j] = from[i * from_row + j];
        }
    }
}

// Tiles of the largest number of rows, and of half as many and so on for what is left over.
template <class T> KS_NOINLINE void multiply_panel(panel<T> now, int64_t parts) {
    constexpr int64_t widest = tile<T>::parts * tile<T>::lanes;
    static const T zeros[widest] = {};
    const int64_t whole = parts * tile<T>::lanes;
    for (int64_t rows = tile<T>::rows; now.rows > 0; rows /= 2) {
        const tile_product<T> product = tile_of<T>(rows, parts);
        for (; now.rows >= rows; now.rows -= rows) {
            const T *const start = now.onward ? now.c : zeros;
            const int64_t start_row = now.onward ? now.c_row : 0;
            if (now.width == whole) {
                product(now.depth, now.a, now.b, now.b_row, start, start_row, now.c, now.c_row);
            } else {
                T padded[tile<T>::rows * widest] = {};
                copy_rows(padded, whole, start, start_row, rows, now.width);
                product(now.depth, now.a, now.b, now.b_row, padded, whole, padded, whole);
                copy_rows<T>(now.c, now.c_row, padded, whole, rows, now.width);
            }
            now.a.data += now.a_tile;
            now.c += rows * now.c_row;
        }
        now.a_tile = rows / 2 * now.a.row;
    }
}

// Four numbers, or four by four with rows and columns exchanged, in registers.
template <class T> inline void copy_four(T *to, const T *from) { __builtin_memcpy(to, from, 4 * sizeof(T)); }
template <class T> inline void turn_four(T *to, int64_t to_row, const T *from, int64_t from_row) {
    T square[4][4];
    for (int64_t i = 0; i < 4; ++i) {
        copy_four(square[i], from + i * from_row);
    }
    for (int64_t i = 0; i < 4; ++i) {
        const T turned[4] = {square[0][i], square[1][i], square[2][i], square[3][i]};
        copy_four(to + i * to_row, turned);
    }
}

// to[k * width + j] = from(k, j) for j < count, zero beyond; `width` is a multiple of 4.
template <class T> KS_NOINLINE void pack_panel(T *to, int64_t width, matrix<T> from, int64_t depth, int64_t count) {
    int64_t done = 0;
    if (from.column == 1 && count >= 4) {
        done = count / 4 * 4;
        for (int64_t k = 0; k < depth; ++k) {
            for (int64_t j = 0; j < done; j += 4) {
                copy_four(to + k * width + j, from.data + k * from.row + j);
            }
        }
    } else if (from.row == 1) {
        for (; done + 4 <= count; done += 4) {
            int64_t k = 0;
            for (; k + 4 <= depth; k += 4) {
                turn_four(to + k * width + done, width, from.data + k + done * from.column, from.column);
            }
            for (; k < depth; ++k) {
                const T *const next = from.data + k + done * from.column;
                const T row[4] = {next[0], next[from.column], next[2 * from.column], next[3 * from.column]};
                copy_four(to + k * width + done, row);
            }
        }
    }
    for (int64_t j = done; j < width; ++j) {
        for (int64_t k = 0; k < depth; ++k) {
            to[k * width + j] = j < count ? from.data[k * from.row + j * from.column] : T{0};
        }
    }
}

}  // namespace ks

#endif

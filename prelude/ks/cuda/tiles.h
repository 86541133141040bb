// Tiles of a product of matrices, each summed up by the threads of a block in their registers, in the order of k.
//
// A chunk of a few terms at a time is copied to the memory of the block, term by term, some chunks ahead of the one that is
// multiplied. A thread has elements of the tile in groups that lie apart, so that neighbouring threads read side by side.
#ifndef KS_CUDA_TILES_H
#define KS_CUDA_TILES_H

#include <cstdint>

#include "ks/cuda/copies.h"
#include "ks/cuda/runtime.h"
#include "ks/macros.h"
#include "ks/matrix.h"

namespace ks {

// What is read or written at once.
template <class T, int count> struct alignas(sizeof(T) * count) wide {
    T of[count];
};

// A tile of which each thread has so many rows and columns.
template <class T, int rows_each_, int columns_each_, int stages_> struct tile_shape {
    static constexpr int rows_each = rows_each_, columns_each = columns_each_, stages = stages_;
    static constexpr int at_once = static_cast<int>(alignment / sizeof(T));
    static constexpr int rows_at_once = rows_each < at_once ? rows_each : at_once;
    static constexpr int columns_at_once = columns_each < at_once ? columns_each : at_once;
    // A warp is four threads high and eight wide.
    static constexpr int warps_along = block_size / warp_size < 4 ? 1 : 2;
    static constexpr int along = 8 * warps_along, down = block_size / along;
    static constexpr int rows = down * rows_each, columns = along * columns_each;
    // Terms of a chunk, and from one to the next in memory: what neighbouring threads write is in different banks.
    static constexpr int terms = 8;
    static constexpr int a_line = rows + at_once, b_line = columns + at_once;
    static constexpr int stage = terms * (a_line + b_line);
    static constexpr int bytes = stages * stage * static_cast<int>(sizeof(T));
};

// For products that are large, that are not, and that have few rows. Two blocks of the first take all registers of a processor.
template <class T> struct tiles {
    typedef tile_shape<T, 8, sizeof(T) == 4 ? 8 : 4, sizeof(T) == 4 ? 3 : 2> large;
    typedef tile_shape<T, 4, 4, sizeof(T) == 4 ? 4 : 3> small;
    typedef tile_shape<T, 1, 4, 4> flat;
    static constexpr int most(int a, int b) { return a > b ? a : b; }
    static constexpr int bytes = most(large::bytes, most(small::bytes, flat::bytes));
};

template <class T> __device__ inline T *tile_memory() {
    typedef wide<float, 4> sixteen;
    KS_SHARED(sixteen, memory, tiles<T>::bytes / 16);
    return reinterpret_cast<T *>(memory);
}

// The elements of c from a tile's first one on, so many of which there are, and what they are made of.
template <class T> struct tile_task {
    T *c;
    int64_t c_row, c_column;
    int64_t rows, columns;
    matrix<T> a, b;
    int64_t depth;
};

// What a thread copies of the rows of a or the columns of b, chunk by chunk. Neighbouring threads take neighbouring lines, 16 bytes
// of them at a time where that can be, or neighbouring terms where these lie side by side.
template <class T, int extent, int line, int terms> class tile_side {
    static constexpr int at_once = static_cast<int>(alignment / sizeof(T));
    static constexpr int packs = extent / at_once;

  public:
    __device__ tile_side(const T *data, int64_t across, int64_t deep, int64_t lines)
        : anywhere_(data), onward_(terms * deep), lines_(lines < extent ? static_cast<int>(lines) : extent) {
        const int thread = static_cast<int>(threadIdx.x);
        in_packs_ = across == 1 && is_aligned(data) && deep % at_once == 0;
        by_terms_ = !in_packs_ && deep == 1;
        line_ = in_packs_ ? thread % packs * at_once : by_terms_ ? thread / terms : thread % extent;
        term_ = in_packs_ ? thread / packs : by_terms_ ? thread % terms : thread / extent;
        next_ = data + line_ * across + term_ * deep;
        // From one of the thread's copies to the next one: lines or terms.
        step_ = by_terms_ ? block_size / terms * across : (in_packs_ ? block_size / packs : block_size / extent) * deep;
    }

    // The next chunk, of which so many terms are left.
    __device__ void begin(T *to, int64_t left) {
        const int there = left < terms ? static_cast<int>(left) : terms;
        const T *from = next_;
        next_ += onward_;
        if (in_packs_) {
            KS_UNROLLED
            for (int k = 0; k < terms; k += block_size / packs < terms ? block_size / packs : terms) {
                const int term = term_ + k;
                if (block_size / packs <= terms || term < terms) {
                    const int found = term < there ? lines_ - line_ : 0;
                    const int valid = found < 0 ? 0 : found < at_once ? found : at_once;
                    begin_copy<alignment>(to + term * line + line_, valid > 0 ? from : anywhere_, valid * static_cast<int>(sizeof(T)));
                }
                from += step_;
            }
        } else if (by_terms_) {
            KS_UNROLLED
            for (int k = 0; k < extent; k += block_size / terms) {
                copy_one(to, line_ + k, term_, there, from);
                from += step_;
            }
        } else {
            KS_UNROLLED
            for (int k = 0; k < terms; k += block_size / extent) {
                copy_one(to, line_, term_ + k, there, from);
                from += step_;
            }
        }
    }

  private:
    __device__ void copy_one(T *to, int of_line, int term, int there, const T *from) const {
        if (of_line < extent && term < terms) {
            const bool valid = of_line < lines_ && term < there;
            begin_copy<sizeof(T)>(to + term * line + of_line, valid ? from : anywhere_, valid ? static_cast<int>(sizeof(T)) : 0);
        }
    }

    const T *anywhere_, *next_;
    int64_t onward_, step_;
    int lines_, line_, term_;
    bool in_packs_, by_terms_;
};

template <int count, int at_once, int apart, class T> __device__ inline void read_apart(T (&to)[count], const T *from) {
    KS_UNROLLED
    for (int k = 0; k < count / at_once; ++k) {
        const auto next = *reinterpret_cast<const wide<T, at_once> *>(from + k * apart);
        KS_UNROLLED
        for (int i = 0; i < at_once; ++i) {
            to[k * at_once + i] = next.of[i];
        }
    }
}

// Stores what a thread has of a tile, from its first element on.
template <class Shape, class T>
__device__ inline void store_tile(const tile_task<T> &task, int row, int column, const T (&sums)[Shape::rows_each][Shape::columns_each]) {
    constexpr int at_once = Shape::columns_at_once;
    const bool in_packs = task.c_column == 1 && task.columns % at_once == 0 && task.c_row % at_once == 0 && is_aligned(task.c);
    KS_UNROLLED
    for (int i = 0; i < Shape::rows_each; ++i) {
        const int here = row + i / Shape::rows_at_once * (Shape::down * Shape::rows_at_once) + i % Shape::rows_at_once;
        if (here >= task.rows) {
            continue;
        }
        T *const start = task.c + here * task.c_row;
        KS_UNROLLED
        for (int j = 0; j < Shape::columns_each; j += at_once) {
            const int first = column + j * Shape::along;
            if (in_packs) {
                if (first < task.columns) {
                    wide<T, at_once> pack;
                    KS_UNROLLED
                    for (int k = 0; k < at_once; ++k) {
                        pack.of[k] = sums[i][j + k];
                    }
                    *reinterpret_cast<wide<T, at_once> *>(start + first) = pack;
                }
            } else {
                KS_UNROLLED
                for (int k = 0; k < at_once; ++k) {
                    if (first + k < task.columns) {
                        start[(first + k) * task.c_column] = sums[i][j + k];
                    }
                }
            }
        }
    }
}

// One tile, by all threads of a block; `depth` is not zero.
template <class Shape, class T> KS_NOINLINE void multiply_tile(const tile_task<T> &task) {
    constexpr int stages = Shape::stages, terms = Shape::terms;
    T *const memory = tile_memory<T>();
    tile_side<T, Shape::rows, Shape::a_line, terms> a(task.a.data, task.a.row, task.a.column, task.rows);
    tile_side<T, Shape::columns, Shape::b_line, terms> b(task.b.data, task.b.column, task.b.row, task.columns);
    const int thread = static_cast<int>(threadIdx.x), warp = thread / warp_size, lane = thread % warp_size;
    const int row = (warp / Shape::warps_along * 4 + lane / 8) * Shape::rows_at_once;
    const int column = (warp % Shape::warps_along * 8 + lane % 8) * Shape::columns_at_once;

    int64_t left = task.depth;
    int filled = 0, read = 0;
    const auto begin_next = [&] {
        if (left > 0) {
            T *const to = memory + filled * Shape::stage;
            a.begin(to, left);
            b.begin(to + terms * Shape::a_line, left);
            left -= terms;
            filled = filled + 1 < stages ? filled + 1 : 0;
        }
        end_group();
    };
    KS_UNROLLED
    for (int k = 0; k < stages - 1; ++k) {
        begin_next();
    }
    T sums[Shape::rows_each][Shape::columns_each] = {};
    for (int64_t done = 0; done < task.depth; done += terms) {
        // The chunk is there for all threads, and none reads the one before any more.
        await_groups<stages - 2>();
        __syncthreads();
        begin_next();
        const T *const stage = memory + read * Shape::stage;
        read = read + 1 < stages ? read + 1 : 0;
        KS_UNROLLED
        for (int k = 0; k < terms; ++k) {
            T x[Shape::rows_each], y[Shape::columns_each];
            read_apart<Shape::rows_each, Shape::rows_at_once, Shape::down * Shape::rows_at_once>(x, stage + k * Shape::a_line + row);
            read_apart<Shape::columns_each, Shape::columns_at_once, Shape::along * Shape::columns_at_once>(
                y, stage + terms * Shape::a_line + k * Shape::b_line + column);
            KS_UNROLLED
            for (int i = 0; i < Shape::rows_each; ++i) {
                KS_UNROLLED
                for (int j = 0; j < Shape::columns_each; ++j) {
                    sums[i][j] += x[i] * y[j];
                }
            }
        }
    }
    __syncthreads();
    store_tile<Shape>(task, row, column, sums);
}

}  // namespace ks

#endif

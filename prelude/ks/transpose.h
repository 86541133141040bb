// Rows of numbers side by side: what lies one row after the other becomes a pack for each column, and back.
//
// As many rows as a register has numbers are read in blocks of 8, 4 or 2 columns, several blocks to a register. Within the
// blocks halves change places, then halves of these:
//
//     a0 a1 | c0 c1                 a0 b0 | c0 d0
//     b0 b1 | d0 d1      becomes    a1 b1 | c1 d1
#ifndef KS_TRANSPOSE_H
#define KS_TRANSPOSE_H

#include <cstddef>
#include <cstdint>
#include <utility>

#include "ks/macros.h"
#include "ks/pack.h"

#ifndef __CUDACC__

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define KS_SHUFFLES
#endif
#endif

namespace ks {

#ifdef KS_SHUFFLES

template <class T, int n> struct numbers_of {
    typedef T type __attribute__((vector_size(n * sizeof(T))));
};

template <class Part, size_t... k> inline auto joined(const Part &a, const Part &b, std::index_sequence<k...>) {
    return __builtin_shufflevector(a, b, static_cast<int>(k)...);
}
template <int from, class Part, size_t... k> inline auto section(const Part &a, std::index_sequence<k...>) {
    return __builtin_shufflevector(a, a, from + static_cast<int>(k)...);
}

// The upper halves of a's sections change places with the lower halves of b's.
template <int half, class Part, size_t... k> inline void exchange(Part &a, Part &b, std::index_sequence<k...>) {
    constexpr int n = sizeof...(k);
    const Part lower = __builtin_shufflevector(a, b, ((k & half) != 0 ? static_cast<int>(k) - half + n : static_cast<int>(k))...);
    b = __builtin_shufflevector(a, b, ((k & half) != 0 ? static_cast<int>(k) + n : static_cast<int>(k) + half)...);
    a = lower;
}
template <int columns, int half, int width, class Part> inline void transpose(Part *parts) {
    if constexpr (half > 0) {
        for (int k = 0; k < columns; ++k) {
            if ((k & half) == 0) {
                exchange<half>(parts[k], parts[k + half], std::make_index_sequence<width>());
            }
        }
        transpose<columns, half / 2, width>(parts);
    }
}

// Blocks of so many columns, of rows that lie `step` apart, as a register.
template <class T, int columns, int n> inline auto read_blocks(const T *rows, int64_t step) {
    if constexpr (n == columns) {
        typename numbers_of<T, n>::type block;
        __builtin_memcpy(&block, rows, sizeof block);
        return block;
    } else {
        return joined(read_blocks<T, columns, n / 2>(rows, step), read_blocks<T, columns, n / 2>(rows + n / 2 * step, step),
                      std::make_index_sequence<n>());
    }
}
template <class T, int columns, int n, class Part> inline void write_blocks(const Part &part, T *rows, int64_t step) {
    if constexpr (n == columns) {
        __builtin_memcpy(rows, &part, sizeof part);
    } else {
        write_blocks<T, columns, n / 2>(section<0>(part, std::make_index_sequence<n / 2>()), rows, step);
        write_blocks<T, columns, n / 2>(section<n / 2>(part, std::make_index_sequence<n / 2>()), rows + n / 2 * step, step);
    }
}

// Blocks of so many columns from column `i` on, as long as there are some; gives the column that follows.
template <int columns, class Pack, class T> inline int64_t read_columns(const T *rows, int64_t step, int64_t i, int64_t count, Pack *packs) {
    if constexpr (columns <= Pack::width) {
        constexpr int registers = static_cast<int>(Pack::lanes) / Pack::width;
        for (; i + columns <= count; i += columns) {
            for (int g = 0; g < registers; ++g) {
                typename Pack::part parts[columns];
                for (int k = 0; k < columns; ++k) {
                    parts[k] = read_blocks<T, columns, Pack::width>(rows + (g * Pack::width + k) * step + i, step);
                }
                transpose<columns, columns / 2, Pack::width>(parts);
                for (int k = 0; k < columns; ++k) {
                    packs[i + k].parts[g] = parts[k];
                }
            }
        }
    }
    return i;
}
template <int columns, class Pack, class T> inline int64_t write_columns(const Pack *packs, int64_t i, int64_t count, T *rows, int64_t step) {
    if constexpr (columns <= Pack::width) {
        constexpr int registers = static_cast<int>(Pack::lanes) / Pack::width;
        for (; i + columns <= count; i += columns) {
            for (int g = 0; g < registers; ++g) {
                typename Pack::part parts[columns];
                for (int k = 0; k < columns; ++k) {
                    parts[k] = packs[i + k].parts[g];
                }
                transpose<columns, columns / 2, Pack::width>(parts);
                for (int k = 0; k < columns; ++k) {
                    write_blocks<T, columns, Pack::width>(parts[k], rows + (g * Pack::width + k) * step + i, step);
                }
            }
        }
    }
    return i;
}

#endif

// A pack for each column of as many rows as a pack has lanes, which lie one after the other.
template <class Pack, class T> KS_NOINLINE void rows_to_packs(const T *rows, int64_t columns, Pack *packs) {
    int64_t i = 0;
#ifdef KS_SHUFFLES
    i = read_columns<8>(rows, columns, i, columns, packs);
    i = read_columns<4>(rows, columns, i, columns, packs);
    i = read_columns<2>(rows, columns, i, columns, packs);
#endif
    for (; i < columns; ++i) {
        T numbers[Pack::lanes];
        for (int64_t k = 0; k < Pack::lanes; ++k) {
            numbers[k] = rows[k * columns + i];
        }
        packs[i] = Pack::load(numbers);
    }
}

// The rows again.
template <class Pack, class T> KS_NOINLINE void packs_to_rows(const Pack *packs, int64_t columns, T *rows) {
    int64_t i = 0;
#ifdef KS_SHUFFLES
    i = write_columns<8>(packs, i, columns, rows, columns);
    i = write_columns<4>(packs, i, columns, rows, columns);
    i = write_columns<2>(packs, i, columns, rows, columns);
#endif
    for (; i < columns; ++i) {
        T numbers[Pack::lanes];
        packs[i].store(numbers);
        for (int64_t k = 0; k < Pack::lanes; ++k) {
            rows[k * columns + i] = numbers[k];
        }
    }
}

}  // namespace ks

#endif

#endif

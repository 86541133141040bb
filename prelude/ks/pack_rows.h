// What iterations that run side by side have for themselves: rows of tensors at their own index, side by side in packs, and
// tensors of packs where others are tensors of numbers.
#ifndef KS_PACK_ROWS_H
#define KS_PACK_ROWS_H

#include <cstdint>

#include "ks/arena.h"
#include "ks/bulk.h"
#include "ks/map_packs.h"
#include "ks/pack.h"
#include "ks/pack_int.h"
#include "ks/tape.h"
#include "ks/tensor.h"
#include "ks/transpose.h"

#ifndef __CUDACC__

namespace ks {

// Whether the iterations that are `left`, which read and write rows of so many elements in all, begin with a pack. One that
// stays in the first-level cache takes little more time than an iteration alone, however many lanes it has; a longer one
// needs a lane for each 16 KB, or all of them. Temporaries need memory as well.
template <class Pack> inline bool side_by_side(int64_t elements, int64_t left, int64_t most = memory_of_pack / 2) {
    const int64_t bytes = elements * static_cast<int64_t>(sizeof(Pack));
    return left > 0 && (left >= Pack::lanes || left >= bytes / 16384) && bytes <= most;
}

// How many iterations a pack from `first` on has: of the last one, the lanes that are left over repeat an iteration.
template <class Pack> inline int64_t lanes_left(int64_t first, int64_t last) {
    return last - first < Pack::lanes ? last - first : Pack::lanes;
}

// A number of each of `count` iterations, those left over taking the last one's; they lie `step` apart.
template <class Pack, class T> inline Pack take_column(const T *from, int64_t step, int64_t count) {
    T numbers[Pack::lanes];
    for (int64_t k = 0; k < Pack::lanes; ++k) {
        numbers[k] = from[(k < count ? k : count - 1) * step];
    }
    return Pack::load(numbers);
}

// The rows of `count` iterations from `first` on.
template <class Pack, class T> inline Pack rows(const tensor<T, 1> &x, int64_t first, int64_t count) {
    return count == Pack::lanes ? Pack::load(x.data + first) : take_column<Pack>(x.data + first, 1, count);
}
template <class Pack, class T, int rank>
inline tensor<Pack, rank - 1> rows(runtime &rt, const tensor<T, rank> &x, int64_t first, int64_t count) {
    const auto packed = tensor<Pack, rank - 1>::like(rt, x.size + 1);
    const int64_t size = packed.count();
    const T *const from = x.data + first * size;
    if (count == Pack::lanes) {
        rows_to_packs(from, size, packed.data);
    } else {
        for (int64_t i = 0; i < size; ++i) {
            packed[i] = take_column<Pack>(from + i, size, count);
        }
    }
    return packed;
}

// What iterations give, each at its own index.
template <class T> inline void put_rows(const tensor<T, 1> &to, int64_t first, int64_t count, const T &value) {
    for (int64_t k = 0; k < count; ++k) {
        to[first + k] = value;
    }
}
template <class T, class Lanes, class = typename Lanes::part>
inline void put_rows(const tensor<T, 1> &to, int64_t first, int64_t count, const Lanes &value) {
    put<T>(value, reinterpret_cast<char *>(to.data + first), sizeof(T), count);
}
template <class T, class Lanes, int rank>
inline void put_rows(runtime &rt, const tensor<T, rank + 1> &to, int64_t first, int64_t count, const tensor<Lanes, rank> &value, int line) {
    for (int k = 0; k < rank; ++k) {
        if (to.size[k + 1] != value.size[k]) {
            rt.fail(KS_ERROR_INDEX, line, "tensors of different sizes");
        }
    }
    const int64_t size = value.count();
    T *const place = to.data + first * size;
    if constexpr (std::is_same_v<T, Lanes>) {
        for (int64_t k = 0; k < count; ++k) {
            copy_elements(rt, place + k * size, value.data, size);
        }
    } else {
        if constexpr (std::is_floating_point_v<T>) {
            if (count == Lanes::lanes) {
                packs_to_rows(value.data, size, place);
                return;
            }
        }
        for (int64_t i = 0; i < size; ++i) {
            put<T>(value[i], reinterpret_cast<char *>(place + i), size * static_cast<int64_t>(sizeof(T)), count);
        }
    }
}

// Tensors of packs that begin as a tensor that all iterations share, or take on its elements.
template <class Lanes, class T, int rank> inline tensor<Lanes, rank> spread(runtime &rt, const tensor<T, rank> &source) {
    const auto fresh = tensor<Lanes, rank>::like(rt, source.size);
    const int64_t count = source.count();
    for (int64_t i = 0; i < count; ++i) {
        fresh.data[i] = source.data[i];
    }
    return fresh;
}

template <class Lanes, class T, int rank>
inline void put(runtime &rt, const tensor<Lanes, rank> &target, const tensor<T, rank> &source, int line) {
    put(rt, target, spread<Lanes>(rt, source), line);
}
template <class Lanes, class T, int rank>
inline void add_to(runtime &rt, const tensor<Lanes, rank> &target, const tensor<T, rank> &amount, int line) {
    add_to(rt, target, spread<Lanes>(rt, amount), line);
}

// The elements of `value` where the mask holds, and of `other` elsewhere; no elements of it are there yet if no iteration
// was given any. Iterations with tensors of different sizes do not go on together.
template <class Mask, class Lanes, int rank>
inline tensor<Lanes, rank> select(runtime &rt, const Mask &mask, const tensor<Lanes, rank> &value, const tensor<Lanes, rank> &other) {
    if (other.data == nullptr) {
        return value;
    }
    for (int k = 0; k < rank; ++k) {
        if (value.size[k] != other.size[k]) {
            throw one_by_one();
        }
    }
    const auto chosen = tensor<Lanes, rank>::like(rt, value.size);
    const int64_t count = value.count();
    for (int64_t i = 0; i < count; ++i) {
        chosen[i] = select(mask, value[i], other[i]);
    }
    return chosen;
}

}  // namespace ks

#endif

#endif

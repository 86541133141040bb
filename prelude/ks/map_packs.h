// Lifting a scalar function over the lanes of strided arrays by packs: the loop of an elementwise entry whose function
// has loops, which no compiler runs side by side.
#ifndef KS_MAP_PACKS_H
#define KS_MAP_PACKS_H

#include <cstdint>
#include <type_traits>
#include <utility>

#include "ks/arena.h"
#include "ks/map.h"
#include "ks/pack.h"
#include "ks/pack_int.h"
#include "ks/runtime.h"

namespace ks {

// What a function of packs takes for an operand: numbers side by side, or an integer or truth value that all have.
template <class Pack, class T> using packed = std::conditional_t<std::is_integral_v<T>, T, Pack>;

template <class T> inline T stored_at(const char *data, int64_t stride, int64_t lane) {
    return *reinterpret_cast<const T *>(data + lane * stride);
}

template <class T> inline bool all_have_one(const char *data, int64_t stride, int64_t count) {
    if constexpr (std::is_integral_v<T>) {
        for (int64_t lane = 1; stride != 0 && lane < count; ++lane) {
            if (stored_at<T>(data, stride, lane) != stored_at<T>(data, stride, 0)) {
                return false;
            }
        }
    }
    return true;
}

// The last of fewer lanes than a pack has is in its place and in all that follow.
template <class Pack, class T> inline packed<Pack, T> take(const char *data, int64_t stride, int64_t count) {
    if constexpr (std::is_integral_v<T>) {
        return stored_at<T>(data, stride, 0);
    } else {
        typename Pack::number numbers[Pack::lanes];
        for (int64_t lane = 0; lane < Pack::lanes; ++lane) {
            numbers[lane] = stored_at<T>(data, stride, lane < count ? lane : count - 1);
        }
        return Pack::load(numbers);
    }
}

// What a function of packs gives for a result.
template <class Pack, class R> struct lanes_of {
    typedef Pack type;
};
template <class T, int count> struct lanes_of<pack<T, count>, int64_t> {
    typedef pack_int<T, count> type;
};
template <class T, int count> struct lanes_of<pack<T, count>, bool> {
    typedef pack_mask<T, count> type;
};

template <class R, class Lanes> inline void put(const Lanes &x, char *data, int64_t stride, int64_t count) {
    typename Lanes::number numbers[Lanes::lanes];
    x.store(numbers);
    for (int64_t lane = 0; lane < count; ++lane) {
        *reinterpret_cast<R *>(data + lane * stride) = static_cast<R>(numbers[lane]);
    }
}
template <class R, class T, int parts> inline void put(const pack_mask<T, parts> &x, char *data, int64_t stride, int64_t count) {
    put<R>(to_integer(x), data, stride, count);
}

// A pack that takes more memory runs lane by lane: what a derivative keeps stays within a bound, and in the caches.
constexpr int64_t memory_of_pack = int64_t{1} << 24;

template <class Pack, class... R, class... A, size_t... r, size_t... a, class One, class Many>
inline int map_packs_of(const ks_runtime *host, results<R...>, arguments<A...>, std::index_sequence<r...>,
                        std::index_sequence<a...>, char *const *data, const int64_t *strides, int64_t n, One one,
                        Many many) {
    constexpr size_t outs = sizeof...(R);
    runtime rt(host);
    int64_t packs = 0, given_up = 0;
    try {
        for (int64_t i = 0; i < n; i += Pack::lanes) {
            const int64_t count = n - i < Pack::lanes ? n - i : Pack::lanes;
            const auto operand = [&](size_t k) { return data[k] + i * strides[k]; };
            if (given_up < 2 + packs / 4 && count >= Pack::width && (all_have_one<A>(operand(outs + a), strides[outs + a], count) && ...)) {
                try {
                    ++packs;
                    scratch lanes(rt);
                    rt.limit(memory_of_pack);
                    [&](auto &&... found) {
                        many(rt, take<Pack, A>(operand(outs + a), strides[outs + a], count)..., found...);
                        (put<R>(found, operand(r), strides[r], count), ...);
                    }(typename lanes_of<Pack, R>::type()...);
                    continue;
                } catch (const one_by_one &) {
                    ++given_up;
                }
            }
            rt.limit(INT64_MAX);
            for (int64_t k = i; k < i + count; ++k) {
                scratch lane(rt);
                one(rt, stored_at<A>(data[outs + a], strides[outs + a], k)..., *reinterpret_cast<R *>(data[r] + k * strides[r])...);
            }
        }
        return 0;
    } catch (const stop &) {
        return 1;
    }
}

// Calls many(rt, argument..., result &...) for packs of n lanes, and one(...) for a lane where few are left, or where
// integers differ.
template <class Pack, class... R, class... A, class One, class Many>
inline int map_packs(const ks_runtime *host, results<R...> out, arguments<A...> in, char *const *data,
                     const int64_t *strides, int64_t n, One one, Many many) {
    return map_packs_of<Pack>(host, out, in, std::index_sequence_for<R...>{}, std::index_sequence_for<A...>{}, data,
                              strides, n, one, many);
}

}  // namespace ks

#endif

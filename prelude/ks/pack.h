// Iterations of a loop side by side: a number of each, in as many registers as hide what an operation takes.
//
// What the innermost loops of a body are too short for, or add up in an order, the loop around them does: each of the
// body's numbers that differs between iterations is a pack, others stay numbers.
#ifndef KS_PACK_H
#define KS_PACK_H

#include <cstdint>

#include "ks/macros.h"
#include "ks/scalar.h"
#include "ks/tensor.h"

#ifndef __CUDACC__

namespace ks {

#if defined(__AVX512F__)
constexpr int register_bytes = 64;
#elif defined(__AVX__)
constexpr int register_bytes = 32;
#else
constexpr int register_bytes = 16;
#endif

constexpr int pack_parts = 4;

template <class T> struct pack {
    static constexpr int width = register_bytes / static_cast<int>(sizeof(T));
    static constexpr int64_t lanes = pack_parts * width;
    typedef T part __attribute__((vector_size(register_bytes)));

    part parts[pack_parts];

    pack() = default;
    // One number for all iterations.
    pack(T x) {
        for (part &own : parts) {
            own = x - part{};
        }
    }

    // Whether so many iterations are left; never where sums have to be in the order of the text.
    static bool fits(int64_t first, int64_t last) {
#if defined(KS_SUMS_IN_LANES)
        return last - first >= lanes;
#else
        return first < 0 && last < 0;
#endif
    }

    static pack load(const T *from) {
        pack loaded;
        __builtin_memcpy(&loaded, from, sizeof loaded);
        return loaded;
    }
    void store(T *to) const { __builtin_memcpy(to, this, sizeof *this); }

#define KS_PACK_OPERATOR(symbol)                                        \
    friend inline pack operator symbol(pack a, const pack &b) {         \
        for (int k = 0; k < pack_parts; ++k) {                          \
            a.parts[k] = a.parts[k] symbol b.parts[k];                  \
        }                                                               \
        return a;                                                       \
    }                                                                   \
    pack &operator symbol##=(const pack &b) { return *this = *this symbol b; }
    KS_PACK_OPERATOR(+)
    KS_PACK_OPERATOR(-)
    KS_PACK_OPERATOR(*)
    KS_PACK_OPERATOR(/)
#undef KS_PACK_OPERATOR

    pack operator-() const {
        pack negative;
        for (int k = 0; k < pack_parts; ++k) {
            negative.parts[k] = -parts[k];
        }
        return negative;
    }
};

// The truth values of iterations side by side.
template <class T> struct pack_mask {
    typedef decltype(typename pack<T>::part{} < typename pack<T>::part{}) part;

    part parts[pack_parts];

    pack_mask operator!() const {
        pack_mask other;
        for (int k = 0; k < pack_parts; ++k) {
            other.parts[k] = ~parts[k];
        }
        return other;
    }
    friend inline pack_mask operator&&(pack_mask a, const pack_mask &b) {
        for (int k = 0; k < pack_parts; ++k) {
            a.parts[k] &= b.parts[k];
        }
        return a;
    }
    friend inline pack_mask operator||(pack_mask a, const pack_mask &b) {
        for (int k = 0; k < pack_parts; ++k) {
            a.parts[k] |= b.parts[k];
        }
        return a;
    }
};

#define KS_PACK_COMPARISON(symbol)                                                                          \
    template <class T> inline pack_mask<T> operator symbol(const pack<T> &a, const pack<T> &b) {            \
        pack_mask<T> holds;                                                                                 \
        for (int k = 0; k < pack_parts; ++k) {                                                              \
            holds.parts[k] = a.parts[k] symbol b.parts[k];                                                  \
        }                                                                                                   \
        return holds;                                                                                       \
    }                                                                                                       \
    template <class T> inline pack_mask<T> operator symbol(const pack<T> &a, T b) { return a symbol pack<T>(b); } \
    template <class T> inline pack_mask<T> operator symbol(T a, const pack<T> &b) { return pack<T>(a) symbol b; }
KS_PACK_COMPARISON(<)
KS_PACK_COMPARISON(<=)
KS_PACK_COMPARISON(>)
KS_PACK_COMPARISON(>=)
KS_PACK_COMPARISON(==)
KS_PACK_COMPARISON(!=)
#undef KS_PACK_COMPARISON

template <class T> inline pack<T> select(const pack_mask<T> &c, const pack<T> &a, const pack<T> &b) {
    pack<T> chosen;
    for (int k = 0; k < pack_parts; ++k) {
        chosen.parts[k] = c.parts[k] ? a.parts[k] : b.parts[k];
    }
    return chosen;
}
template <class T> inline pack<T> select(const pack_mask<T> &c, const pack<T> &a, T b) { return select(c, a, pack<T>(b)); }
template <class T> inline pack<T> select(const pack_mask<T> &c, T a, const pack<T> &b) { return select(c, pack<T>(a), b); }
template <class T> inline pack<T> select(const pack_mask<T> &c, T a, T b) { return select(c, pack<T>(a), pack<T>(b)); }

// The sum of all iterations: halves are added until one number is left.
template <class T> inline T sum(const pack<T> &x) {
    T terms[pack<T>::width];
    const typename pack<T>::part total = (x.parts[0] + x.parts[1]) + (x.parts[2] + x.parts[3]);
    __builtin_memcpy(terms, &total, sizeof terms);
    for (int half = pack<T>::width / 2; half > 0; half /= 2) {
        for (int k = 0; k < half; ++k) {
            terms[k] += terms[k + half];
        }
    }
    return terms[0];
}

// A function of one number, or of two, for all iterations: a loop that the compiler vectorises.
template <class T, class Function> inline pack<T> each(const pack<T> &x, Function function) {
    T given[pack<T>::lanes], found[pack<T>::lanes];
    x.store(given);
    KS_LANES
    for (int k = 0; k < pack<T>::lanes; ++k) {
        found[k] = function(given[k]);
    }
    return pack<T>::load(found);
}
template <class T, class Function> inline pack<T> each(const pack<T> &x, const pack<T> &y, Function function) {
    T given[pack<T>::lanes], other[pack<T>::lanes], found[pack<T>::lanes];
    x.store(given);
    y.store(other);
    KS_LANES
    for (int k = 0; k < pack<T>::lanes; ++k) {
        found[k] = function(given[k], other[k]);
    }
    return pack<T>::load(found);
}

#define KS_PACK_UNARY(name) \
    template <class T> inline pack<T> name(const pack<T> &x) { return each(x, [](T own) { return ks::name(own); }); }
#define KS_PACK_BINARY(name)                                                                          \
    template <class T> inline pack<T> name(const pack<T> &x, const pack<T> &y) {                      \
        return each(x, y, [](T a, T b) { return ks::name(a, b); });                                   \
    }                                                                                                 \
    template <class T> inline pack<T> name(const pack<T> &x, T y) { return ks::name(x, pack<T>(y)); } \
    template <class T> inline pack<T> name(T x, const pack<T> &y) { return ks::name(pack<T>(x), y); }
KS_PACK_UNARY(abs)
KS_PACK_UNARY(floor)
KS_PACK_UNARY(ceil)
KS_PACK_UNARY(trunc)
KS_PACK_UNARY(round)
KS_PACK_UNARY(exp)
KS_PACK_UNARY(exp_minus)
KS_PACK_UNARY(exp2)
KS_PACK_UNARY(expm1)
KS_PACK_UNARY(log)
KS_PACK_UNARY(log2)
KS_PACK_UNARY(log10)
KS_PACK_UNARY(log1p)
KS_PACK_UNARY(sqrt)
KS_PACK_UNARY(rsqrt)
KS_PACK_UNARY(sigmoid)
KS_PACK_UNARY(softplus)
KS_PACK_UNARY(sin)
KS_PACK_UNARY(cos)
KS_PACK_UNARY(tan)
KS_PACK_UNARY(atan)
KS_PACK_UNARY(sinh)
KS_PACK_UNARY(cosh)
KS_PACK_UNARY(tanh)
KS_PACK_UNARY(erf)
KS_PACK_UNARY(erfc)
KS_PACK_BINARY(max)
KS_PACK_BINARY(min)
KS_PACK_BINARY(pow)
#undef KS_PACK_UNARY
#undef KS_PACK_BINARY

// A divisor that all iterations share is divided by once for all lanes of a pack.
template <class A, class B> inline auto div_by(const A &a, const B &b) -> decltype(a / b) { return a / b; }

template <class T> inline pack_mask<T> isnan(const pack<T> &x) { return x != x; }
template <class T> inline pack_mask<T> isinf(const pack<T> &x) { return abs(x) == inf<T>; }
template <class T> inline pack_mask<T> isfinite(const pack<T> &x) { return abs(x) < inf<T>; }

// The elements at these indices of as many rows as a pack has lanes, `row` being the first.
template <class T, int rank, class... Index>
inline pack<T> gather(const tensor<T, rank> &x, int64_t row, Index... indices) {
    T found[pack<T>::lanes];
    for (int64_t k = 0; k < pack<T>::lanes; ++k) {
        found[k] = x(row + k, indices...);
    }
    return pack<T>::load(found);
}

// So many rows side by side.
template <class T, int rank> inline tensor<pack<T>, rank - 1> rows(runtime &rt, const tensor<T, rank> &x, int64_t row) {
    const auto side_by_side = tensor<pack<T>, rank - 1>::like(rt, x.size + 1);
    const int64_t count = side_by_side.count();
    const T *from = x.data + row * count;
    for (int64_t i = 0; i < count; ++i) {
        T found[pack<T>::lanes];
        for (int64_t k = 0; k < pack<T>::lanes; ++k) {
            found[k] = from[k * count + i];
        }
        side_by_side[i] = pack<T>::load(found);
    }
    return side_by_side;
}

}  // namespace ks

#endif

#endif

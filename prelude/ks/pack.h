// Iterations of a loop side by side: a number of each, in as many registers as hide what an operation takes, by default.
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

// body(k) for each register k of so many: text, not a loop, which compilers unroll too late to keep packs in registers.
template <int count, class Body> KS_INLINED inline void each_part(const Body &body) {
    static_assert(count == 1 || count == 2 || count == 4, "registers of a pack");
    body(0);
    if constexpr (count > 1) {
        body(1);
    }
    if constexpr (count > 2) {
        body(2);
        body(3);
    }
}

template <class T, int count = 4> struct pack {
    static constexpr int width = register_bytes / static_cast<int>(sizeof(T));
    static constexpr int64_t lanes = int64_t{count} * width;
    typedef T number;
    typedef T part __attribute__((vector_size(register_bytes)));

    part parts[count];

    pack() = default;
    // Register by register: as a whole it would be copied in pieces, and read again only when all of these are stored.
    pack(const pack &other) { *this = other; }
    pack &operator=(const pack &other) {
        each_part<count>([&](int k) KS_INLINED { parts[k] = other.parts[k]; });
        return *this;
    }
    // One number for all iterations.
    pack(T x) {
        each_part<count>([&](int k) KS_INLINED { parts[k] = x - part{}; });
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
        each_part<count>([&](int k) KS_INLINED { __builtin_memcpy(&loaded.parts[k], from + k * width, sizeof(part)); });
        return loaded;
    }
    void store(T *to) const {
        each_part<count>([&](int k) KS_INLINED { __builtin_memcpy(to + k * width, &parts[k], sizeof(part)); });
    }

#define KS_PACK_OPERATOR(symbol)                                                      \
    friend inline pack operator symbol(const pack &a, const pack &b) {                \
        pack found;                                                                   \
        each_part<count>([&](int k) KS_INLINED { found.parts[k] = a.parts[k] symbol b.parts[k]; }); \
        return found;                                                                 \
    }                                                                                 \
    pack &operator symbol##=(const pack &b) { return *this = *this symbol b; }
    KS_PACK_OPERATOR(+)
    KS_PACK_OPERATOR(-)
    KS_PACK_OPERATOR(*)
    KS_PACK_OPERATOR(/)
#undef KS_PACK_OPERATOR

    pack operator-() const {
        pack negative;
        each_part<count>([&](int k) KS_INLINED { negative.parts[k] = -parts[k]; });
        return negative;
    }

    // Neighbours are added until one register is left.
    part total() const {
        pack sums = *this;
        for (int half = count / 2; half > 0; half /= 2) {
            for (int k = 0; k < half; ++k) {
                sums.parts[k] = sums.parts[2 * k] + sums.parts[2 * k + 1];
            }
        }
        return sums.parts[0];
    }
};

// The truth values of iterations side by side.
template <class T, int count = 4> struct pack_mask {
    typedef decltype(typename pack<T, count>::part{} < typename pack<T, count>::part{}) part;

    part parts[count];

    pack_mask() = default;
    pack_mask(const pack_mask &other) { *this = other; }
    pack_mask &operator=(const pack_mask &other) {
        each_part<count>([&](int k) KS_INLINED { parts[k] = other.parts[k]; });
        return *this;
    }
    pack_mask(bool x) {
        each_part<count>([&](int k) KS_INLINED { parts[k] = x ? ~part{} : part{}; });
    }

    pack_mask operator!() const {
        pack_mask other;
        each_part<count>([&](int k) KS_INLINED { other.parts[k] = ~parts[k]; });
        return other;
    }
    friend inline pack_mask operator&&(pack_mask a, const pack_mask &b) {
        each_part<count>([&](int k) KS_INLINED { a.parts[k] &= b.parts[k]; });
        return a;
    }
    friend inline pack_mask operator!=(pack_mask a, const pack_mask &b) {
        each_part<count>([&](int k) KS_INLINED { a.parts[k] ^= b.parts[k]; });
        return a;
    }
    friend inline pack_mask operator==(const pack_mask &a, const pack_mask &b) { return !(a != b); }
    friend inline pack_mask operator||(pack_mask a, const pack_mask &b) {
        each_part<count>([&](int k) KS_INLINED { a.parts[k] |= b.parts[k]; });
        return a;
    }
};

// Of numbers here, of integers in ks/pack_int.h.
#define KS_PACK_COMPARISONS(define) define(<) define(<=) define(>) define(>=) define(==) define(!=)

#define KS_PACK_COMPARISON(symbol)                                                                                    \
    template <class T, int parts> inline pack_mask<T, parts> operator symbol(const pack<T, parts> &a, const pack<T, parts> &b) {\
        pack_mask<T, parts> holds;                                                                                    \
        each_part<parts>([&](int k) KS_INLINED { holds.parts[k] = a.parts[k] symbol b.parts[k]; });                              \
        return holds;                                                                                                 \
    }                                                                                                                 \
    template <class T, int parts> inline pack_mask<T, parts> operator symbol(const pack<T, parts> &a, T b) { return a symbol pack<T, parts>(b); }\
    template <class T, int parts> inline pack_mask<T, parts> operator symbol(T a, const pack<T, parts> &b) { return pack<T, parts>(a) symbol b; }
KS_PACK_COMPARISONS(KS_PACK_COMPARISON)
#undef KS_PACK_COMPARISON

template <class T, int parts> inline pack<T, parts> select(const pack_mask<T, parts> &c, const pack<T, parts> &a, const pack<T, parts> &b) {
    pack<T, parts> chosen;
    each_part<parts>([&](int k) KS_INLINED { chosen.parts[k] = c.parts[k] ? a.parts[k] : b.parts[k]; });
    return chosen;
}
// Choices of which one side, or both, is the same for all iterations.
#define KS_PACK_SELECT(kind, number)                                                                                  \
    template <class T, int parts> inline kind<T, parts> select(const pack_mask<T, parts> &c, const kind<T, parts> &a, number b) {\
        return select(c, a, kind<T, parts>(b));                                                                       \
    }                                                                                                                 \
    template <class T, int parts> inline kind<T, parts> select(const pack_mask<T, parts> &c, number a, const kind<T, parts> &b) {\
        return select(c, kind<T, parts>(a), b);                                                                       \
    }                                                                                                                 \
    template <class T, int parts> inline kind<T, parts> select(const pack_mask<T, parts> &c, number a, number b) {    \
        return select(c, kind<T, parts>(a), kind<T, parts>(b));                                                       \
    }
KS_PACK_SELECT(pack, T)

// The sum of all iterations: halves are added until one number is left.
template <class T, int parts> inline T sum(const pack<T, parts> &x) {
    T terms[pack<T, parts>::width];
    const typename pack<T, parts>::part total = x.total();
    __builtin_memcpy(terms, &total, sizeof terms);
    for (int half = pack<T, parts>::width / 2; half > 0; half /= 2) {
        for (int k = 0; k < half; ++k) {
            terms[k] += terms[k + half];
        }
    }
    return terms[0];
}

// A function of one number, or of two, for all iterations: a loop that the compiler vectorises.
template <class T, int parts, class Function> inline pack<T, parts> each(const pack<T, parts> &x, Function function) {
    T given[pack<T, parts>::lanes], found[pack<T, parts>::lanes];
    x.store(given);
    KS_LANES
    for (int k = 0; k < pack<T, parts>::lanes; ++k) {
        found[k] = function(given[k]);
    }
    return pack<T, parts>::load(found);
}
template <class T, int parts, class Function> inline pack<T, parts> each(const pack<T, parts> &x, const pack<T, parts> &y, Function function) {
    T given[pack<T, parts>::lanes], other[pack<T, parts>::lanes], found[pack<T, parts>::lanes];
    x.store(given);
    y.store(other);
    KS_LANES
    for (int k = 0; k < pack<T, parts>::lanes; ++k) {
        found[k] = function(given[k], other[k]);
    }
    return pack<T, parts>::load(found);
}

#define KS_PACK_UNARY(name)                                                                                           \
    template <class T, int parts> inline pack<T, parts> name(const pack<T, parts> &x) { return each(x, [](T own) { return ks::name(own); }); }
#define KS_PACK_BINARY(kind, number, name)                                                                            \
    template <class T, int parts> inline kind<T, parts> name(const kind<T, parts> &x, const kind<T, parts> &y) {      \
        return each(x, y, [](number a, number b) { return ks::name(a, b); });                                         \
    }                                                                                                                 \
    template <class T, int parts> inline kind<T, parts> name(const kind<T, parts> &x, number y) { return ks::name(x, kind<T, parts>(y)); }\
    template <class T, int parts> inline kind<T, parts> name(number x, const kind<T, parts> &y) { return ks::name(kind<T, parts>(x), y); }
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
KS_PACK_UNARY(sigmoid_of_minus)
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
KS_PACK_BINARY(pack, T, max)
KS_PACK_BINARY(pack, T, min)
KS_PACK_BINARY(pack, T, pow)
#undef KS_PACK_UNARY

// A divisor that all iterations share is divided by once for all lanes of a pack.
template <class A, class B> inline auto div_by(const A &a, const B &b) -> decltype(a / b) { return a / b; }

template <class T, int parts> inline pack_mask<T, parts> isnan(const pack<T, parts> &x) { return x != x; }
template <class T, int parts> inline pack_mask<T, parts> isinf(const pack<T, parts> &x) { return abs(x) == inf<T>; }
template <class T, int parts> inline pack_mask<T, parts> isfinite(const pack<T, parts> &x) { return abs(x) < inf<T>; }

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

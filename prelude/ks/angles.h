// Sine and cosine without a call, for loops: good for angles that are not large, which is found out while they run.
#ifndef KS_ANGLES_H
#define KS_ANGLES_H

#include <cstdint>
#include <type_traits>

#include "ks/macros.h"
#include "ks/scalar.h"

namespace ks {

// A quarter of a turn in three numbers, for multiplications that are fused with a subtraction, and in four parts without
// them, so short that a multiple of the first three is exact for all angles up to `limit`, none of them negative, which -0.0
// would not survive; and how a quotient is rounded by an addition, after which its last bits are the number of quarters.
template <class T> struct quarter_turn;
template <> struct quarter_turn<float> {
    typedef uint32_t bits;
    static constexpr float limit = 8192.0f;
    static constexpr float shift = 12582912.0f;
    static constexpr float reciprocal = 0.636619772f;
    static constexpr float parts[] = {1.5703125f, 4.8375129699707031e-4f, 7.5495336204767227e-8f, 2.56334406e-12f};
    static constexpr float rounded[] = {1.5707963f, 7.5497894e-08f, 5.3903025e-15f};
};
template <> struct quarter_turn<double> {
    typedef uint64_t bits;
    static constexpr double limit = 1048576.0;
    static constexpr double shift = 6755399441055744.0;
    static constexpr double reciprocal = 0.63661977236758134;
    static constexpr double parts[] = {1.57079632673412561417, 6.0771005063039660e-11, 2.0222662487111665e-21,
                                       8.4784551903340901e-32};
    static constexpr double rounded[] = {1.5707963267948966, 6.123233995736765e-17, 1.0828566739219139e-32};
};

// (sin(r) - r) / r and (cos(r) - 1) / r^2 of the square of r, at most an eighth of a turn. Zero is added to have +0.0 at the
// square of -0.0.
KS_FN float sine_excess(float square) {
    float p = -1.9514958e-4f * square + 8.3321584e-3f;
    p = p * square - 0.16666655f;
    return p * square + 0.0f;
}
KS_FN double sine_excess(double square) {
    double p = 1.589606778384142e-10 * square - 2.505074504345300e-8;
    p = p * square + 2.755731360456902e-6;
    p = p * square - 1.9841269829542751e-4;
    p = p * square + 8.3333333333220624e-3;
    p = p * square - 0.16666666666666630;
    return p * square + 0.0;
}
KS_FN float cosine_excess(float square) {
    float p = 2.4432785e-5f * square - 1.3887313e-3f;
    p = p * square + 4.1666646e-2f;
    return p * square - 0.5f;
}
KS_FN double cosine_excess(double square) {
    double p = -1.1358424167601238e-11 * square + 2.0875698721562560e-9;
    p = p * square - 2.7557314164076097e-7;
    p = p * square + 2.4801587288800384e-5;
    p = p * square - 1.3888888888872977e-3;
    p = p * square + 4.1666666666666593e-2;
    return p * square - 0.5;
}

// (sin(r) - r) / r of the square of r, at most a quarter of a turn; rounded so that no sine is larger than 1.
KS_FN float lone_sine_excess(float square) {
    float p = 2.6056307e-6f * square - 1.9809579e-4f;
    p = p * square + 8.3330655e-3f;
    p = p * square - 0.1666666f;
    return p * square + 0.0f;
}
KS_FN double lone_sine_excess(double square) {
    double p = 2.721085909215435e-15 * square - 7.642983204217069e-13;
    p = p * square + 1.6058939394449492e-10;
    p = p * square - 2.505210686675053e-8;
    p = p * square + 2.7557319211072837e-6;
    p = p * square - 1.9841269841208852e-4;
    p = p * square + 8.333333333333188e-3;
    p = p * square - 0.16666666666666666;
    return p * square + 0.0;
}

// Less than zero if an angle is beyond the limit: of floats the sign of what is left of it, which costs no comparison.
KS_FN int beyond(float x) {
    const float room = quarter_turn<float>::limit - __builtin_fabsf(x);
    int sign;
    __builtin_memcpy(&sign, &room, sizeof sign);
    return sign;
}
KS_FN int beyond(double x) { return -static_cast<int>(__builtin_fabs(x) > quarter_turn<double>::limit); }

// Sine and cosine for angles up to the limit; `far` is made less than zero if one is beyond, and what follows then is no sine at all.
// Where both are taken of one angle, compilers see that they have all but the last operation in common.
struct near_angles {
    template <class T> static T sin(int &far, T x) {
        const rotation<T> turned = rotate(far, x);
        return number<T>(turned.sine ^ turned.change ^ turned.sign);
    }
    template <class T> static T cos(int &far, T x) {
        const rotation<T> turned = rotate(far, x);
        return number<T>(turned.cosine ^ turned.change ^ turned.sign);
    }
    // The sine where no cosine is taken: by half turns, so that one polynomial is enough.
    template <class T> static T lone_sin(int &far, T x) {
        typedef quarter_turn<T> quarter;
        far |= beyond(x);
        const T shifted = x * (quarter::reciprocal * T(0.5)) + quarter::shift;
        const T r = without(x, shifted - quarter::shift, T(2));
        const T sine = lone_sine_excess(r * r) * r + r;
        return number<T>(bits_of(sine) ^ bits_of(shifted) << (8 * sizeof(T) - 1));
    }

  private:
    template <class T> static T number(typename quarter_turn<T>::bits bits) {
        T value;
        __builtin_memcpy(&value, &bits, sizeof value);
        return value;
    }
    template <class T> static typename quarter_turn<T>::bits bits_of(T x) {
        typename quarter_turn<T>::bits bits;
        __builtin_memcpy(&bits, &x, sizeof bits);
        return bits;
    }

    // All bits as the last one. Of 64, an arithmetic shift is no instruction of all processors that have vectors.
    static uint32_t spread(uint32_t n) { return static_cast<uint32_t>(static_cast<int32_t>(n << 31) >> 31); }
    static uint64_t spread(uint64_t n) { return 0 - (n & 1); }

    // Sine and cosine of the rest r, what makes one the other at odd quarters of a turn, and the sign of both. At odd quarters the
    // sine is that of -r: sin(r + 90°) is cos r, and cos(r + 90°) is sin(-r).
    template <class T> struct rotation {
        typename quarter_turn<T>::bits sine, cosine, change, sign;
    };

    // x without n turns of so many quarters, one or two. Fused, the first difference is exact, and so is each but for its own
    // rounding.
    template <class T> static T without(T x, T n, T quarters) {
        typedef quarter_turn<T> quarter;
#ifdef KS_FUSED
        T r = fused(-n, quarters * quarter::rounded[0], x);
        r = fused(-n, quarters * quarter::rounded[1], r);
        return fused(-n, quarters * quarter::rounded[2], r);
#else
        T r = x - n * (quarters * quarter::parts[0]);
        r = r - n * (quarters * quarter::parts[1]);
        r = r - n * (quarters * quarter::parts[2]);
        return r - n * (quarters * quarter::parts[3]);
#endif
    }

    template <class T> static rotation<T> rotate(int &far, T x) {
        typedef quarter_turn<T> quarter;
        typedef typename quarter::bits bits;
        far |= beyond(x);
        constexpr int last = 8 * sizeof(T) - 1;
        const T shifted = x * quarter::reciprocal + quarter::shift;
        const bits quarters = bits_of(shifted);
        const bits odd = quarters << last;
        const T rest = without(x, shifted - quarter::shift, T(1));
        const T square = rest * rest;
        const T r = number<T>(bits_of(rest) ^ odd);
        rotation<T> turned;
        turned.sine = bits_of(sine_excess(square) * r + r);
        turned.cosine = bits_of(cosine_excess(square) * square + T(1));
        turned.change = (turned.sine ^ turned.cosine) & spread(quarters);
        turned.sign = quarters << (last - 1) & bits(1) << last;
        return turned;
    }
};

// The same for all angles, by the C library.
struct any_angles {
    template <class T> static T sin(int &, T x) { return ks::sin(x); }
    template <class T> static T cos(int &, T x) { return ks::cos(x); }
    template <class T> static T lone_sin(int &, T x) { return ks::sin(x); }
};

// Whether one of n numbers, as many as registers hold, is less than zero.
template <int n> inline bool any(const int *flags) {
#if defined(__AVX512F__) && !defined(__clang__)
    if constexpr (n % 16 == 0) {
        typedef int part __attribute__((vector_size(64)));
        unsigned found = 0;
        for (int k = 0; k < n; k += 16) {
            part some;
            __builtin_memcpy(&some, flags + k, sizeof some);
            found |= __builtin_ia32_ptestmd512(some, part{} + INT32_MIN, static_cast<unsigned short>(-1));
        }
        return found != 0;
    }
#endif
    int found = 0;
    for (int k = 0; k < n; ++k) {
        found |= flags[k];
    }
    return found < 0;
}

// Runs a loop over k of f(angles, far, k), which stores what does not depend on what it stored before; and once more if an
// angle was large. What would be left over for no whole register at the end is run together with iterations before it, for
// the second time. f is inlined before the loop is looked at and has what it refers to; otherwise that is loaded again in
// each iteration.
template <class F> KS_INLINED inline void angles(int64_t first, int64_t last, F f) {
    constexpr int64_t lanes = 16;
    const int64_t whole = last - first < lanes ? last : last - (last - first) % lanes;
    int far = 0;
    for (int64_t from = first, to = whole;; from = last - lanes, to = last) {
        KS_LANES_OR(far)
        for (int64_t k = from; k < to; ++k) {
            f(near_angles(), far, k);
        }
        if (to == last) {
            break;
        }
    }
    if (__builtin_expect(far < 0, 0)) {
        KS_LANES_OR(far)
        for (int64_t k = first; k < last; ++k) {
            f(any_angles(), far, k);
        }
    }
}

// The same for n iterations, as many as registers hold, with a flag for each.
template <int n, class F> KS_INLINED inline void angles(F f) {
    int far[n] = {};
    KS_LANES
    for (int64_t k = 0; k < n; ++k) {
        f(near_angles(), far[k], k);
    }
    if (__builtin_expect(any<n>(far), 0)) {
        KS_LANES
        for (int64_t k = 0; k < n; ++k) {
            f(any_angles(), far[k], k);
        }
    }
}

// f of a constant that has the value of c: a loop in which nothing chooses by c is compiled for each value.
template <class F> inline void either(bool c, F f) {
    if (c) {
        f(std::true_type());
    } else {
        f(std::false_type());
    }
}

}  // namespace ks

#endif

// The functions of one lane, for float and double. Special values are IEEE's, and what follows -0.0, infinities and
// NaN is as in PyTorch. Errors are at most 4 ULP unless a function says otherwise.
#ifndef KS_SCALAR_H
#define KS_SCALAR_H

#include <cstdint>

#include "ks/integer.h"
#include "ks/limits.h"
#include "ks/macros.h"
#include "ks/maths.h"
#include "ks/polynomial.h"
#include "ks/special.h"
#include "ks/vecmath.h"

namespace ks {

// Functions of the C library, under one name for both widths.
#define KS_UNARY(name, library) KS_UNARY_OF(name, library)
#define KS_UNARY_OF(name, library)                                 \
    KS_FN double name(double x) { return ::library(x); }           \
    KS_FN float name(float x) { return ::library##f(x); }
#define KS_BINARY(name, library)                                            \
    KS_FN double name(double a, double b) { return ::library(a, b); }       \
    KS_FN float name(float a, float b) { return ::library##f(a, b); }

KS_UNARY(abs, fabs)
KS_UNARY(floor, floor)
KS_UNARY(ceil, ceil)
KS_UNARY(trunc, trunc)
KS_UNARY(round, rint)
KS_UNARY(sqrt, sqrt)
KS_UNARY(cbrt, cbrt)
KS_UNARY(exp2, exp2)
KS_UNARY(expm1, expm1)
KS_UNARY(log, log)
KS_UNARY(log2, log2)
KS_UNARY(log10, log10)
KS_UNARY(log1p, log1p)
KS_UNARY(sin, KS_SIN)
KS_UNARY(cos, KS_COS)
KS_UNARY(tan, tan)
KS_UNARY(asin, asin)
KS_UNARY(acos, acos)
KS_UNARY(atan, atan)
KS_UNARY(sinh, sinh)
KS_UNARY(cosh, cosh)
KS_UNARY(asinh, asinh)
KS_UNARY(acosh, acosh)
KS_UNARY(atanh, atanh)
KS_UNARY(erfc, erfc)
KS_UNARY(gamma, tgamma)
KS_BINARY(pow, pow)
KS_BINARY(atan2, atan2)
KS_BINARY(hypot, hypot)
KS_BINARY(fmod, fmod)
KS_BINARY(remainder, remainder)
KS_BINARY(copysign, copysign)
KS_BINARY(nextafter, nextafter)

KS_FN double exp(double x) { return ::exp(x); }
#ifdef __CUDACC__
KS_FN float exp(float x) { return ::expf(x); }
KS_FN float exp_minus(float x) { return ::expf(-x); }
#else
KS_FN float exp(float x) { return exp_polynomial(x); }
KS_FN float exp_minus(float x) { return exp_minus_polynomial(x); }
#endif
KS_FN double exp_minus(double x) { return ::exp(-x); }

KS_FN double erf(double x) { return ::erf(x); }
KS_FN float erf(float x) { return erf_polynomial(x); }

// The vector version for double of the C library is slow; this one is good to 4 ULP too.
KS_FN double tanh(double x) {
    const double t = ::expm1(-2.0 * ::fabs(x));
    return ::copysign(t / (t + 2.0), x);
}
KS_FN float tanh(float x) { return ::tanhf(x); }

#undef KS_UNARY
#undef KS_UNARY_OF
#undef KS_SIN
#undef KS_COS
#undef KS_BINARY

// Questions.

template <class T> KS_FN bool isnan(T x) { return x != x; }
template <class T> KS_FN bool isinf(T x) { return abs(x) == inf<T>; }
template <class T> KS_FN bool isfinite(T x) { return abs(x) < inf<T>; }
template <class T> KS_FN bool signbit(T x) { return copysign(T(1), x) < T(0); }

// Choice. The larger and the smaller one: the first at a tie, NaN where either is.

KS_FN int64_t max(int64_t a, int64_t b) { return a >= b ? a : b; }
KS_FN int64_t min(int64_t a, int64_t b) { return a <= b ? a : b; }
KS_FN int64_t clamp_min(int64_t a, int64_t low) { return a < low ? low : a; }
KS_FN int64_t clamp_max(int64_t a, int64_t high) { return a > high ? high : a; }
KS_FN int64_t clamp(int64_t a, int64_t low, int64_t high) { return clamp_max(clamp_min(a, low), high); }
template <class T> KS_FN T max(T a, T b) { return a >= b || a != a ? a : b; }
template <class T> KS_FN T min(T a, T b) { return a <= b || a != a ? a : b; }
#if defined(KS_SUMS_IN_LANES) && !defined(__CUDACC__)
#pragma omp declare reduction(largest : float, double : omp_out = max(omp_out, omp_in)) initializer(omp_priv = omp_orig)
#pragma omp declare reduction(smallest : float, double : omp_out = min(omp_out, omp_in)) initializer(omp_priv = omp_orig)
#endif
// c ? a : b without a branch, for loops in which compilers would make too much of one.
KS_FN float select(bool c, float a, float b) {
    int32_t bits, other;
    __builtin_memcpy(&bits, &a, sizeof a);
    __builtin_memcpy(&other, &b, sizeof b);
    const int32_t mask = -static_cast<int32_t>(c);
    bits = (bits & mask) | (other & ~mask);
    __builtin_memcpy(&a, &bits, sizeof a);
    return a;
}
KS_FN double select(bool c, double a, double b) {
    int64_t bits, other;
    __builtin_memcpy(&bits, &a, sizeof a);
    __builtin_memcpy(&other, &b, sizeof b);
    const int64_t mask = -static_cast<int64_t>(c);
    bits = (bits & mask) | (other & ~mask);
    __builtin_memcpy(&a, &bits, sizeof a);
    return a;
}
template <class T> KS_FN T clamp_min(T a, T low) { return a < low || low != low ? low : a; }
template <class T> KS_FN T clamp_max(T a, T high) { return a > high || high != high ? high : a; }
template <class T> KS_FN T clamp(T a, T low, T high) { return clamp_max(clamp_min(a, low), high); }
// Zero for NaN as for zero.
template <class T> KS_FN T sign(T x) { return abs(x) > T(0) ? copysign(T(1), x) : T(0); }

// Quotients and remainders.

// a / b in loops in which b stays the same: compilers move what follows from b alone out of them, and what is left, a
// product and its correction (Markstein 1990), takes a quarter of the time of a division. Correctly rounded but where
// subnormal numbers get into it, there to 1.5 ULP. A tiny divisor is scaled, lest its inverse be infinite; where the
// correction is not a number, as that of an infinity, there is nothing to correct.
#if defined(__FP_FAST_FMAF) && defined(__FP_FAST_FMA) && !defined(__CUDACC__) && !defined(KS_NO_FUSED)
#define KS_FUSED
KS_FN float fused(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
KS_FN double fused(double a, double b, double c) { return __builtin_fma(a, b, c); }

template <class T> KS_FN T div_by(T a, T b, T tiny, T large) {
    const T size = abs(b);
    const T scale = size < tiny ? large : T(1);
    const T divisor = size * scale;
    const T inverse = T(1) / divisor;
    const T scaled = a * copysign(scale, b);
    const T near = scaled * inverse;
    const T nearest = fused(-fused(near, divisor, -scaled), inverse, near);
    return nearest == nearest ? nearest : near;
}
KS_FN float div_by(float a, float b) { return div_by(a, b, 0x1p-100f, 0x1p64f); }
KS_FN double div_by(double a, double b) { return div_by(a, b, 0x1p-900, 0x1p500); }
#else
template <class T> KS_FN T div_by(T a, T b) { return a / b; }
#endif

template <class T> KS_FN T frac(T x) { return x - trunc(x); }

// Python's a % b: the sign is b's; NaN where b is zero.
template <class T> KS_FN T floormod(T a, T b) {
    const T rest = fmod(a, b);
    if (rest == T(0)) {
        return copysign(T(0), b);
    }
    return (rest < T(0)) != (b < T(0)) ? rest + b : rest;
}

// Python's a // b, and a / b where b is zero.
template <class T> KS_FN T floordiv(T a, T b) {
    if (b == T(0)) {
        return a / b;
    }
    const T rest = fmod(a, b);
    T quotient = (a - rest) / b;
    if (rest != T(0) && (rest < T(0)) != (b < T(0))) {
        quotient -= T(1);
    }
    if (quotient == T(0)) {
        return copysign(T(0), a / b);
    }
    const T whole = floor(quotient);
    return quotient - whole > T(0.5) ? whole + T(1) : whole;
}

// Conversions and parts.

// The number, whose derivative is that of the other one.
template <class T> KS_FN T with_value(T, T value) { return value; }

// Whether truncation gives a 64-bit integer.
template <class T> KS_FN bool fits_int(T x) { return x >= T(-9223372036854775808.0) && x < T(9223372036854775808.0); }

// Truncates; zero where the result does not fit.
template <class T> KS_FN int64_t to_int(T x) { return static_cast<int64_t>(fits_int(x) ? x : T(0)); }

KS_FN int small_int(int64_t n) { return static_cast<int>(clamp<int64_t>(n, -5000, 5000)); }
KS_FN double ldexp(double x, int64_t n) { return ::ldexp(x, small_int(n)); }
KS_FN float ldexp(float x, int64_t n) { return ::ldexpf(x, small_int(n)); }

// n where x = m 2^n with 0.5 <= |m| < 1; zero for zero, infinities and NaN.
template <class T> KS_FN int64_t exponent(T x) {
    int n = 0;
    if (isfinite(x)) {
        (void)::frexp(static_cast<double>(x), &n);
    }
    return n;
}

// Powers and roots.

template <class T> KS_FN T rsqrt(T x) { return T(1) / sqrt(x); }

// x to a whole power. An exponent that is no exact number of type T loses its oddness in rounding, hence the second case.
template <class T> KS_FN T powi(T x, int64_t n) {
    constexpr int64_t exact = sizeof(T) == 4 ? int64_t{1} << 24 : int64_t{1} << 53;
    if (-exact <= n && n <= exact) {
        return pow(x, T(n));
    }
    const T size = pow(abs(x), T(n));
    return n % 2 != 0 ? copysign(size, x) : size;
}

// Functions that need care where exp overflows or cancels.

// 1 / (1 + exp(-x)).
template <class T> KS_FN T sigmoid(T x) {
    const T small = exp(-abs(x));
    return (x >= T(0) ? T(1) : small) / (T(1) + small);
}
KS_FN float sigmoid(float x) { return sigmoid_polynomial(x); }

// 1 / (1 + exp(|x|)), the sigmoid of -|x|.
template <class T> KS_FN T sigmoid_of_minus(T x) {
    const T small = exp(-abs(x));
    return small / (T(1) + small);
}
KS_FN float sigmoid_of_minus(float x) { return sigmoid_of_minus_polynomial(x); }

// log(1 + exp(x)).
template <class T> KS_FN T softplus(T x) { return (x < T(0) ? T(0) : x) + log1p(exp(-abs(x))); }

KS_FN float softplus(float x) { return (x < 0.0f ? 0.0f : x) + log1p_of_share(exp_of_minus(x)); }

// log(exp(a) + exp(b)).
template <class T> KS_FN T logaddexp(T a, T b) {
    const T gap = a == b ? T(0) : abs(a - b);
    return max(a, b) + log1p(exp(-gap));
}

// x log(y), zero where x is zero and y is not NaN; likewise x log(1 + y).
template <class T> KS_FN T xlogy(T x, T y) { return x == T(0) && y == y ? T(0) : x * log(y); }
template <class T> KS_FN T xlog1py(T x, T y) { return x == T(0) && y == y ? T(0) : x * log1p(y); }

// -x log(x), zero at zero, minus infinity below.
template <class T> KS_FN T entr(T x) { return x == T(0) ? T(0) : x < T(0) ? -inf<T> : -x * log(x); }

// sin(pi x) / (pi x), one at zero. The sine of the distance to the nearest whole number keeps its digits near the zeros.
template <class T> KS_FN T sinc(T x) {
    const T whole = round(x);
    const bool odd = round(whole * T(0.5)) * T(2) != whole;
    const T sine = sin(T(pi) * (x - whole));
    return x == T(0) ? T(1) : (odd ? -sine : sine) / (T(pi) * x);
}

}  // namespace ks

#endif

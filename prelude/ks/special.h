// Special functions that the C library lacks. They work in double for either width, so the float versions are good to
// one ULP; the methods are those of ksc/ops/special_values.py.
#ifndef KS_SPECIAL_H
#define KS_SPECIAL_H

#include <cstdint>

#include "ks/limits.h"
#include "ks/macros.h"
#include "ks/maths.h"
#include "ks/vecmath.h"

namespace ks {

constexpr double pi = 3.14159265358979323846;
constexpr double sqrt_pi = 1.77245385090551602730;

#if defined(__GLIBC__) && !defined(__CUDACC__)
// lgamma would write the sign of gamma to a global variable.
KS_FN double lgamma(double x) {
    int sign;
    return ::lgamma_r(x, &sign);
}
KS_FN float lgamma(float x) {
    int sign;
    return ::lgammaf_r(x, &sign);
}
#else
KS_FN double lgamma(double x) { return ::lgamma(x); }
KS_FN float lgamma(float x) { return ::lgammaf(x); }
#endif

// The inverse of erf: Winitzki's formula, good to three digits, then Halley's method on erf, or on erfc near the ends.
KS_FN double erfinv(double a) {
    const double size = ::fabs(a);
    if (!(size < 1.0)) {
        return size == 1.0 ? ::copysign(inf<double>, a) : nan<double>;
    }
    const double w = -::log((1.0 - size) * (1.0 + size));
    const double b = 2.0 / (pi * 0.147) - w / 2.0;
    double x = w > 1e-10 ? ::sqrt(::fmax(::sqrt(b * b + w / 0.147) - b, 0.0)) : size * (sqrt_pi / 2.0);
    for (int k = 0; k < 3; ++k) {
        const double error = size < 0.5 ? ::erf(x) - size : (1.0 - size) - ::erfc(x);
        const double step = error / ((2.0 / sqrt_pi) * ::exp(-x * x));
        x -= step / (1.0 + x * step);
    }
    return ::copysign(x, a);
}

// exp(x^2) erfc(x): the product, with x^2 split in two, below 5; a continued fraction above.
KS_FN double erfcx(double x) {
    if (x < 5.0) {
        if (x <= -40.0) {
            return inf<double>;
        }
        const double high = ::trunc(x * 64.0) / 64.0;
        return ::exp(high * high) * ::exp((x + high) * (x - high)) * ::erfc(x);
    }
    double tail = 0.0;
    if (x < 1e8) {
        for (int k = 60; k > 0; --k) {
            tail = (k / 2.0) / (x + tail);
        }
    }
    return 1.0 / ((x + tail) * sqrt_pi);
}

// cot(pi x), reduced first so that it is exact about the poles.
KS_FN double cot_pi(double x) {
    const double f = x - ::rint(x);
    if (::fabs(f) > 0.25) {
        return -::tan(pi * (f - ::copysign(0.5, f)));
    }
    return 1.0 / ::tan(pi * f);
}

// The logarithmic derivative of gamma: reflection, recurrence up to 10, asymptotic series.
KS_FN double digamma(double x) {
    if (x == 0.0) {
        return -::copysign(inf<double>, x);
    }
    if (x < 0.0 && x == ::floor(x)) {
        return nan<double>;
    }
    double value = 0.0;
    if (x < 0.0) {
        value = -pi * cot_pi(x);
        x = 1.0 - x;
    }
    double shift = 0.0;
    for (; x < 10.0; x += 1.0) {
        shift += 1.0 / x;
    }
    const double z = 1.0 / (x * x);
    const double series =
        z * (1.0 / 12 - z * (1.0 / 120 - z * (1.0 / 252 - z * (1.0 / 240 - z * (1.0 / 132 - z * (691.0 / 32760 - z / 12))))));
    return value + (::log(x) - 0.5 / x - series - shift);
}

// Hurwitz' zeta function for whole s > 1 and x > 0, by the Euler-Maclaurin formula.
KS_FN double zeta(double s, double x) {
    // B(2k) / (2k)! for k = 1 to 10.
    constexpr double coefficients[] = {1.0 / 12,
                                       -1.0 / 720,
                                       1.0 / 30240,
                                       -1.0 / 1209600,
                                       1.0 / 47900160,
                                       -691.0 / 1307674368000.0,
                                       1.0 / 74724249600.0,
                                       -3617.0 / 10670622842880000.0,
                                       43867.0 / 5109094217170944000.0,
                                       -174611.0 / 802857662698291200000.0};
    double total = 0.0;
    for (; x < 10.0 + s; x += 1.0) {
        total += ::pow(x, -s);
    }
    const double power = ::pow(x, -s);
    total += power * (x / (s - 1.0) + 0.5);
    double factor = s * power / x;
    for (int k = 0; k < 10; ++k) {
        const double term = coefficients[k] * factor;
        total += term;
        if (::fabs(term) < 1e-17 * ::fabs(total)) {
            break;
        }
        factor *= (s + 2.0 * k + 1.0) * (s + 2.0 * k + 2.0) / (x * x);
    }
    return total;
}

constexpr int poles_summed_above = 30;

// The nth derivative of pi cot(pi x): a polynomial in the cotangent, whose derivative is P'(c) (-pi) (1 + c^2).
KS_FN double cot_derivative(int n, double x) {
    double coefficients[poles_summed_above + 2] = {0.0, pi};
    for (int degree = 1; degree <= n; ++degree) {
        double following[poles_summed_above + 2] = {};
        for (int k = 1; k <= degree; ++k) {
            const double slope = -pi * k * coefficients[k];
            following[k - 1] += slope;
            following[k + 1] += slope;
        }
        for (int k = 0; k <= degree + 1; ++k) {
            coefficients[k] = following[k];
        }
    }
    const double c = cot_pi(x);
    double value = coefficients[n + 1];
    for (int k = n; k >= 0; --k) {
        value = value * c + coefficients[k];
    }
    return value;
}

// The nth derivative of digamma: (-1)^(n+1) n! zeta(n + 1, x), by reflection for negative x.
KS_FN double polygamma(int64_t n, double x) {
    if (n < 0 || x != x || x == -inf<double>) {
        return nan<double>;
    }
    if (n == 0) {
        return digamma(x);
    }
    const bool odd = n % 2 != 0;
    const double sign = odd ? 1.0 : -1.0;
    if (x == inf<double>) {
        return sign * 0.0;
    }
    if (x <= 0.0 && x == ::floor(x)) {
        return odd ? inf<double> : x != 0.0 ? nan<double> : -::copysign(inf<double>, x);
    }
    const double order = static_cast<double>(n);
    const double factorial = ::tgamma(order + 1.0);
    if (x > 0.0) {
        return sign * factorial * zeta(order + 1.0, x);
    }
    if (n <= poles_summed_above) {
        return -factorial * zeta(order + 1.0, 1.0 - x) - cot_derivative(static_cast<int>(n), x);
    }
    const double nearest = ::rint(x);
    double total = 0.0;
    for (double k = -::fmin(-nearest, 8.0); k < 9.0; k += 1.0) {
        const double distance = x - nearest + k;
        const double size = ::pow(::fabs(distance), -(order + 1.0));
        total += odd ? size : ::copysign(size, distance);
    }
    return sign * factorial * total;
}

// The sum over even m >= n of (-1)^(m/2) z^(m-n) / ((m-n)! (m+1)).
KS_FN double sinc_series(int64_t n, double z) {
    double m = static_cast<double>(n + n % 2);
    const double order = static_cast<double>(n);
    double power = ((n + n % 2) % 4 == 0 ? 1.0 : -1.0) * (n % 2 != 0 ? z : 1.0);
    double total = 0.0;
    for (;;) {
        const double term = power / (m + 1.0);
        total += term;
        if (::fabs(term) <= 1e-18 * ::fabs(total) || m > order + 120.0) {
            return total;
        }
        power *= -z * z / ((m - order + 1.0) * (m - order + 2.0));
        m += 2.0;
    }
}

// The nth derivative of sinc: Taylor's series near zero, else z s(n) + n s(n-1) = sin(z + n pi/2) with z = pi x.
KS_FN double sinc_derivative(int64_t n, double x) {
    if (n < 0 || !(::fabs(x) < inf<double>)) {
        return nan<double>;
    }
    const double z = pi * x;
    const double scale = ::pow(pi, static_cast<double>(n));
    if (::fabs(z) <= 1.5 + static_cast<double>(n)) {
        return scale * sinc_series(n, z);
    }
    const double sine = ::sin(z);
    const double cosine = ::cos(z);
    const double quarters[] = {sine, cosine, -sine, -cosine};
    double value = sine / z;
    for (int64_t k = 1; k <= n; ++k) {
        value = (quarters[k % 4] - static_cast<double>(k) * value) / z;
    }
    return scale * value;
}

KS_FN float erfinv(float x) { return static_cast<float>(erfinv(static_cast<double>(x))); }
KS_FN float erfcx(float x) { return static_cast<float>(erfcx(static_cast<double>(x))); }
KS_FN float digamma(float x) { return static_cast<float>(digamma(static_cast<double>(x))); }
KS_FN float polygamma(int64_t n, float x) { return static_cast<float>(polygamma(n, static_cast<double>(x))); }
KS_FN float sinc_derivative(int64_t n, float x) { return static_cast<float>(sinc_derivative(n, static_cast<double>(x))); }

}  // namespace ks

#endif

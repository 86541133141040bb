// Functions that compilers vectorise by themselves: polynomials without branches, tables or calls, so that what a lane
// gives does not depend on its place in a loop. Here are those that are faster so than with the vector version of the C
// library; docs/design/0012-vector-maths.md has their errors.
#ifndef KS_POLYNOMIAL_H
#define KS_POLYNOMIAL_H

#include <cstdint>

#include "ks/macros.h"

namespace ks {

// 2^n for -127 < n < 128, from n + 12583039, in whose last bits n + 127 stands: they become the exponent.
KS_FN float power_of_two(float shifted) {
    uint32_t bits;
    __builtin_memcpy(&bits, &shifted, sizeof bits);
    bits <<= 23;
    float power;
    __builtin_memcpy(&power, &bits, sizeof power);
    return power;
}

// 2^k e^(t / 2) = 2^(n + k) e^(r / 2) for |t| <= 104 and |k| <= 50, where 2^(n + k) is a normal number; `bias` is 12583039 + k.
KS_FN float exp_half(float t, float bias) {
    const float shifted = t * 0.72134752f + bias;
    const float n = shifted - bias;
    const float r = (t - n * 1.38629150f) - n * 2.8572135e-6f;
    float p = 2.1592092e-5f * r + 2.61522e-4f;
    p = p * r + 2.604268e-3f;
    p = p * r + 2.0833151e-2f;
    p = p * r + 0.124999985f;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    return p * power_of_two(shifted);
}

// e^t for |t| <= 104: a square, so that one multiplication overflows to infinity and underflows to subnormals as it
// should. At most 3.2 ULP.
KS_FN float exp_within(float t) {
    const float root = exp_half(t, 12583039.0f);
    return root * root;
}

// e^x, e^-x, and e^-|x|. Where compilers see that x is not negative they make the third of the second. Two bounds, one
// after the other, would be choices of which one decides the other; compilers follow such paths through the polynomial,
// which is then no longer one for all lanes.
KS_FN float exp_polynomial(float x) {
    const float size = __builtin_fabsf(x);
    return exp_within(__builtin_copysignf(104.0f < size ? 104.0f : size, x));
}
KS_FN float exp_minus_polynomial(float x) {
    const float size = __builtin_fabsf(x);
    return exp_within(-__builtin_copysignf(104.0f < size ? 104.0f : size, x));
}
KS_FN float exp_of_minus(float x) {
    const float size = __builtin_fabsf(x);
    return exp_within(-(104.0f < size ? 104.0f : size));
}

// 1 / (1 + e^-x), both sides of which are multiplied by 2^-24: what would overflow is finite, and so the quotient is right
// down to the subnormals without a choice.
KS_FN float sigmoid_polynomial(float x) {
    const float size = __builtin_fabsf(x);
    const float root = exp_half(-__builtin_copysignf(104.0f < size ? 104.0f : size, x), 12583027.0f);
    return 0x1p-24f / (root * root + 0x1p-24f);
}

// log(1 + y) for 0 <= y <= 1, to 2 ULP; with a sum at its end, which no addition that follows can be fused with.
KS_FN float log1p_of_share(float y) {
    float p = -3.2910742e-3f * y + 2.008846e-2f;
    p = p * y - 5.7460483e-2f;
    p = p * y + 0.10661371f;
    p = p * y - 0.15344977f;
    p = p * y + 0.19692121f;
    p = p * y - 0.2495802f;
    p = p * y + 0.33330464f;
    p = p * y - 0.4999993f;
    return p * y * y + y;
}

// The smaller of two numbers that are not negative, by their bits; of NaN and a number the number.
KS_FN float least_size(float a, float b) {
    int32_t bits, other;
    __builtin_memcpy(&bits, &a, sizeof a);
    __builtin_memcpy(&other, &b, sizeof b);
    bits = bits < other ? bits : other;
    __builtin_memcpy(&a, &bits, sizeof a);
    return a;
}

// Below 0.97 x + x P(x^2), above 1 - Q(|x|)^8, which is 1 from 4 on: at most 3 ULP. The coefficients are minimax fits,
// rounded one after the other.
KS_FN float erf_polynomial(float x) {
    const float size = __builtin_fabsf(x);
    const float t = least_size(size, 4.0f);
    const float square = t * t;
    float p = 7.9885467e-5f * square - 8.0476061e-4f;
    p = p * square + 5.1922123e-3f;
    p = p * square - 2.6855664e-2f;
    p = p * square + 0.11283625f;
    p = p * square - 0.37612627f;
    p = p * square + 0.12837917f;
    float q = 1.8346325e-5f * t - 7.4100230e-5f;
    q = q * t - 1.3250950e-3f;
    q = q * t + 9.7488062e-3f;
    q = q * t - 6.1984789e-3f;
    q = q * t - 6.6376977e-2f;
    q = q * t - 0.14248316f;
    q = q * t + 1.0002708f;
    const float fourth = (q * q) * (q * q);
    const float value = size >= 0.97f ? 1.0f - fourth * fourth : size + size * p;
    return __builtin_copysignf(value, x);
}

}  // namespace ks

#endif

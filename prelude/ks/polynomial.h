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

// Bounds by the bits of a number cost less than comparisons of floats. What is added to the bits first puts +inf last among
// the signed integers, and -inf among the unsigned ones, so that a minimum of either cuts off what lies between a bound and
// the infinity, and NaN passes. Bounds are constants of a template: compilers know a minimum with a constant, where two
// variables were a branch for them, which they would follow through the whole polynomial.
constexpr uint32_t past_nan = 0x007fffffu;

template <uint32_t high> KS_FN uint32_t bits_at_most(uint32_t bits) {
    constexpr int32_t bound = static_cast<int32_t>(high + past_nan);
    const int32_t own = static_cast<int32_t>(bits);
    const int32_t least = own < bound ? own : bound;
    return static_cast<uint32_t>(least);
}
template <uint32_t low> KS_FN uint32_t bits_at_least(uint32_t bits) {
    constexpr uint32_t bound = low + past_nan;
    const uint32_t least = bits < bound ? bits : bound;
    return least;
}
template <uint32_t low, uint32_t high> KS_FN float bounded(float x) {
    uint32_t bits;
    __builtin_memcpy(&bits, &x, sizeof bits);
    bits = bits_at_least<low>(bits_at_most<high>(bits + past_nan)) - past_nan;
    __builtin_memcpy(&x, &bits, sizeof x);
    return x;
}
template <uint32_t high> KS_FN float bounded_above(float x) {
    uint32_t bits;
    __builtin_memcpy(&bits, &x, sizeof bits);
    bits = bits_at_most<high>(bits + past_nan) - past_nan;
    __builtin_memcpy(&x, &bits, sizeof x);
    return x;
}
constexpr uint32_t bits_of_64 = 0x42800000u, bits_of_104 = 0x42d00000u, bits_of_minus_104 = 0xc2d00000u;

// e^t for |t| <= 104: the square of 2^n e^(r / 2), in which 2^n is a normal number, so that one multiplication overflows to
// infinity and underflows to subnormals as it should. At most 3.2 ULP.
KS_FN float exp_within(float t) {
    const float shifted = t * 0.72134752f + 12583039.0f;
    const float n = shifted - 12583039.0f;
    const float r = (t - n * 1.38629150f) - n * 2.8572135e-6f;
    float p = 2.1592092e-5f * r + 2.61522e-4f;
    p = p * r + 2.604268e-3f;
    p = p * r + 2.0833151e-2f;
    p = p * r + 0.124999985f;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    const float root = p * power_of_two(shifted);
    return root * root;
}

// e^x, and e^-x, which has the same bits: by one comparison with |x|, which is none with the sign where compilers see that
// x is not negative.
KS_FN float exp_polynomial(float x) { return exp_within(bounded<bits_of_minus_104, bits_of_104>(x)); }
KS_FN float exp_minus_polynomial(float x) {
    const float size = __builtin_fabsf(x);
    return exp_within(-__builtin_copysignf(104.0f < size ? 104.0f : size, x));
}

// 2^k e^t as a product, to 2 ULP, where 2^(n + k) is a normal number for the whole n next to t / log 2; `bias` is
// 12583039 + k. A function of which t is bounded to one side more than to the other has room for it, and need not square.
struct scaled_exp {
    float fraction;
    float power;
};
KS_FN scaled_exp exp_of(float t, float bias) {
    const float shifted = t * 1.44269504f + bias;
    const float n = shifted - bias;
    const float r = (t - n * 0.693145752f) - n * 1.42860677e-6f;
    float p = 8.2902741e-3f * r + 4.1898161e-2f;
    p = p * r + 0.16667639f;
    p = p * r + 0.49999148f;
    p = p * r + 0.9999997f;
    p = p * r + 1.0f;
    return {p, power_of_two(shifted)};
}

// e^-|x|.
KS_FN float exp_of_minus(float x) {
    const float size = __builtin_fabsf(x);
    const scaled_exp e = exp_of(-(104.0f < size ? 104.0f : size), 12583103.0f);
    return e.fraction * e.power * 0x1p-64f;
}

// 1 / (1 + e^u) for -64 <= u <= 104, both sides of which are multiplied by 2^-24: what would overflow is finite, and so
// the quotient is right down to the subnormals without a choice.
KS_FN float share_of_one(float u) {
    const scaled_exp e = exp_of(u, 12583015.0f);
    return 0x1p-24f / (e.fraction * e.power + 0x1p-24f);
}
// 1 / (1 + e^-x) and 1 / (1 + e^|x|).
KS_FN float sigmoid_polynomial(float x) { return share_of_one(-bounded<bits_of_minus_104, bits_of_64>(x)); }
KS_FN float sigmoid_of_minus_polynomial(float x) { return share_of_one(bounded_above<bits_of_104>(__builtin_fabsf(x))); }

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

// The larger of two numbers of which one is not negative, by their bits; NaN where one is, if its sign is plus.
KS_FN float most_size(float a, float b) {
    int32_t bits, other;
    __builtin_memcpy(&bits, &a, sizeof a);
    __builtin_memcpy(&other, &b, sizeof b);
    bits = bits > other ? bits : other;
    __builtin_memcpy(&a, &bits, sizeof a);
    return a;
}

// Below 0.95 x + x P(x^2), above 1 - Q(|x|)^8, which is 1 from 4 on: at most 3 ULP. Each falls below erf where the other
// one stands for it, so that the larger of both is the choice. The coefficients are minimax fits, rounded one after the other.
KS_FN float erf_polynomial(float x) {
    const float size = __builtin_fabsf(x);
    const float t = least_size(size, 4.0f);
    const float square = t * t;
    float p = -5.8599014e-4f * square + 4.9670585e-3f;
    p = p * square - 2.6748545e-2f;
    p = p * square + 0.112813115f;
    p = p * square - 0.37612444f;
    p = p * square + 0.12837914f;
    const float high = 1.4279411e-4f * t - 2.3966560e-3f;
    const float middle = 1.2618312e-2f * t - 1.0699965e-2f;
    const float low = -6.2236637e-2f * t - 0.14455256f;
    const float q = ((high * square + middle) * square + low) * t + 1.0007049f;
    const float fourth = (q * q) * (q * q);
    return __builtin_copysignf(most_size(1.0f - fourth * fourth, size * p + t), x);
}

}  // namespace ks

#endif

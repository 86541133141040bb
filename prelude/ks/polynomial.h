// Functions that compilers vectorise by themselves: polynomials without branches, tables or calls, so that what a lane
// gives does not depend on its place in a loop. Here are those that are faster so than with the vector version of the C
// library; docs/design/0012-vector-maths.md has their errors.
#ifndef KS_POLYNOMIAL_H
#define KS_POLYNOMIAL_H

#include "ks/macros.h"

namespace ks {

// Below 0.97 x + x P(x^2), above 1 - Q(|x|)^8, which is 1 from 4 on: at most 3 ULP. The coefficients are minimax fits,
// rounded one after the other.
KS_FN float erf_polynomial(float x) {
    const float size = __builtin_fabsf(x);
    const float t = size > 4.0f ? 4.0f : size;
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
    const float value = size < 0.97f ? size + size * p : 1.0f - fourth * fourth;
    return __builtin_copysignf(x == x ? value : x, x);
}

}  // namespace ks

#endif

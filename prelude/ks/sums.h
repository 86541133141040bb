// Sums of a few terms.
#ifndef KS_SUMS_H
#define KS_SUMS_H

#include <cstdint>

#include "ks/macros.h"

namespace ks {

// term(0) + term(1) + … for n terms, n a power of two: one half is added to the other, element by element, until one is
// left, which takes log n steps in vector registers where a sum in order takes n. Always in this order, on any machine.
template <int n, class T, class F> KS_FN T tree_sum(F term) {
#ifdef KS_SUMS_IN_LANES
    T sums[n / 2];
    for (int k = 0; k < n / 2; ++k) {
        sums[k] = term(k) + term(k + n / 2);
    }
    for (int half = n / 4; half > 0; half /= 2) {
        for (int k = 0; k < half; ++k) {
            sums[k] += sums[k + half];
        }
    }
    return sums[0];
#else
    T sum = 0;
    for (int k = 0; k < n; ++k) {
        sum += term(k);
    }
    return sum;
#endif
}

}  // namespace ks

#endif

// Sums of a few terms.
#ifndef KS_SUMS_H
#define KS_SUMS_H

#include <cstdint>
#include <utility>

#include "ks/macros.h"

namespace ks {

// The terms as a vector, halved down to a register of 16 bytes; compilers take shorter ones through memory.
#if defined(KS_SUMS_IN_LANES) && !defined(__CUDACC__) && defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define KS_HALVES
template <int n, class T> struct row {
    typedef T type __attribute__((vector_size(n * sizeof(T))));
};
template <int n, class T, int... k> inline T halves_sum(const typename row<n, T>::type &terms, std::integer_sequence<int, k...>) {
    if constexpr (n * sizeof(T) > 16) {
        return halves_sum<n / 2, T>(__builtin_shufflevector(terms, terms, k...) +
                                        __builtin_shufflevector(terms, terms, (k + n / 2)...),
                                    std::make_integer_sequence<int, n / 4>());
    } else if constexpr (n == 4) {
        const typename row<n, T>::type pairs = terms + __builtin_shufflevector(terms, terms, 2, 3, 0, 1);
        return pairs[0] + pairs[1];
    } else {
        static_assert(n == 2, "numbers of four bytes or eight");
        return terms[0] + terms[1];
    }
}
#endif
#endif

// term(0) + term(1) + … for n terms, n a power of two: one half is added to the other, element by element, until one is
// left, which takes log n steps in vector registers where a sum in order takes n. Always in this order, on any machine.
template <int n, class T, class F> KS_FN T tree_sum(F term) {
#ifdef KS_HALVES
    T terms[n];
    for (int k = 0; k < n; ++k) {
        terms[k] = term(k);
    }
    typename row<n, T>::type all;
    __builtin_memcpy(&all, terms, sizeof all);
    return halves_sum<n, T>(all, std::make_integer_sequence<int, n / 2>());
#elif defined(KS_SUMS_IN_LANES)
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

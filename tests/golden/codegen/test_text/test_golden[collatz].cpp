// collatz for float32, compiled by Knossos.
// By itself, with the prelude on the include path:
//   g++ -std=c++17 -O3 -march=native -fno-math-errno -fno-trapping-math -fwrapv -shared -fPIC -I prelude collatz.cpp -o collatz.so -lmvec

#include "ks/prelude.h"

namespace collatz_kernel {

struct collatz_results {
    int64_t n;
    int64_t steps;
};

static inline int64_t half(int64_t n) {
    int64_t q = 0;
    for (int64_t i = 0; i < n; ++i) {
        q = q * 2 + 2 <= n ? q + 1 : q;
    }
    return q;
}

static inline collatz_results collatz(int64_t n, int64_t most) {
    int64_t steps = 0;
    while (n != 1 && steps * steps < most) {
        const int64_t half_2 = half(n);
        n = half_2 * 2 != n ? n * 3 + 1 : half_2;
        ++steps;
    }
    return {n, steps};
}

extern "C" int ks_collatz(const ks_runtime *, char *const *data, const int64_t *strides, int64_t n) {
    using results = ks::results<int64_t, int64_t>;
    using arguments = ks::arguments<int64_t, int64_t>;
    const auto lane = [](int64_t n, int64_t most, int64_t &n_2, int64_t &steps) {
        const auto all = collatz(n, most);
        n_2 = all.n;
        steps = all.steps;
    };
    return ks::map(results(), arguments(), data, strides, n, lane);
}

}  // namespace collatz_kernel

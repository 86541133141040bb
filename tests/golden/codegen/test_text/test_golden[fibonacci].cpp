// fibonacci for float32, compiled by Knossos.
// By itself, with the prelude on the include path:
//   g++ -std=c++17 -O3 -march=native -fno-math-errno -fno-trapping-math -fwrapv -shared -fPIC -I prelude fibonacci.cpp -o fibonacci.so -lmvec

#include "ks/prelude.h"

namespace fibonacci_kernel {

static inline float fibonacci(float a, float b, int64_t n) {
    // for i in range(n):
    for (int64_t i = 0; i < n; ++i) {
        const float next_a = b;
        // a, b = b, a + b
        b += a;
        a = next_a;
    }
    return a;
}

static inline ks::pack<float> fibonacci_lanes(ks::pack<float> a, ks::pack<float> b, int64_t n) {
    // for i in range(n):
    for (int64_t i = 0; i < n; ++i) {
        const ks::pack<float> next_a = b;
        // a, b = b, a + b
        b += a;
        a = next_a;
    }
    return a;
}

extern "C" int ks_fibonacci(const ks_runtime *host, char *const *data, const int64_t *strides, int64_t n) {
    using results = ks::results<float>;
    using arguments = ks::arguments<float, float, int64_t>;
    const auto lane = [](ks::runtime &, float a, float b, int64_t n, float &a_2) {
        a_2 = fibonacci(a, b, n);
    };
    const auto lanes = [](ks::runtime &, ks::pack<float> a, ks::pack<float> b, int64_t n,
        ks::pack<float> &a_2) {
        a_2 = fibonacci_lanes(a, b, n);
    };
    return ks::map_packs<ks::pack<float>>(host, results(), arguments(), data, strides, n, lane, lanes);
}

}  // namespace fibonacci_kernel

// swap for float32, compiled by Knossos.
// By itself, with the prelude on the include path:
//   g++ -std=c++17 -O3 -march=native -fno-math-errno -fno-trapping-math -fwrapv -shared -fPIC -I prelude swap.cpp -o swap.so -lmvec

#include "ks/prelude.h"

namespace swap_kernel {

struct swap_results {
    float a;
    float b;
};

struct swap_lanes_results {
    ks::pack<float> a;
    ks::pack<float> b;
};

static inline swap_results swap(float a, float b, int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
        const float next_a = b;
        b = a;
        a = next_a;
    }
    return {a, b};
}

static inline swap_lanes_results swap_lanes(ks::pack<float> a, ks::pack<float> b, int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
        const ks::pack<float> next_a = b;
        b = a;
        a = next_a;
    }
    return {a, b};
}

extern "C" int ks_swap(const ks_runtime *host, char *const *data, const int64_t *strides, int64_t n) {
    using results = ks::results<float, float>;
    using arguments = ks::arguments<float, float, int64_t>;
    const auto lane = [](ks::runtime &, float a, float b, int64_t n, float &a_2, float &b_2) {
        const auto all = swap(a, b, n);
        a_2 = all.a;
        b_2 = all.b;
    };
    const auto lanes = [](ks::runtime &, ks::pack<float> a, ks::pack<float> b, int64_t n,
        ks::pack<float> &a_2, ks::pack<float> &b_2) {
        const auto all = swap_lanes(a, b, n);
        a_2 = all.a;
        b_2 = all.b;
    };
    return ks::map_packs<ks::pack<float>>(host, results(), arguments(), data, strides, n, lane, lanes);
}

}  // namespace swap_kernel

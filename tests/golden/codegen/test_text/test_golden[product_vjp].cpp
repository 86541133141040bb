// product_vjp for float32, compiled by Knossos.
// By itself, with the prelude on the include path:
//   g++ -std=c++17 -O3 -march=native -fno-math-errno -fno-trapping-math -fwrapv -shared -fPIC -I prelude product_vjp.cpp -o product_vjp.so -lmvec

#include "ks/prelude.h"

namespace product_vjp_kernel {

struct product_value_and_vjp_results {
    float p;
    float x_bar;
};

struct product_value_and_vjp_lanes_results {
    ks::pack<float> p;
    ks::pack<float> x_bar;
};

static inline product_value_and_vjp_results product_value_and_vjp(ks::runtime &rt, float x, int64_t n, float r_bar) {
    // for i in range(n):
    float p = 1.0f;
    const ks::tensor<float, 1> p_tape(rt, n);
    for (int64_t i = 0; i < n; ++i) {
        p_tape(i) = p;
        // p = p * x
        p *= x;
    }
    // for i in range(n):
    float x_bar = 0.0f;
    for (int64_t i = n; i-- > 0;) {
        // p = p * x
        const float p_2 = p_tape(i);
        x_bar += r_bar * p_2;
        r_bar *= x;
    }
    return {p, x_bar};
}

static inline product_value_and_vjp_lanes_results product_value_and_vjp_lanes(ks::runtime &rt,
                                                                              ks::pack<float> x,
                                                                              int64_t n,
                                                                              ks::pack<float> r_bar) {
    // for i in range(n):
    ks::pack<float> p = 1.0f;
    const ks::tensor<ks::pack<float>, 1> p_tape(rt, n);
    for (int64_t i = 0; i < n; ++i) {
        p_tape(i) = p;
        // p = p * x
        p *= x;
    }
    // for i in range(n):
    ks::pack<float> x_bar = 0.0f;
    for (int64_t i = n; i-- > 0;) {
        // p = p * x
        const ks::pack<float> p_2 = p_tape(i);
        x_bar += r_bar * p_2;
        r_bar *= x;
    }
    return {p, x_bar};
}

extern "C" int ks_product_vjp(const ks_runtime *host, char *const *data, const int64_t *strides, int64_t n) {
    using results = ks::results<float, float>;
    using arguments = ks::arguments<float, int64_t, float>;
    const auto lane = [](ks::runtime &rt, float x, int64_t n, float r_bar, float &p, float &x_bar) {
        const auto all = product_value_and_vjp(rt, x, n, r_bar);
        p = all.p;
        x_bar = all.x_bar;
    };
    const auto lanes = [](ks::runtime &rt, ks::pack<float> x, int64_t n, ks::pack<float> r_bar,
        ks::pack<float> &p, ks::pack<float> &x_bar) {
        const auto all = product_value_and_vjp_lanes(rt, x, n, r_bar);
        p = all.p;
        x_bar = all.x_bar;
    };
    return ks::map_packs<ks::pack<float>>(host, results(), arguments(), data, strides, n, lane, lanes);
}

}  // namespace product_vjp_kernel

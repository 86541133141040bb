// boxes for float32, compiled by Knossos.
// By itself, with the prelude on the include path:
//   g++ -std=c++17 -O3 -march=native -fno-math-errno -fno-trapping-math -fwrapv -shared -fPIC -I prelude boxes.cpp -o boxes.so -lmvec

#include "ks/prelude.h"

namespace boxes_kernel {

struct power_residuals_box {
    float r0;
    const power_residuals_box *r1;
};

struct power_fwdpass_results {
    float r0;
    const power_residuals_box *r1;
};

struct power_value_and_vjp_results {
    float p;
    float x_bar;
};

static inline power_fwdpass_results power_fwdpass(ks::runtime &rt, float x, int64_t n) {
    rt.check_stack(0, "the derivative of power");
    if (n <= 0) {
        return {1.0f, nullptr};
    }
    const auto [rest, inner] = power_fwdpass(rt, x, n - 1);
    const power_residuals_box *const residuals = rt.box(power_residuals_box{rest, inner});
    return {x * rest, residuals};
}

static inline float power_revpass(ks::runtime &rt,
                                  float x,
                                  int64_t n,
                                  float r_bar,
                                  const power_residuals_box *residuals) {
    rt.check_stack(0, "the derivative of power");
    if (n <= 0) {
        return 0.0f;
    }
    const auto [rest, inner] = *residuals;
    return power_revpass(rt, x, n - 1, x * r_bar, inner) + rest * r_bar;
}

static inline power_value_and_vjp_results power_value_and_vjp(ks::runtime &rt, float x, int64_t n, float r_bar) {
    const auto [p, residuals] = power_fwdpass(rt, x, n);
    return {p, power_revpass(rt, x, n, r_bar, residuals)};
}

extern "C" int ks_boxes(const ks_runtime *host, char *const *data, const int64_t *strides, int64_t n) {
    using results = ks::results<float, float>;
    using arguments = ks::arguments<float, int64_t, float>;
    const auto lane = [](ks::runtime &rt, float x, int64_t n, float r_bar, float &p, float &x_bar) {
        const auto all = power_value_and_vjp(rt, x, n, r_bar);
        p = all.p;
        x_bar = all.x_bar;
    };
    return ks::map_checked(host, results(), arguments(), data, strides, n, lane);
}

}  // namespace boxes_kernel

// squaring_vjp for float32, compiled by Knossos.
// By itself, with the prelude on the include path:
//   g++ -std=c++17 -O3 -march=native -fno-math-errno -fno-trapping-math -fwrapv -shared -fPIC -I prelude squaring_vjp.cpp -o squaring_vjp.so -lmvec

#include "ks/prelude.h"

namespace squaring_vjp_kernel {

struct squaring_value_and_vjp_results {
    float v;
    float v_bar;
};

static inline squaring_value_and_vjp_results squaring_value_and_vjp(ks::runtime &rt,
                                                                    float v,
                                                                    float limit,
                                                                    float v_bar) {
    // while v < limit:
    ks::tape<float> vs(rt);
    while (v < limit) {
        vs.push(v);
        // v = v * v
        v *= v;
    }
    // while v < limit:
    for (int64_t i = vs.size[0]; i-- > 0;) {
        // v = v * v
        const float v_2 = vs(i);
        v_bar = v_bar * v_2 + v_bar * v_2;
    }
    return {v, v_bar};
}

extern "C" int ks_squaring_vjp(const ks_runtime *host, char *const *data, const int64_t *strides, int64_t n) {
    using results = ks::results<float, float>;
    using arguments = ks::arguments<float, float, float>;
    const auto lane = [](ks::runtime &rt, float v, float limit, float v_bar, float &v_2, float &v_bar_2) {
        const auto all = squaring_value_and_vjp(rt, v, limit, v_bar);
        v_2 = all.v;
        v_bar_2 = all.v_bar;
    };
    return ks::map_checked(host, results(), arguments(), data, strides, n, lane);
}

}  // namespace squaring_vjp_kernel

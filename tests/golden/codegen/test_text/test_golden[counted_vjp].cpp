// counted_vjp for float32, compiled by Knossos.
// By itself, with the prelude on the include path:
//   g++ -std=c++17 -O3 -march=native -fno-math-errno -fno-trapping-math -fwrapv -shared -fPIC -I prelude counted_vjp.cpp -o counted_vjp.so -lmvec

#include "ks/prelude.h"

namespace counted_vjp_kernel {

struct counted_value_and_vjp_results {
    float v;
    float v_bar;
};

static inline counted_value_and_vjp_results counted_value_and_vjp(ks::runtime &rt, float v, float v_bar) {
    int64_t trips = 0;
    ks::tape<float> vs(rt);
    while (trips < 5 && v > 0.5f) {
        vs.push(v);
        ++trips;
        v = v * v * 0.25f;
    }
    for (int64_t i = trips; i-- > 0;) {
        const float v_2 = vs(i);
        v_bar = v_bar * v_2 * 0.5f;
    }
    return {v, v_bar};
}

extern "C" int ks_counted_vjp(const ks_runtime *host, char *const *data, const int64_t *strides, int64_t n) {
    using results = ks::results<float, float>;
    using arguments = ks::arguments<float, float>;
    const auto lane = [](ks::runtime &rt, float v, float v_bar, float &v_2, float &v_bar_2) {
        const auto all = counted_value_and_vjp(rt, v, v_bar);
        v_2 = all.v;
        v_bar_2 = all.v_bar;
    };
    return ks::map_checked(host, results(), arguments(), data, strides, n, lane);
}

}  // namespace counted_vjp_kernel

// counted_vjp for float32, compiled by Knossos.
// By itself, with the prelude on the include path:
//   g++ -std=c++17 -O3 -march=native -fno-math-errno -fno-trapping-math -fwrapv -shared -fPIC -I prelude counted_vjp.cpp -o counted_vjp.so -lmvec

#include "ks/prelude.h"

namespace counted_vjp_kernel {

struct counted_value_and_vjp_results {
    float v;
    float v_bar;
};

struct counted_value_and_vjp_lanes_results {
    ks::pack<float, 2> v;
    ks::pack<float, 2> v_bar;
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

static inline counted_value_and_vjp_lanes_results counted_value_and_vjp_lanes(ks::runtime &rt,
                                                                              ks::pack<float, 2> v,
                                                                              ks::pack<float, 2> v_bar) {
    int64_t trips = 0;
    ks::tape<ks::pack<float, 2>> vs(rt);
    ks::pack_mask<float, 2> going_on = true;
    ks::turns turns;
    ks::pack_int<float, 2> trips_lanes = 0;
    while (true) {
        going_on = going_on && (trips < 5 && v > 0.5f);
        if (!turns.go_on(going_on)) { break; }
        vs.push(v);
        trips_lanes = ks::select(going_on, trips_lanes + 1, trips_lanes);
        ++trips;
        v = ks::select(going_on, v * v * 0.25f, v);
    }
    const int64_t count = ks::most(ks::pack_mask<float, 2>(true), trips_lanes);
    for (int64_t i = count; i-- > 0;) {
        const ks::pack_mask<float, 2> going_on_2 = i < trips_lanes;
        const ks::pack<float, 2> v_2 = vs(i);
        v_bar = ks::select(going_on_2, v_bar * v_2 * 0.5f, v_bar);
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
    const auto lanes = [](ks::runtime &rt, ks::pack<float, 2> v, ks::pack<float, 2> v_bar, ks::pack<float,
        2> &v_2, ks::pack<float, 2> &v_bar_2) {
        const auto all = counted_value_and_vjp_lanes(rt, v, v_bar);
        v_2 = all.v;
        v_bar_2 = all.v_bar;
    };
    return ks::map_packs<ks::pack<float, 2>>(host, results(), arguments(), data, strides, n, lane, lanes);
}

}  // namespace counted_vjp_kernel

// constants for float32, compiled by Knossos.
// By itself, with the prelude on the include path:
//   g++ -std=c++17 -O3 -march=native -fno-math-errno -fno-trapping-math -fwrapv -shared -fPIC -I prelude constants.cpp -o constants.so -lmvec

#include "ks/prelude.h"

namespace constants_kernel {

struct constants_results {
    float r0;
    float r1;
    float r2;
    float r3;
    float r4;
    int64_t r5;
    int64_t r6;
    bool r7;
};

static inline constants_results constants(float x, int64_t /* unused */) {
    return {x + ks::inf<float>, x * 0.0f, -(-0.1f) - x * -ks::inf<float>, ks::nan<float> + x, -0.0f,
        INT64_MIN, INT64_C(1099511627776), true};
}

extern "C" int ks_constants(const ks_runtime *, char *const *data, const int64_t *strides, int64_t n) {
    using results = ks::results<float, float, float, float, float, int64_t, int64_t, bool>;
    using arguments = ks::arguments<float, int64_t>;
    const auto lane = [](float x, int64_t unused, float &r0, float &r1, float &r2, float &r3, float &r4,
        int64_t &r5, int64_t &r6, bool &r7) {
        const auto all = constants(x, unused);
        r0 = all.r0;
        r1 = all.r1;
        r2 = all.r2;
        r3 = all.r3;
        r4 = all.r4;
        r5 = all.r5;
        r6 = all.r6;
        r7 = all.r7;
    };
    return ks::map(results(), arguments(), data, strides, n, lane);
}

}  // namespace constants_kernel

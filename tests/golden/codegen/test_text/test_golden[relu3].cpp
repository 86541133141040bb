// relu3 for float32, compiled by Knossos.
// By itself, with the prelude on the include path:
//   g++ -std=c++17 -O3 -march=native -fno-math-errno -fno-trapping-math -fwrapv -shared -fPIC -I prelude relu3.cpp -o relu3.so -lmvec

#include "ks/prelude.h"

namespace relu3_kernel {

static inline float relu3(float x) {
    // if x < 0.0:
    if (x < 0.0f) {
        return 0.0f;
    }
    // elif x < 1.0:
    if (x < 1.0f) {
        // return 1 / 3 * x ** 3
        return 0.33333334f * (x * x * x);
    }
    // return x - 2 / 3
    return x - 0.6666667f;
}

extern "C" int ks_relu3(const ks_runtime *, char *const *data, const int64_t *strides, int64_t n) {
    using results = ks::results<float>;
    using arguments = ks::arguments<float>;
    const auto lane = [](float x, float &result) {
        result = relu3(x);
    };
    return ks::map(results(), arguments(), data, strides, n, lane);
}

}  // namespace relu3_kernel

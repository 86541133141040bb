// two_results for float32, compiled by Knossos.
// By itself, with the prelude on the include path:
//   g++ -std=c++17 -O3 -march=native -fno-math-errno -fno-trapping-math -fwrapv -shared -fPIC -I prelude two_results.cpp -o two_results.so -lmvec

#include "ks/prelude.h"

namespace two_results_kernel {

struct polar_results {
    float r0;
    float r1;
};

static inline polar_results polar(float x, float y) {
    // square = x * x + y * y
    const float square = x * x + y * y;
    // return square / 2, (x - y) / (square + 1)
    return {square / 2.0f, (x - y) / (square + 1.0f)};
}

extern "C" int ks_two_results(const ks_runtime *, char *const *data, const int64_t *strides, int64_t n) {
    using results = ks::results<float, float>;
    using arguments = ks::arguments<float, float>;
    const auto lane = [](float x, float y, float &r0, float &r1) {
        const auto all = polar(x, y);
        r0 = all.r0;
        r1 = all.r1;
    };
    return ks::map(results(), arguments(), data, strides, n, lane);
}

}  // namespace two_results_kernel

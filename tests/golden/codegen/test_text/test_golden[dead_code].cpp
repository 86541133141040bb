// dead_code for float32, compiled by Knossos.
// By itself, with the prelude on the include path:
//   g++ -std=c++17 -O3 -march=native -fno-math-errno -fno-trapping-math -fwrapv -shared -fPIC -I prelude dead_code.cpp -o dead_code.so -lmvec

#include "ks/prelude.h"

namespace dead_code_kernel {

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

static inline float dead_code(float x, float /* y */, int64_t n) {
    float kept = 0.0f;
    for (int64_t i = 0; i < n; ++i) {
        kept += x;
    }
    return polar(x < 0.0f ? kept : -kept, x).r0;
}

extern "C" int ks_dead_code(const ks_runtime *, char *const *data, const int64_t *strides, int64_t n) {
    using results = ks::results<float>;
    using arguments = ks::arguments<float, float, int64_t>;
    const auto lane = [](float x, float y, int64_t n, float &first) {
        first = dead_code(x, y, n);
    };
    return ks::map(results(), arguments(), data, strides, n, lane);
}

}  // namespace dead_code_kernel

// power for float32, compiled by Knossos.
// By itself, with the prelude on the include path:
//   g++ -std=c++17 -O3 -march=native -fno-math-errno -fno-trapping-math -fwrapv -shared -fPIC -I prelude power.cpp -o power.so -lmvec

#include "ks/prelude.h"

namespace power_kernel {

static inline float power(ks::runtime &rt, float x, int64_t n) {
    rt.check_stack(1, "power");
    // if n <= 0:
    if (n <= 0) {
        return 1.0f;
    }
    // return x * power(x, n - 1)
    return x * power(rt, x, n - 1);
}

extern "C" int ks_power(const ks_runtime *host, char *const *data, const int64_t *strides, int64_t n) {
    using results = ks::results<float>;
    using arguments = ks::arguments<float, int64_t>;
    const auto lane = [](ks::runtime &rt, float x, int64_t n, float &result) {
        result = power(rt, x, n);
    };
    return ks::map_checked(host, results(), arguments(), data, strides, n, lane);
}

}  // namespace power_kernel

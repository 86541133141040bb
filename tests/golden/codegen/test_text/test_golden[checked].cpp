// checked for float32, compiled by Knossos.
// By itself, with the prelude on the include path:
//   g++ -std=c++17 -O3 -march=native -fno-math-errno -fno-trapping-math -fwrapv -shared -fPIC -I prelude checked.cpp -o checked.so -lmvec

#include "ks/prelude.h"

namespace checked_kernel {

static inline float checked(ks::runtime &rt, float x, int64_t i) {
    // assert x >= 0, "x must not be \"negative\""
    if (!(x >= 0.0f)) {
        rt.fail(KS_ERROR_ASSERT, 2, "x must not be \"negative\"");
    }
    // table = [x * k for k in range(4)]
    float total = 0.0f;
    const ks::tensor<float, 1> table(rt, 4);
    for (int64_t i_2 = 0; i_2 < 4; ++i_2) {
        table(i_2) = total;
        total += x;
    }
    // return table[i]
    if (ks::outside(i, table.size[0])) {
        rt.fail_index(4, "table", {{0, i, table.size[0]}});
    }
    return table(i);
}

extern "C" int ks_checked(const ks_runtime *host, char *const *data, const int64_t *strides, int64_t n) {
    using results = ks::results<float>;
    using arguments = ks::arguments<float, int64_t>;
    const auto lane = [](ks::runtime &rt, float x, int64_t i, float &result) {
        result = checked(rt, x, i);
    };
    return ks::map_checked(host, results(), arguments(), data, strides, n, lane);
}

}  // namespace checked_kernel

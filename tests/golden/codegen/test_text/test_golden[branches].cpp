// branches for float32, compiled by Knossos.
// By itself, with the prelude on the include path:
//   g++ -std=c++17 -O3 -march=native -fno-math-errno -fno-trapping-math -fwrapv -shared -fPIC -I prelude branches.cpp -o branches.so -lmvec

#include "ks/prelude.h"

namespace branches_kernel {

struct branches_results {
    float result;
    bool larger;
};

static inline branches_results branches(float x, float int_, float double_) {
    // y = x * 2
    const float y = x * 2.0f;
    // if x > int:
    float y_2;
    float int_2;
    if (x > int_) {
        // y = y + int
        const float y_3 = y + int_;
        // if y > double:
        if (y_3 > double_) {
            // z = y * y
            const float z = y_3 * y_3;
            y_2 = y_3;
            // z = z - double * z
            int_2 = z - double_ * z;
        } else {
            y_2 = y_3;
            int_2 = x;
        }
    } else {
        y_2 = y;
        int_2 = int_;
    }
    // return y - z, z > x
    return {y_2 - int_2, int_2 > x};
}

extern "C" int ks_branches(const ks_runtime *, char *const *data, const int64_t *strides, int64_t n) {
    using results = ks::results<float, bool>;
    using arguments = ks::arguments<float, float, float>;
    const auto lane = [](float x, float int_, float double_, float &result, bool &larger) {
        const auto all = branches(x, int_, double_);
        result = all.result;
        larger = all.larger;
    };
    return ks::map(results(), arguments(), data, strides, n, lane);
}

}  // namespace branches_kernel

// tensors for float32, compiled by Knossos.
// By itself, with the prelude on the include path:
//   g++ -std=c++17 -O3 -march=native -fno-math-errno -fno-trapping-math -fwrapv -shared -fPIC -I prelude tensors.cpp -o tensors.so -lmvec

#include "ks/prelude.h"

namespace tensors_kernel {

struct tensors_results {
    float norm;
    float s;
};

static inline tensors_results tensors(ks::runtime &rt, float x, int64_t n) {
    if (n < 0) {
        rt.fail(KS_ERROR_INDEX, 0, "a tensor cannot have a negative size");
    }
    const ks::tensor<float, 2> grid(rt, n, 3);
    for (int64_t i = 0; i < n; ++i) {
        for (int64_t j = 0; j < 3; ++j) {
            grid(i, j) = i < j ? x : x * x;
        }
    }
    float s = 0.5f;
    ks::stack<float, 1, 1> rows(rt, n);
    for (int64_t k = 0; k < n; ++k) {
        ks::scratch scratch(rt);
        const ks::tensor<float, 1> row = grid.part(k);
        // copies row: grid, which may share its memory, is read
        const ks::tensor<float, 1> changed = ks::copy(rt, row);
        changed(1) = s;
        const float first = changed(0);
        rows.put(changed, 0, k);
        s += first;
    }
    const ks::tensor<float, 1> sums(rt, 3);
    for (int64_t i = 0; i < 3; ++i) {
        sums(i) = 0.0f;
    }
    float c = s;
    for (int64_t i = 0; i < n; ++i) {
        const ks::tensor<float, 1> row = rows.part(i);
        ks::add_to(rt, sums, row, 0);
        sums(2) -= c;
    }
    float norm = 0.0f;
    KS_SUM(norm)
    for (int64_t i = 0; i < 3; ++i) {
        const float t = sums(i);
        norm += t * t;
    }
    return {norm, s};
}

extern "C" int ks_tensors(const ks_runtime *host, char *const *data, const int64_t *strides, int64_t n) {
    using results = ks::results<float, float>;
    using arguments = ks::arguments<float, int64_t>;
    const auto lane = [](ks::runtime &rt, float x, int64_t n, float &norm, float &s) {
        const auto all = tensors(rt, x, n);
        norm = all.norm;
        s = all.s;
    };
    return ks::map_checked(host, results(), arguments(), data, strides, n, lane);
}

}  // namespace tensors_kernel

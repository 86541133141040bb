// parity for float32, compiled by Knossos.
// By itself, with the prelude on the include path:
//   g++ -std=c++17 -O3 -march=native -fno-math-errno -fno-trapping-math -fwrapv -shared -fPIC -I prelude parity.cpp -o parity.so -lmvec

#include "ks/prelude.h"

namespace parity_kernel {

static inline bool even(ks::runtime &rt, int64_t n);

static inline bool odd(ks::runtime &rt, int64_t n) {
    rt.check_stack(0, "odd");
    if (n <= 0) {
        return false;
    }
    return even(rt, n - 1);
}

static inline bool even(ks::runtime &rt, int64_t n) {
    rt.check_stack(0, "even");
    if (n <= 0) {
        return true;
    }
    return odd(rt, n - 1);
}

extern "C" int ks_parity(const ks_runtime *host, char *const *data, const int64_t *strides, int64_t n) {
    using results = ks::results<bool>;
    using arguments = ks::arguments<int64_t>;
    const auto lane = [](ks::runtime &rt, int64_t n, bool &result) {
        result = even(rt, n);
    };
    return ks::map_checked(host, results(), arguments(), data, strides, n, lane);
}

}  // namespace parity_kernel

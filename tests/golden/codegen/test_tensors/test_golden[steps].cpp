// steps for float32, compiled by Knossos.
// By itself, with the prelude on the include path:
//   g++ -std=c++17 -O3 -march=native -fno-math-errno -fno-trapping-math -fwrapv -shared -fPIC -I prelude steps.cpp -o steps.so -lmvec

#include "ks/prelude.h"

namespace steps_kernel {

static inline ks::tensor<float, 1> steps(ks::runtime &rt, ks::tensor<float, 1> x, int64_t n) {
    // (for (t n) ((u x))
    ks::carried<float, 1> u(rt, x);
    for (int64_t t = 0; t < n; ++t) {
        ks::scratch scratch(rt);
        // (build (size u) (lam (i : Integer)
        const ks::tensor<float, 1> t2 = u.next(x.size[0]);
        for (int64_t i = 0; i < x.size[0]; ++i) {
            // (add (index i u) (mul 0.25 (index (if (lt i 1) 0 (sub i 1)) u)))))))
            const int64_t t3 = i < 1 ? 0 : i - 1;
            if (ks::outside(t3, u.size[0])) {
                rt.fail_index(5, "u", {{0, t3, u.size[0]}});
            }
            t2(i) = u(i) + 0.25f * u(t3);
        }
        u.keep(t2);
        u.advance();
    }
    return u;
}

extern "C" int ks_steps(const ks_runtime *host, const ks_tensor *operands) {
    return ks::enter(host, operands, [operands](ks::runtime &rt) {
        const auto x = ks::argument<float, 1>(rt, operands[1]);
        const auto n = ks::argument<int64_t, 0>(rt, operands[2]);
        ks::give<float>(rt, operands[0], steps(rt, x, n));
    });
}

}  // namespace steps_kernel

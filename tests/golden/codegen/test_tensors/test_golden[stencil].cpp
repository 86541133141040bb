// stencil for float32, compiled by Knossos.
// By itself, with the prelude on the include path:
//   g++ -std=c++17 -O3 -march=native -fno-math-errno -fno-trapping-math -fwrapv -shared -fPIC -I prelude stencil.cpp -o stencil.so -lmvec

#include "ks/prelude.h"

namespace stencil_kernel {

static inline ks::tensor<float, 1> stencil(ks::runtime &rt, ks::tensor<float, 1> x) {
    // (let (n (sub (size x) 2))
    const int64_t n = x.size[0] - 2;
    // (build n (lam (i : Integer)
    if (n < 0) {
        rt.fail(KS_ERROR_INDEX, 4, "a tensor cannot have a negative size");
    }
    const ks::tensor<float, 1> t = ks::result<float>(rt, 0, n);
    ks::parallel(rt, n, 19, [=](ks::runtime &, int64_t first, int64_t last) KS_INLINED {
        for (int64_t i = first; i < last; ++i) {
            // (add (sub (index i x) (mul 2.0 (index (add i 1) x))) (index (add i 2) x))))))
            const int64_t t2 = i + 1;
            const int64_t t3 = i + 2;
            t(i) = x(i) - 2.0f * x(t2) + x(t3);
        }
    });
    return t;
}

extern "C" int ks_stencil(const ks_runtime *host, const ks_tensor *operands) {
    return ks::enter(host, operands, [operands](ks::runtime &rt) {
        const auto x = ks::argument<float, 1>(rt, operands[1]);
        ks::give<float>(rt, operands[0], stencil(rt, x));
    });
}

}  // namespace stencil_kernel

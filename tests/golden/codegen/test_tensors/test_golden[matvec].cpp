// matvec for float32, compiled by Knossos.
// By itself, with the prelude on the include path:
//   g++ -std=c++17 -O3 -march=native -fno-math-errno -fno-trapping-math -fwrapv -shared -fPIC -I prelude matvec.cpp -o matvec.so -lmvec

#include "ks/prelude.h"

namespace matvec_kernel {

static inline ks::tensor<float, 1> matvec(ks::runtime &rt, ks::tensor<float, 2> a, ks::tensor<float, 1> x) {
    // (let (() (require (eq (size a 1) (size x)) "a and x do not fit"))
    if (a.size[1] != x.size[0]) {
        rt.fail(KS_ERROR_ASSERT, 3, "a and x do not fit");
    }
    // (build (size a 0) (lam (i : Integer)
    const ks::tensor<float, 1> t = ks::result<float>(rt, 0, a.size[0]);
    ks::multiply(rt, ks::one_row(t), ks::as_rows(ks::one_row(x)), ks::transposed(a), a.size[1]);
    return t;
}

extern "C" int ks_matvec(const ks_runtime *host, const ks_tensor *operands) {
    return ks::enter(host, operands, [operands](ks::runtime &rt) {
        const auto a = ks::argument<float, 2>(rt, operands[1]);
        const auto x = ks::argument<float, 1>(rt, operands[2]);
        ks::give<float>(rt, operands[0], matvec(rt, a, x));
    });
}

}  // namespace matvec_kernel

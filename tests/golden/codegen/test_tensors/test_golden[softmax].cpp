// softmax for float32, compiled by Knossos.
// By itself, with the prelude on the include path:
//   g++ -std=c++17 -O3 -march=native -fno-math-errno -fno-trapping-math -fwrapv -shared -fPIC -I prelude softmax.cpp -o softmax.so -lmvec

#include "ks/prelude.h"

namespace softmax_kernel {

static inline ks::tensor<float, 1> softmax(ks::runtime &rt, ks::tensor<float, 1> x) {
    // (let ((most (reduce max (size x) (lam (i : Integer) (index i x))))
    float most = -ks::inf<float>;
    KS_MAX(most)
    for (int64_t i = 0; i < x.size[0]; ++i) {
        most = ks::max(most, x(i));
    }
    // (e (build (size x) (lam (i : Integer) (exp (sub (index i x) most)))))
    const ks::tensor<float, 1> e(rt, x.size[0]);
    for (int64_t i = 0; i < x.size[0]; ++i) {
        e(i) = ks::exp(x(i) - most);
    }
    // (total (reduce add (size x) (lam (i : Integer) (index i e)))))
    float total = 0.0f;
    KS_SUM(total)
    for (int64_t i = 0; i < x.size[0]; ++i) {
        total += e(i);
    }
    // (build (size x) (lam (i : Integer) (div (index i e) total)))))
    const ks::tensor<float, 1> t = ks::result<float>(rt, 0, x.size[0]);
    for (int64_t i = 0; i < x.size[0]; ++i) {
        t(i) = e(i) / total;
    }
    return t;
}

extern "C" int ks_softmax(const ks_runtime *host, const ks_tensor *operands) {
    return ks::enter(host, operands, [operands](ks::runtime &rt) {
        const auto x = ks::argument<float, 1>(rt, operands[1]);
        ks::give<float>(rt, operands[0], softmax(rt, x));
    });
}

}  // namespace softmax_kernel

// prefix_norms for float32, compiled by Knossos.
// By itself, with the prelude on the include path:
//   g++ -std=c++17 -O3 -march=native -fno-math-errno -fno-trapping-math -fwrapv -shared -fPIC -I prelude prefix_norms.cpp -o prefix_norms.so -lmvec

#include "ks/prelude.h"

namespace prefix_norms_kernel {

static inline ks::tensor<float, 1> prefix_norms(ks::runtime &rt, ks::tensor<float, 1> x) {
    // (let ((out (build (size x) (lam (i : Integer) 0.0)))
    const ks::tensor<float, 1> out = ks::result<float>(rt, 0, x.size[0]);
    ks::parallel(rt, x.size[0], 4, [=](ks::runtime &, int64_t first, int64_t last) KS_INLINED {
        for (int64_t i = first; i < last; ++i) {
            out(i) = 0.0f;
        }
    });
    // (while ((i 0) (s 0.0) (out out))
    int64_t i = 0;
    float s = 0.0f;
    while (i < x.size[0] && s <= 4.0f) {
        // (let (s (add s (mul (index i x) (index i x))))
        const float t = x(i);
        const float s_2 = s + t * t;
        // (values (add i 1) s (if (gt s 4.0) out (update i out (sqrt s))))))))
        if (!(s_2 > 4.0f)) {
            out(i) = ks::sqrt(s_2);
        }
        ++i;
        s = s_2;
    }
    return out;
}

extern "C" int ks_prefix_norms(const ks_runtime *host, const ks_tensor *operands) {
    return ks::enter(host, operands, [operands](ks::runtime &rt) {
        const auto x = ks::argument<float, 1>(rt, operands[1]);
        ks::give<float>(rt, operands[0], prefix_norms(rt, x));
    });
}

}  // namespace prefix_norms_kernel

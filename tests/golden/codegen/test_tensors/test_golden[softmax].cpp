// softmax for float32, compiled by Knossos.
// By itself, with the prelude on the include path:
//   g++ -std=c++17 -O3 -march=native -fno-math-errno -fno-trapping-math -fwrapv -shared -fPIC -I prelude softmax.cpp -o softmax.so -lmvec

#include "ks/prelude.h"

namespace softmax_kernel {

static inline ks::tensor<float, 1> softmax(ks::runtime &rt, ks::tensor<float, 1> x) {
    // (let ((most (reduce max (size x) (lam (i : Integer) (index i x))))
    float most = -ks::inf<float>;
    ks::parallel(rt, x.size[0], 5, [=](ks::runtime &, int64_t first, int64_t last,
        float &most_part) KS_INLINED {
        float most = most_part;
        KS_MAX(most)
        for (int64_t i = first; i < last; ++i) {
            most = ks::max(most, x(i));
        }
        most_part = most;
    }, ks::combined<float>(most, -ks::inf<float>, [](float a, float b) { return ks::max(a, b); }));
    // (total (reduce add (size x) (lam (i : Integer) (index i e)))))
    float total = 0.0f;
    const ks::tensor<float, 1> e(rt, x.size[0]);
    ks::parallel(rt, x.size[0], 27, [=](ks::runtime &, int64_t first, int64_t last,
        float &total_part) KS_INLINED {
        float total = total_part;
        KS_SUM(total)
        for (int64_t i = first; i < last; ++i) {
            // (e (build (size x) (lam (i : Integer) (exp (sub (index i x) most)))))
            const float t = ks::exp(x(i) - most);
            e(i) = t;
            total += t;
        }
        total_part = total;
    }, ks::summed(total));
    // (build (size x) (lam (i : Integer) (div (index i e) total)))))
    const ks::tensor<float, 1> t = ks::result<float>(rt, 0, x.size[0]);
    ks::parallel(rt, x.size[0], 9, [=](ks::runtime &, int64_t first, int64_t last) KS_INLINED {
        for (int64_t i = first; i < last; ++i) {
            t(i) = e(i) / total;
        }
    });
    return t;
}

extern "C" int ks_softmax(const ks_runtime *host, const ks_tensor *operands) {
    return ks::enter(host, operands, [operands](ks::runtime &rt) {
        const auto x = ks::argument<float, 1>(rt, operands[1]);
        ks::give<float>(rt, operands[0], softmax(rt, x));
    });
}

}  // namespace softmax_kernel

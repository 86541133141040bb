// sort_rows for float32, compiled by Knossos.
// By itself, with the prelude on the include path:
//   g++ -std=c++17 -O3 -march=native -fno-math-errno -fno-trapping-math -fwrapv -shared -fPIC -I prelude sort_rows.cpp -o sort_rows.so -lmvec

#include "ks/prelude.h"

namespace sort_rows_kernel {

static inline ks::tensor<float, 2> sort_rows(ks::runtime &rt, ks::tensor<float, 2> m) {
    // (for (j (sub (size v) 1)) ((v v))
    const int64_t t = m.size[1] - 1;
    // (build :nested false (size m 0) (lam (i : Integer) (sorted (index i m)))))
    ks::stack<float, 1, 1> t2(rt, m.size[0]);
    for (int64_t i = 0; i < m.size[0]; ++i) {
        ks::scratch scratch(rt);
        // (for (i (size v)) ((v v))
        // copies m.part(i): it is not the kernel's to change
        const ks::tensor<float, 1> v = ks::copy(rt, m.part(i));
        for (int64_t i_2 = 0; i_2 < m.size[1]; ++i_2) {
            // (for (j (sub (size v) 1)) ((v v))
            for (int64_t j = 0; j < t; ++j) {
                // (let ((a (index j v)) (b (index (add j 1) v)))
                const float a = v(j);
                const int64_t t3 = j + 1;
                const float b = v(t3);
                // (if (gt a b) (update (add j 1) (update j v b) a) v)))))
                if (a > b) {
                    v(j) = b;
                    v(t3) = a;
                }
            }
        }
        t2.put(v, 8, i);
    }
    return t2;
}

extern "C" int ks_sort_rows(const ks_runtime *host, const ks_tensor *operands) {
    return ks::enter(host, operands, [operands](ks::runtime &rt) {
        const auto m = ks::argument<float, 2>(rt, operands[1]);
        ks::give<float>(rt, operands[0], sort_rows(rt, m));
    });
}

}  // namespace sort_rows_kernel

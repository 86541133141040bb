// silu as one would write it by hand, with a polynomial for exp.
#include "hand.h"

using hand::v16;

extern "C" int ks_silu(const ks_runtime *, char *const *data, const int64_t *strides, int64_t n) {
    return hand::map(data, strides, n, [](v16 x) { return x / (1.0f + hand::exp(-x)); });
}

extern "C" int ks_silu_vjp(const ks_runtime *, char *const *data, const int64_t *strides, int64_t n) {
    return hand::map2(data, strides, n, [](v16 x, v16 y_bar) {
        const v16 s = 1.0f / (1.0f + hand::exp(-x));
        return y_bar * s * (1.0f + x * (1.0f - s));
    });
}

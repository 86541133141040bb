// softplus as one would write it by hand, with polynomials for exp and log1p.
#include "hand.h"

using hand::v16;

extern "C" int ks_softplus(const ks_runtime *, char *const *data, const int64_t *strides, int64_t n) {
    return hand::map(data, strides, n, [](v16 x) {
        const v16 size = x < 0.0f ? x : -x;
        return (x > 0.0f ? x : v16{}) + hand::log1p(hand::exp(size));
    });
}

extern "C" int ks_softplus_vjp(const ks_runtime *, char *const *data, const int64_t *strides, int64_t n) {
    return hand::map2(data, strides, n, [](v16 x, v16 y_bar) { return y_bar / (1.0f + hand::exp(-x)); });
}

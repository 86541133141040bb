// gelu as one would write it by hand, with a rational approximation of erf.
#include "hand.h"

using hand::v16;

extern "C" int ks_gelu(const ks_runtime *, char *const *data, const int64_t *strides, int64_t n) {
    return hand::map(data, strides, n, [](v16 x) { return 0.5f * x * (1.0f + hand::erf(x * 0.707106781f)); });
}

extern "C" int ks_gelu_vjp(const ks_runtime *, char *const *data, const int64_t *strides, int64_t n) {
    return hand::map2(data, strides, n, [](v16 x, v16 y_bar) {
        const v16 share = 0.5f + 0.5f * hand::erf(x * 0.707106781f);
        return y_bar * (share + x * 0.398942280f * hand::exp(-0.5f * x * x));
    });
}

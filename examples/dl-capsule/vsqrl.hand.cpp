// vsqrl as one would write it by hand: a block of 4x4 is one vector of 16 floats.
#include "hand.h"

using hand::v16;

namespace {

inline float forward(const float *block) {
    const v16 x = hand::load(block);
    const v16 t = hand::sum(x) < 0.0f ? -0.125f * x : 0.5f * x * x;
    v16 sine, cosine;
    hand::sincos(t, sine, cosine);
    return hand::sum(sine * t) * (1.0f / 16.0f);
}

inline void backward(const float *block, float y_bar, float *x_bar) {
    const v16 x = hand::load(block);
    const bool negative = hand::sum(x) < 0.0f;
    const v16 t = negative ? -0.125f * x : 0.5f * x * x;
    v16 sine, cosine;
    hand::sincos(t, sine, cosine);
    const v16 t_bar = y_bar * (1.0f / 16.0f) * (sine + t * cosine);
    hand::store(x_bar, negative ? -0.125f * t_bar : x * t_bar);
}

bool fits(const ks_tensor &x) {
    return x.sizes[1] == 4 && x.sizes[2] == 4 &&
           (x.strides == nullptr || (x.strides[0] == 16 && x.strides[1] == 4 && x.strides[2] == 1));
}

struct call {
    const float *x;
    const float *y_bar;
    float *out;
    int64_t n;
    int parts;
    int64_t first(int part) const { return n * part / parts; }
};

template <class Task> int divided(const ks_runtime *rt, call all, Task task) {
    const int threads = all.n >= 4000 && rt->threads != nullptr ? rt->threads(rt) : 1;
    all.parts = threads > 1 ? 4 * threads : 1;
    return all.parts > 1 ? rt->parallel(rt, all.parts, task, &all) : task(rt, &all, 0);
}

}  // namespace

extern "C" int ks_vsqrl(const ks_runtime *rt, const ks_tensor *operands) {
    if (!fits(operands[1])) {
        rt->error(rt, KS_ERROR_SHAPE, 0, "blocks of 4x4, contiguous, are all that this kernel takes");
        return 1;
    }
    const call all = {static_cast<const float *>(operands[1].data), nullptr, static_cast<float *>(operands[0].data),
                      operands[1].sizes[0], 1};
    return divided(rt, all, [](const ks_runtime *, void *context, int part) {
        const call &all = *static_cast<const call *>(context);
        for (int64_t i = all.first(part); i < all.first(part + 1); ++i) {
            all.out[i] = forward(all.x + 16 * i);
        }
        return 0;
    });
}

extern "C" int ks_vsqrl_vjp(const ks_runtime *rt, const ks_tensor *operands) {
    if (!fits(operands[1]) || (operands[2].strides != nullptr && operands[2].strides[0] != 1 && operands[1].sizes[0] > 1)) {
        rt->error(rt, KS_ERROR_SHAPE, 0, "blocks of 4x4, contiguous, are all that this kernel takes");
        return 1;
    }
    const call all = {static_cast<const float *>(operands[1].data), static_cast<const float *>(operands[2].data),
                      static_cast<float *>(operands[0].data), operands[1].sizes[0], 1};
    return divided(rt, all, [](const ks_runtime *, void *context, int part) {
        const call &all = *static_cast<const call *>(context);
        for (int64_t i = all.first(part); i < all.first(part + 1); ++i) {
            backward(all.x + 16 * i, all.y_bar[i], all.out + 16 * i);
        }
        return 0;
    });
}

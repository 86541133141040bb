// sqrl of one block of 4x4 as one would write it by hand: one vector of 16 floats.
#include "hand.h"

using hand::v16;

namespace {

v16 block(const ks_tensor &operand) {
    float x[16];
    const float *const from = static_cast<const float *>(operand.data);
    for (int i = 0; i < 4; ++i) {
        for (int j = 0; j < 4; ++j) {
            x[4 * i + j] = operand.strides == nullptr ? from[4 * i + j] : from[i * operand.strides[0] + j * operand.strides[1]];
        }
    }
    return hand::load(x);
}

bool fits(const ks_runtime *rt, const ks_tensor &operand) {
    if (operand.sizes[0] == 4 && operand.sizes[1] == 4) {
        return true;
    }
    rt->error(rt, KS_ERROR_SHAPE, 0, "a block of 4x4 is all that this kernel takes");
    return false;
}

}  // namespace

extern "C" int ks_sqrl(const ks_runtime *rt, const ks_tensor *operands) {
    if (!fits(rt, operands[1])) {
        return 1;
    }
    const v16 x = block(operands[1]);
    const v16 t = hand::sum(x) < 0.0f ? -0.125f * x : 0.5f * x * x;
    v16 sine, cosine;
    hand::sincos(t, sine, cosine);
    *static_cast<float *>(operands[0].data) = hand::sum(sine * t) * (1.0f / 16.0f);
    return 0;
}

extern "C" int ks_sqrl_vjp(const ks_runtime *rt, const ks_tensor *operands) {
    if (!fits(rt, operands[1])) {
        return 1;
    }
    const v16 x = block(operands[1]);
    const bool negative = hand::sum(x) < 0.0f;
    const v16 t = negative ? -0.125f * x : 0.5f * x * x;
    v16 sine, cosine;
    hand::sincos(t, sine, cosine);
    const v16 t_bar = *static_cast<const float *>(operands[2].data) * (1.0f / 16.0f) * (sine + t * cosine);
    hand::store(static_cast<float *>(operands[0].data), negative ? -0.125f * t_bar : x * t_bar);
    return 0;
}

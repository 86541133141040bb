// Vectors of 16 floats for kernels that are written by hand to be compared with; they stand beside the examples.
#ifndef KS_HAND_H
#define KS_HAND_H

#include <cstdint>
#include <cstring>

#include "ks/runtime.h"

namespace hand {

typedef float v16 __attribute__((vector_size(64)));
typedef float v8 __attribute__((vector_size(32)));
typedef float v4 __attribute__((vector_size(16)));
typedef int32_t i16 __attribute__((vector_size(64)));

inline v16 load(const float *from) {
    v16 v;
    std::memcpy(&v, from, sizeof v);
    return v;
}
inline void store(float *to, v16 v) { std::memcpy(to, &v, sizeof v); }
inline v16 all(float x) { return v16{} + x; }
inline float sum(v16 v) {
    const v8 eight = __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7) +
                     __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
    const v4 four = __builtin_shufflevector(eight, eight, 0, 1, 2, 3) + __builtin_shufflevector(eight, eight, 4, 5, 6, 7);
    const v4 two = four + __builtin_shufflevector(four, four, 2, 3, 0, 1);
    return two[0] + two[1];
}

// One argument, and two, of n contiguous elements or a shared one; the last vector may be short.
template <class F> inline int map(char *const *data, const int64_t *strides, int64_t n, F f) {
    float *const out = reinterpret_cast<float *>(data[0]);
    const float *const x = reinterpret_cast<const float *>(data[1]);
    if (strides[0] == 4 && strides[1] == 4) {
        int64_t i = 0;
        for (; i + 16 <= n; i += 16) {
            store(out + i, f(load(x + i)));
        }
        if (i < n) {
            float rest[16] = {};
            std::memcpy(rest, x + i, static_cast<size_t>(n - i) * 4);
            store(rest, f(load(rest)));
            std::memcpy(out + i, rest, static_cast<size_t>(n - i) * 4);
        }
        return 0;
    }
    for (int64_t i = 0; i < n; ++i) {
        const float in = *reinterpret_cast<const float *>(data[1] + i * strides[1]);
        *reinterpret_cast<float *>(data[0] + i * strides[0]) = f(all(in))[0];
    }
    return 0;
}

template <class F> inline int map2(char *const *data, const int64_t *strides, int64_t n, F f) {
    float *const out = reinterpret_cast<float *>(data[0]);
    const float *const x = reinterpret_cast<const float *>(data[1]);
    const float *const y = reinterpret_cast<const float *>(data[2]);
    if (strides[0] == 4 && strides[1] == 4 && (strides[2] == 4 || strides[2] == 0)) {
        const bool shared = strides[2] == 0;
        int64_t i = 0;
        for (; i + 16 <= n; i += 16) {
            store(out + i, f(load(x + i), shared ? all(*y) : load(y + i)));
        }
        if (i < n) {
            const size_t bytes = static_cast<size_t>(n - i) * 4;
            float rest[16] = {};
            float other[16] = {};
            std::memcpy(rest, x + i, bytes);
            std::memcpy(other, shared ? y : y + i, shared ? 4 : bytes);
            store(rest, f(load(rest), shared ? all(*y) : load(other)));
            std::memcpy(out + i, rest, bytes);
        }
        return 0;
    }
    for (int64_t i = 0; i < n; ++i) {
        const float a = *reinterpret_cast<const float *>(data[1] + i * strides[1]);
        const float b = *reinterpret_cast<const float *>(data[2] + i * strides[2]);
        *reinterpret_cast<float *>(data[0] + i * strides[0]) = f(all(a), all(b))[0];
    }
    return 0;
}

// e^x to 2 ULP between -87 and 88, where it stays beyond.
inline v16 exp(v16 x) {
    x = x > 88.0f ? all(88.0f) : x;
    x = x < -87.0f ? all(-87.0f) : x;
    const v16 shifted = x * 1.44269504f + 12582912.0f;
    const v16 n = shifted - 12582912.0f;
    const v16 r = (x - n * 0.693145752f) - n * 1.42860677e-6f;
    v16 p = 1.395604176e-3f * r + 8.375134972e-3f;
    p = p * r + 4.166608386e-2f;
    p = p * r + 1.666641541e-1f;
    p = p * r + 5.000000168e-1f;
    p = p * r + 1.000000038f;
    p = p * r + 1.0f;
    const i16 scale = (reinterpret_cast<i16>(shifted) << 23) + (127 << 23);
    return p * reinterpret_cast<v16>(scale);
}

// log(1 + y) for y between 0 and 1.
inline v16 log1p(v16 y) {
    v16 p = -3.338503862e-3f * y + 2.027675735e-2f;
    p = p * y - 5.775726322e-2f;
    p = p * y + 1.068434910e-1f;
    p = p * y - 1.535316845e-1f;
    p = p * y + 1.969241757e-1f;
    p = p * y - 2.495734003e-1f;
    p = p * y + 3.333027499e-1f;
    p = p * y - 4.999991416e-1f;
    p = p * y + 9.999999960e-1f;
    return p * y;
}

// erf(x), by x P(x^2) / Q(x^2) up to where it is 1.
inline v16 erf(v16 x) {
    x = x > 3.93f ? all(3.93f) : x;
    x = x < -3.93f ? all(-3.93f) : x;
    const v16 s = x * x;
    v16 p = 2.036332315e-6f * s + 2.847604586e-4f;
    p = p * s + 3.789448777e-3f;
    p = p * s + 5.281957122e-2f;
    p = p * s + 1.910487640e-1f;
    p = p * s + 1.128379145f;
    v16 q = 3.794333223e-5f * s + 1.167101572e-3f;
    q = q * s + 1.501729559e-2f;
    q = q * s + 1.143618092e-1f;
    q = q * s + 5.026452633e-1f;
    q = q * s + 1.0f;
    return x * p / q;
}

// sin and cos for |x| below 10^4.
inline void sincos(v16 x, v16 &sine, v16 &cosine) {
    const v16 shifted = x * 0.318309886f + 12582912.0f;
    const v16 n = shifted - 12582912.0f;
    v16 r = x - n * 3.140625f;
    r = r - n * 9.67502593994140625e-4f;
    r = r - n * 1.509957990978376432e-7f;
    const i16 sign = reinterpret_cast<i16>(shifted) << 31;
    const v16 s = r * r;
    v16 p = 2.605078183e-6f * s - 1.980901193e-4f;
    p = p * s + 8.333050226e-3f;
    p = p * s - 1.666665796e-1f;
    p = p * s * r + r;
    v16 c = -2.605002666e-7f * s + 2.476007980e-5f;
    c = c * s - 1.388835983e-3f;
    c = c * s + 4.166663614e-2f;
    c = c * s - 4.999999936e-1f;
    c = c * s + 1.0f;
    sine = reinterpret_cast<v16>(reinterpret_cast<i16>(p) ^ sign);
    cosine = reinterpret_cast<v16>(reinterpret_cast<i16>(c) ^ sign);
}

}  // namespace hand

#endif

// Half-precision numbers as they are stored; arithmetic is done in float. Conversions round to nearest even.
#ifndef KS_HALF_H
#define KS_HALF_H

#include <cstdint>

#include "ks/macros.h"

namespace ks {

KS_FN uint32_t float_bits(float value) {
    uint32_t bits;
    __builtin_memcpy(&bits, &value, sizeof bits);
    return bits;
}

KS_FN float bits_float(uint32_t bits) {
    float value;
    __builtin_memcpy(&value, &bits, sizeof value);
    return value;
}

// IEEE's binary16: one sign bit, five of exponent, ten of fraction.
struct binary16 {
    uint16_t bits;

    binary16() = default;

    KS_FN binary16(float value) {
        const uint32_t all = float_bits(value);
        const uint32_t sign = (all >> 16) & 0x8000u;
        const uint32_t size = all & 0x7fffffffu;
        uint32_t rounded;
        if (size > 0x7f800000u) {
            rounded = 0x7e00u;
        } else if (size >= 0x477ff000u) {  // half way from the largest number to the next power of two, and more
            rounded = 0x7c00u;
        } else if (size >= 0x38800000u) {  // normal: move the exponent's bias, round off thirteen bits
            rounded = (size - 0x38000000u + 0xfffu + ((size >> 13) & 1u)) >> 13;
        } else {  // subnormal: the float addition rounds at the place of the last bit
            rounded = float_bits(bits_float(size) + 0.5f) - 0x3f000000u;
        }
        bits = static_cast<uint16_t>(sign | rounded);
    }

    KS_FN operator float() const {
        const uint32_t sign = (bits & 0x8000u) << 16;
        const uint32_t size = bits & 0x7fffu;
        if (size >= 0x7c00u) {
            return bits_float(sign | 0x7f800000u | (size & 0x3ffu) << 13);
        }
        // Read as a float the bits are too small by 2^112, subnormals included.
        return bits_float(sign | float_bits(bits_float(size << 13) * bits_float(0x77800000u)));
    }
};

// GCC has the type in C++ for x86 from 12 on, for ARM from 13 on; the macro it has for both.
#if defined(__FLT16_MAX__) && !defined(__CUDACC__) && \
    (defined(__clang__) || !defined(__aarch64__) || __GNUC__ >= 13)
using half = _Float16;
#else
using half = binary16;
#endif

// The upper half of a float.
struct bfloat16 {
    uint16_t bits;

    bfloat16() = default;

    KS_FN bfloat16(float value) {
        const uint32_t all = float_bits(value);
        const uint32_t rounded = all + 0x7fffu + ((all >> 16) & 1u);
        bits = static_cast<uint16_t>(value != value ? 0x7fc0u : rounded >> 16);
    }

    KS_FN operator float() const { return bits_float(static_cast<uint32_t>(bits) << 16); }
};

}  // namespace ks

#endif

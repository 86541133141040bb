// Half-precision numbers as they are stored; arithmetic is done in float.
#ifndef KS_HALF_H
#define KS_HALF_H

#include <cstdint>

namespace ks {

#ifdef __FLT16_MAX__
using half = _Float16;
#endif

// The upper half of a float, rounded to nearest even.
struct bfloat16 {
    uint16_t bits;

    bfloat16() = default;

    bfloat16(float value) {
        uint32_t all;
        __builtin_memcpy(&all, &value, sizeof all);
        const uint32_t rounded = all + 0x7fffu + ((all >> 16) & 1u);
        bits = static_cast<uint16_t>(value != value ? 0x7fc0u : rounded >> 16);
    }

    operator float() const {
        const uint32_t all = static_cast<uint32_t>(bits) << 16;
        float value;
        __builtin_memcpy(&value, &all, sizeof value);
        return value;
    }
};

}  // namespace ks

#endif

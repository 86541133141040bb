// Integer arithmetic as in Python, wrapping at 64 bits. Where Python raises an error, the kernel has stopped before; the
// functions are harmless there all the same.
#ifndef KS_INTEGER_H
#define KS_INTEGER_H

#include <cstdint>

#include "ks/macros.h"

namespace ks {

KS_FN int64_t wrapped(uint64_t bits) { return static_cast<int64_t>(bits); }
KS_FN uint64_t bits_of(int64_t value) { return static_cast<uint64_t>(value); }

KS_FN int64_t abs(int64_t a) { return a < 0 ? wrapped(0 - bits_of(a)) : a; }
KS_FN int64_t sign(int64_t a) { return int64_t{a > 0} - int64_t{a < 0}; }

// a // b, rounded downwards. The least integer divided by -1 has no quotient in 64 bits, and the processor traps.
KS_FN int64_t idiv(int64_t a, int64_t b) {
    if (b == 2) {
        return a >> 1;  // as indices into packed triangles are computed; compilers make six steps of what follows
    }
    if (b == 0 || b == -1) {
        return wrapped(0 - bits_of(a));
    }
    return a / b - int64_t{a % b != 0 && (a < 0) != (b < 0)};
}

// a % b, with the sign of b.
KS_FN int64_t imod(int64_t a, int64_t b) {
    if (b == 0 || b == -1) {
        return 0;
    }
    const int64_t rest = a % b;
    return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

// Up to where, from first on and to last at most, i has the quotient of first in the division of a + (i - first) by b.
KS_FN int64_t same_quotient(int64_t first, int64_t last, int64_t a, int64_t b) {
    if (b <= 0) {
        return first + 1;
    }
    int64_t count = b - imod(a, b);
    if (a > INT64_MAX - count) {
        count = INT64_MAX - a + 1;  // where the sum wraps, quotients begin again
    }
    return count < last - first ? first + count : last;
}

// a to the power of n by repeated squaring; 1 for a negative n.
KS_FN int64_t ipow(int64_t a, int64_t n) {
    uint64_t power = 1;
    uint64_t square = bits_of(a);
    for (; n > 0; n >>= 1) {
        power *= n & 1 ? square : 1;
        square *= square;
    }
    return wrapped(power);
}

KS_FN int64_t shl(int64_t a, int64_t count) { return bits_of(count) < 64 ? wrapped(bits_of(a) << count) : 0; }
KS_FN int64_t shr(int64_t a, int64_t count) { return a >> (bits_of(count) < 64 ? count : 63); }

}  // namespace ks

#endif

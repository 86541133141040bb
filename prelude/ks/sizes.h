// Arithmetic on sizes, as in Python; it stops where 64 bits do not hold the result. Not included by kernels.
#ifndef KS_SIZES_H
#define KS_SIZES_H

#include <cstdint>
#include <limits>

namespace ks {

struct size_failure {
    const char *message;
};

struct size_arithmetic {
    static int64_t add(int64_t a, int64_t b) {
        int64_t r = 0;
        return __builtin_add_overflow(a, b, &r) ? overflow() : r;
    }
    static int64_t sub(int64_t a, int64_t b) {
        int64_t r = 0;
        return __builtin_sub_overflow(a, b, &r) ? overflow() : r;
    }
    static int64_t mul(int64_t a, int64_t b) {
        int64_t r = 0;
        return __builtin_mul_overflow(a, b, &r) ? overflow() : r;
    }
    static int64_t idiv(int64_t a, int64_t b) {
        if (b == 0 || (b == -1 && a == std::numeric_limits<int64_t>::min())) {
            throw size_failure{"integer division or modulo by zero"};
        }
        return a / b - ((a % b != 0) && ((a < 0) != (b < 0)) ? 1 : 0);
    }
    static int64_t imod(int64_t a, int64_t b) { return sub(a, mul(idiv(a, b), b)); }
    static int64_t min(int64_t a, int64_t b) { return b < a ? b : a; }
    static int64_t max(int64_t a, int64_t b) { return a < b ? b : a; }
    static bool is_negative(int64_t a) { return a < 0; }

  private:
    [[noreturn]] static int64_t overflow() { throw size_failure{"a size is too large for 64 bits"}; }
};

}  // namespace ks

#endif

// What -fsanitize=undefined calls, in the place of its library: undefined behaviour is reported with its line, and goes on.
#ifndef KS_SHIM_UNDEFINED_H
#define KS_SHIM_UNDEFINED_H

#include <cstdint>
#include <string>

namespace {

void complain(const std::string &what);

// How the data of each handler begin.
struct Source {
    const char *file;
    uint32_t line, column;
};

void undefined(const char *what, const void *data) {
    const Source &source = *static_cast<const Source *>(data);
    const std::string file = source.file != nullptr ? source.file : "?";
    complain(std::string(what) + ": " + file.substr(file.rfind('/') + 1) + ":" + std::to_string(source.line));
}

}  // namespace

#define KS_UNDEFINED(handler, what) \
    extern "C" void __ubsan_handle_##handler(const void *data) { undefined(what, data); }
KS_UNDEFINED(type_mismatch_v1, "a place that is null or not aligned")
KS_UNDEFINED(pointer_overflow, "an overflow of an address")
KS_UNDEFINED(add_overflow, "an overflow of +")
KS_UNDEFINED(sub_overflow, "an overflow of -")
KS_UNDEFINED(mul_overflow, "an overflow of *")
KS_UNDEFINED(negate_overflow, "an overflow of unary -")
KS_UNDEFINED(divrem_overflow, "a division by zero, or one that overflows")
KS_UNDEFINED(shift_out_of_bounds, "a shift by too many bits")
KS_UNDEFINED(out_of_bounds, "an index beyond an array")
KS_UNDEFINED(load_invalid_value, "neither true nor false")
KS_UNDEFINED(float_cast_overflow, "a number too large for an integer")
KS_UNDEFINED(invalid_builtin, "a count of the leading zeros of 0")
KS_UNDEFINED(nonnull_arg, "null where there has to be an address")

// Behind these the program does not go on.
extern "C" void __ubsan_handle_builtin_unreachable(const void *data) {
    undefined("what cannot be reached", data);
    shim::leave();
}
extern "C" void __ubsan_handle_missing_return(const void *data) {
    undefined("the end of a function without a result", data);
    shim::leave();
}

#endif

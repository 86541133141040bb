// What the functions of an exported library look at before they call a kernel, and how they say what is wrong. Not included by
// kernels.
#ifndef KS_CALLER_H
#define KS_CALLER_H

#include <cstdint>
#include <cstring>
#include <initializer_list>

#include "ks/message.h"
#include "ks/runtime.h"
#include "ks/sizes.h"

namespace ks {

// Beside those of runtime.h, what a caller did wrong.
enum library_error {
    KS_ERROR_ARGUMENT = 32,  // a null pointer, or sizes that do not fit
    KS_ERROR_PROCESSOR = 33,  // the library was compiled for instructions that this processor does not have
    KS_ERROR_DEVICE = 34      // CUDA refused something
};

struct misuse {
    int code;
    int line;
    error_text words;
};

[[noreturn]] inline void misused(error_text words) { throw misuse{KS_ERROR_ARGUMENT, 0, words}; }

template <class Context> inline int report(Context *context, int code, int line, const char *message) {
    if (context != nullptr) {
        context->code = code;
        context->line = line;
        std::strncpy(context->message, message, sizeof context->message - 1);
        context->message[sizeof context->message - 1] = '\0';
    }
    return code;
}

// Sizes of results.
inline int64_t size_at(int64_t size, int line) {
    if (size < 0) {
        throw misuse{KS_ERROR_INDEX, line, error_text() << "a tensor cannot have a negative size"};
    }
    return size;
}

// A tensor of the caller's, of the sizes that are expected of it; a size below zero stands for any.
template <class View> inline void require(const char *name, const View &view, std::initializer_list<int64_t> expected) {
    if (view.sizes == nullptr) {
        misused(error_text() << name << " has no sizes");
    }
    bool empty = false;
    int dim = 0;
    for (const int64_t size : expected) {
        const int64_t given = view.sizes[dim];
        if (given < 0 || (size >= 0 && given != size)) {
            error_text words;
            words << name << " has the size " << given << " in dimension " << int64_t{dim};
            if (size >= 0) {
                words << ", and is to have " << size;
            }
            misused(words);
        }
        empty = empty || given == 0;
        ++dim;
    }
    if (view.data == nullptr && !empty) {
        misused(error_text() << name << " is a null pointer");
    }
}

// A place for a number.
inline void require(const char *name, const void *place) {
    if (place == nullptr) {
        misused(error_text() << name << " is a null pointer");
    }
}

// Descriptors; the ABI has one type for what is read and what is written.
template <class View> inline auto read(const View &view) -> decltype(view.strides, ks_tensor()) {
    return {const_cast<void *>(static_cast<const void *>(view.data)), view.sizes, view.strides};
}
template <class View> inline ks_tensor written(const View &view) { return {view.data, view.sizes, nullptr}; }
template <class T> inline ks_tensor place(T *value) { return {value, nullptr, nullptr}; }

// An operand of a kernel that maps over lanes; the stride is in bytes. Without a name it is a number of the host's, which a
// launch takes along.
struct lane_operand {
    const char *name;
    char *data;
    int64_t stride;
    bool is_result;
    int64_t number;
};
template <class T> inline lane_operand lanes_read(const char *name, const T *data, int64_t stride) {
    return {name, const_cast<char *>(reinterpret_cast<const char *>(data)), stride * int64_t{sizeof(T)}, false, 0};
}
template <class T> inline lane_operand lanes_written(const char *name, T *data, int64_t stride) {
    return {name, reinterpret_cast<char *>(data), stride * int64_t{sizeof(T)}, true, 0};
}

// Operands for n lanes.
template <int count> inline void require_lanes(int64_t n, const lane_operand (&operands)[count]) {
    if (n < 0) {
        misused(error_text() << "the number of lanes is negative");
    }
    for (const lane_operand &operand : operands) {
        if (operand.name != nullptr && operand.data == nullptr && n > 0) {
            misused(error_text() << operand.name << " is a null pointer");
        }
        if (operand.is_result && operand.stride == 0 && n > 1) {
            misused(error_text() << operand.name << " has the stride 0, so that lanes would overwrite each other");
        }
    }
}

}  // namespace ks

#endif

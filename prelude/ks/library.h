// What the functions of an exported library do around a kernel: look at their arguments, give it scratch memory and
// threads, and report what it stopped for. Nothing is thrown past them. Not included by kernels.
#ifndef KS_LIBRARY_H
#define KS_LIBRARY_H

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <new>

#include "ks/cpu.h"
#include "ks/host.h"
#include "ks/message.h"
#include "ks/runtime.h"
#include "ks/sizes.h"

namespace ks {

// Beside those of runtime.h, what a caller did wrong.
enum library_error {
    KS_ERROR_ARGUMENT = 32,  // a null pointer, or sizes that do not fit
    KS_ERROR_PROCESSOR = 33  // the library was compiled for instructions that this processor does not have
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

// Runs `body`, a call of a kernel with the runtime that it is given, and gives the code of what it stopped for, or 0.
template <class Context, class Body> inline int exported(Context *context, Body body) noexcept {
    try {
        host owner(context != nullptr && context->threads > 1 ? context->threads : 1);
        if (body(owner.runtime()) != 0) {
            return report(context, owner.code(), owner.line(), owner.message());
        }
        return report(context, 0, 0, "");
    } catch (const misuse &wrong) {
        return report(context, wrong.code, wrong.line, wrong.words.text());
    } catch (const size_failure &wrong) {
        return report(context, KS_ERROR_INDEX, 0, wrong.message);
    } catch (const std::bad_alloc &) {
        return report(context, KS_ERROR_MEMORY, 0, "out of memory");
    }
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
template <class T> inline ks_tensor number(const T &value) { return {const_cast<T *>(&value), nullptr, nullptr}; }
template <class T> inline ks_tensor place(T *value) { return {value, nullptr, nullptr}; }

// An operand of a kernel that maps over lanes; the stride is in bytes.
struct lane_operand {
    const char *name;
    char *data;
    int64_t stride;
    bool is_result;
};
template <class T> inline lane_operand lanes_read(const char *name, const T *data, int64_t stride) {
    return {name, const_cast<char *>(reinterpret_cast<const char *>(data)), stride * int64_t{sizeof(T)}, false};
}
template <class T> inline lane_operand lanes_written(const char *name, T *data, int64_t stride) {
    return {name, reinterpret_cast<char *>(data), stride * int64_t{sizeof(T)}, true};
}
template <class T> inline lane_operand shared(const T &value) {
    return {"", const_cast<char *>(reinterpret_cast<const char *>(&value)), 0, false};
}

// What a thread is started for, at least.
constexpr int64_t lanes_per_part = 16384;

// Calls an elementwise entry on n lanes, on several threads where the host has them.
template <int count>
inline int run_lanes(const ks_runtime *rt, ks_elementwise_entry entry, int64_t n, const lane_operand (&operands)[count]) {
    if (n < 0) {
        misused(error_text() << "the number of lanes is negative");
    }
    struct {
        ks_elementwise_entry entry;
        char *data[count];
        int64_t strides[count];
        int64_t n, step;
    } all = {entry, {}, {}, n, n};
    for (int k = 0; k < count; ++k) {
        const lane_operand &operand = operands[k];
        if (operand.data == nullptr && n > 0) {
            misused(error_text() << operand.name << " is a null pointer");
        }
        if (operand.is_result && operand.stride == 0 && n > 1) {
            misused(error_text() << operand.name << " has the stride 0, so that lanes would overwrite each other");
        }
        all.data[k] = operand.data;
        all.strides[k] = operand.stride;
    }
    if (n == 0) {
        return 0;
    }
    const int64_t most = n / lanes_per_part;
    const int64_t threads = rt->threads(rt);
    if (threads < 2 || most < 2) {
        return entry(rt, all.data, all.strides, n);
    }
    const int64_t parts = most < 4 * threads ? most : 4 * threads;
    all.step = ((n + parts - 1) / parts + 63) / 64 * 64;
    const ks_task task = [](const ks_runtime *mine, void *context, int part) {
        const auto &shared = *static_cast<const decltype(all) *>(context);
        const int64_t first = part * shared.step;
        const int64_t rest = shared.n - first;
        char *data[count];
        for (int k = 0; k < count; ++k) {
            data[k] = shared.data[k] + first * shared.strides[k];
        }
        return shared.entry(mine, data, shared.strides, rest < shared.step ? rest : shared.step);
    };
    return rt->parallel(rt, static_cast<int>((n + all.step - 1) / all.step), task, &all);
}

}  // namespace ks

#endif

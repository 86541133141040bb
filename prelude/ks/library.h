// What the functions of an exported library do around a kernel: look at their arguments, give it scratch memory and
// threads, and report what it stopped for. Nothing is thrown past them. Not included by kernels.
#ifndef KS_LIBRARY_H
#define KS_LIBRARY_H

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <new>

#include "ks/caller.h"
#include "ks/cpu.h"
#include "ks/host.h"
#include "ks/runtime.h"

namespace ks {

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

// A number among the operands.
template <class T> inline ks_tensor number(const T &value) { return {const_cast<T *>(&value), nullptr, nullptr}; }

// Calls a tensor entry.
inline int run_tensors(const ks_runtime *rt, ks_tensor_entry entry, std::initializer_list<ks_tensor> operands) {
    return entry(rt, operands.begin());
}

// A number for all lanes.
template <class T> inline lane_operand shared(const T &value) {
    return {"", const_cast<char *>(reinterpret_cast<const char *>(&value)), 0, false, 0};
}

// What a thread is started for, at least.
constexpr int64_t lanes_per_part = 16384;

// Calls an elementwise entry on n lanes, on several threads where the host has them.
template <int count>
inline int run_lanes(const ks_runtime *rt, ks_elementwise_entry entry, int64_t n, const lane_operand (&operands)[count]) {
    require_lanes(n, operands);
    struct {
        ks_elementwise_entry entry;
        char *data[count];
        int64_t strides[count];
        int64_t n, step;
    } all = {entry, {}, {}, n, n};
    for (int k = 0; k < count; ++k) {
        const lane_operand &operand = operands[k];
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

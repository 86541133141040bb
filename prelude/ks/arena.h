// What a kernel sees of its host during one call: scratch memory, errors, the end of the stack.
#ifndef KS_ARENA_H
#define KS_ARENA_H

#include <cstddef>
#include <cstdint>

#include "ks/runtime.h"

namespace ks {

// Thrown by `runtime::fail`, caught where the entry was entered: nothing after a failure is evaluated.
struct stop {};

class runtime {
  public:
    explicit runtime(const ks_runtime *host) : host_(host) {}

    // Records an error at a line of the user's file and leaves the kernel.
    [[noreturn]] __attribute__((cold, noinline)) void fail(int code, int line, const char *message) {
        host_->error(host_, code, line, message);
        throw stop();
    }

    // Uninitialised memory for `count` values, gone after this lane.
    template <class T> T *alloc(int64_t count) { return static_cast<T *>(bytes(count, sizeof(T))); }

    // A record in the arena.
    template <class T> const T *box(const T &record) {
        T *const place = alloc<T>(1);
        *place = record;
        return place;
    }

    // Refuses to recurse where the stack is about to end.
    void check_stack(int line, const char *function) {
        if (static_cast<const char *>(__builtin_frame_address(0)) < host_->stack_limit) {
            too_deep(line, function);
        }
    }

    // Frees what this lane allocated.
    void end_lane() {
        if (allocated_) {
            host_->release(host_, mark_);
            allocated_ = false;
        }
    }

  private:
    [[noreturn]] __attribute__((cold, noinline)) void too_deep(int line, const char *function) {
        char message[160] = "recursion is too deep in ";
        size_t end = sizeof("recursion is too deep in ") - 1;
        for (; *function != '\0' && end + 1 < sizeof message; ++function) {
            message[end++] = *function;
        }
        message[end] = '\0';
        fail(KS_ERROR_RECURSION, line, message);
    }

    __attribute__((noinline)) void *bytes(int64_t count, size_t size) {
        if (!allocated_) {
            mark_ = host_->mark(host_);
            allocated_ = true;
        }
        if (count > INT64_MAX / static_cast<int64_t>(size)) {
            fail(KS_ERROR_MEMORY, 0, "a temporary tensor is too large");
        }
        void *const place = host_->alloc(host_, (count > 0 ? static_cast<size_t>(count) : 1) * size);
        if (place == nullptr) {
            throw stop();
        }
        return place;
    }

    const ks_runtime *host_;
    size_t mark_ = 0;
    bool allocated_ = false;
};

}  // namespace ks

#endif

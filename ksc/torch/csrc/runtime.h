// The ks_runtime that the core hands to a kernel: an arena per thread, the first error of a call, the end of the stack.
#pragma once

#include <atomic>
#include <cstddef>
#include <exception>
#include <mutex>
#include <string>
#include <vector>

#include <ks/runtime.h>

namespace ksc {

// Memory that grows by chunks, so that what was handed out never moves, and is wound back to a mark.
class Arena {
  public:
    Arena() = default;
    Arena(const Arena&) = delete;
    Arena& operator=(const Arena&) = delete;
    ~Arena();

    // 64-byte aligned; nullptr when the system has no more.
    void* alloc(size_t bytes);
    size_t mark() const { return top_; }
    void release(size_t mark);

  private:
    struct Chunk {
        char* data;
        size_t start;  // in the arena's count of bytes
        size_t size;
    };
    void trim();

    std::vector<Chunk> chunks_;
    size_t current_ = 0;
    size_t top_ = 0;
};

// What the parts of one call that run in parallel share.
class Call {
  public:
    void record(int code, int line, const char* message);
    bool failed() const { return failed_.load(std::memory_order_acquire); }
    int code() const { return code_; }
    int line() const { return line_; }
    const std::string& message() const { return message_; }
    // What a callback threw; null for any other error.
    const std::exception_ptr& exception() const { return exception_; }
    void record(std::exception_ptr exception);
    // Takes over the error of another call.
    void record(const Call& other);

  private:
    std::atomic<bool> failed_{false};
    std::mutex mutex_;
    int code_ = 0;
    int line_ = 0;
    std::string message_;
    std::exception_ptr exception_;
};

// The callback of every ks_runtime, see callback.cpp; null where there is no Python.
extern decltype(ks_runtime::callback) const kCallback;

// A ks_runtime for one range of a call, on the thread that constructs it; what it allocates is gone with it.
class ThreadRuntime {
  public:
    explicit ThreadRuntime(Call& call);
    ThreadRuntime(const ThreadRuntime&) = delete;
    ThreadRuntime& operator=(const ThreadRuntime&) = delete;
    ~ThreadRuntime();

    const ks_runtime* get() const { return &runtime_; }

    // The call that a runtime of this kind belongs to.
    static Call& call_of(const ks_runtime* runtime) { return *context(runtime).call; }

  private:
    struct Context {
        Call* call;
        Arena* arena;
    };
    static const Context& context(const ks_runtime* runtime) { return *static_cast<const Context*>(runtime->ctx); }

    Context context_;
    size_t mark_;
    ks_runtime runtime_;
};

}  // namespace ksc

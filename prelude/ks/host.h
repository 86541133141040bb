// A host for kernels in a program without PyTorch: an arena and the first error of a call, and threads if it is given any.
//
//     ks::host host(4);
//     if (ks_matvec(host.runtime(), operands) != 0) { std::puts(host.message()); }
//
// One host serves one call at a time. Not included by kernels.
#ifndef KS_HOST_H
#define KS_HOST_H

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <deque>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "ks/runtime.h"
#include "ks/stack.h"

namespace ks {

class host {
  public:
    // Loops that are worth it run on this many threads, started for each of them.
    explicit host(int threads = 1) : threads_(threads) {
        runtime_ = {};
        runtime_.ctx = this;
        runtime_.alloc = [](const ks_runtime *rt, size_t bytes) { return self(rt).alloc(bytes); };
        runtime_.mark = [](const ks_runtime *rt) { return self(rt).blocks_.size(); };
        runtime_.release = [](const ks_runtime *rt, size_t mark) { self(rt).release(mark); };
        runtime_.error = [](const ks_runtime *rt, int code, int line, const char *message) {
            self(rt).record(code, line, message);
        };
        runtime_.stack_limit = thread_stack_limit();
        runtime_.threads = [](const ks_runtime *rt) { return self(rt).threads_; };
        runtime_.parallel = [](const ks_runtime *rt, int parts, ks_task task, void *context) {
            return self(rt).run(parts, task, context);
        };
    }
    host(const host &) = delete;
    host &operator=(const host &) = delete;
    ~host() { release(0); }

    const ks_runtime *runtime() const { return &runtime_; }

    // What the last call stopped for: an ks_error, or 0; the line of the user's file, and the text.
    int code() const { return code_; }
    int line() const { return line_; }
    const char *message() const { return message_.c_str(); }
    void clear() { code_ = 0; }

  private:
    static host &self(const ks_runtime *rt) { return *static_cast<host *>(rt->ctx); }

    void *alloc(size_t bytes) {
        void *const block = std::aligned_alloc(64, (bytes + 63) / 64 * 64);
        if (block == nullptr) {
            record(KS_ERROR_MEMORY, 0, "out of memory");
        } else {
            blocks_.push_back(block);
        }
        return block;
    }

    void release(size_t mark) {
        while (blocks_.size() > mark) {
            std::free(blocks_.back());
            blocks_.pop_back();
        }
    }

    void record(int code, int line, const char *message) {
        if (code_ == 0) {
            code_ = code;
            line_ = line;
            message_ = message;
        }
    }

    int run(int parts, ks_task task, void *context) {
        std::deque<host> hosts(static_cast<size_t>(parts));
        std::atomic<int> next{0};
        std::atomic<bool> failed{false};
        const auto work = [&] {
            for (int part = next++; part < parts && !failed; part = next++) {
                host &own = hosts[static_cast<size_t>(part)];
                own.runtime_.stack_limit = thread_stack_limit();
                if (task(own.runtime(), context, part) != 0) {
                    failed = true;
                }
            }
        };
        std::vector<std::thread> others;
        for (int k = 1; k < std::min(parts, threads_); ++k) {
            try {
                others.emplace_back(work);
            } catch (const std::system_error &) {
                break;  // the system has no more threads: those that there are do the work
            }
        }
        work();
        for (std::thread &other : others) {
            other.join();
        }
        for (const host &part : hosts) {
            if (part.code_ != 0) {
                record(part.code_, part.line_, part.message());
                return 1;
            }
        }
        return 0;
    }

    ks_runtime runtime_;
    int threads_;
    std::vector<void *> blocks_;
    int code_ = 0;
    int line_ = 0;
    std::string message_;
};

}  // namespace ks

#endif

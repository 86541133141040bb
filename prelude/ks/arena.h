// What a kernel sees of its host during one call: scratch memory, errors, the end of the stack.
#ifndef KS_ARENA_H
#define KS_ARENA_H

#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include "ks/guarded.h"
#include "ks/macros.h"
#include "ks/message.h"
#include "ks/runtime.h"

namespace ks {

// Thrown by `runtime::fail`, caught where the entry was entered: nothing after a failure is evaluated.
struct stop {};

// Thrown where what runs side by side is better run one after the other; nothing of it has been given yet.
struct one_by_one {};

// A loop iteration, a lane or a call, at the end of which what it allocated is given back.
struct region {
    region *const outer;
    char *const next;
    char *const end;
    size_t mark = 0;
    int64_t room = 0;
    guarded blocks = {};
    bool marked = false;
    bool kept = false;
};

class runtime {
  public:
    // `results` are the descriptors that a tensor entry was given, results first.
    explicit runtime(const ks_runtime *host, const ks_tensor *results = nullptr) : host_(host), results_(results) {}

    // Records an error at a line of the user's file and leaves the kernel.
    [[noreturn]] KS_COLD void fail(int code, int line, const char *message) {
        host_->error(host_, code, line, message);
        throw stop();
    }

    // Fails for the first of the indices into a tensor that is out of range.
    [[noreturn]] KS_COLD void fail_index(int line, const char *tensor, std::initializer_list<place> places) {
        error_text words;
        say_index(words, tensor, places.begin(), places.end());
        fail(KS_ERROR_INDEX, line, words.text());
    }

    // Leaves the kernel where the host's function fails.
    void callback(const char *name, const ks_value *given, int given_count, const ks_value *places, int place_count) {
        if (host_->callback == nullptr) {
            fail(KS_ERROR_CALLBACK, 0, "the kernel calls back into Python, which is not there");
        }
        if (host_->callback(host_, name, given, given_count, places, place_count) != 0) {
            throw stop();
        }
    }

    // Into how many parts a loop may be divided.
    int threads() const { return host_->threads != nullptr ? host_->threads(host_) : 1; }

    // Calls part(rt, k) for each k below `parts`, on several threads, each with its own `rt`; leaves the kernel where one fails.
    template <class Part> void run_parts(int parts, const Part &part) {
        struct shared {
            const Part &part;
            const ks_tensor *results;
        } all{part, results_};
        const ks_task task = [](const ks_runtime *host, void *context, int k) {
            const shared &all = *static_cast<const shared *>(context);
            runtime rt(host, all.results);
            return rt.guard([&] { all.part(rt, k); });
        };
        if (host_->parallel(host_, parts, task, &all) != 0) {
            throw stop();
        }
    }

    // Runs `body`, which may leave the kernel, and gives back what it allocated; 1 where it left.
    template <class Body> int guard(const Body &body);

    // Uninitialised memory for `count` values, gone at the end of the innermost `scratch`.
    template <class T> T *alloc(int64_t count) {
        return static_cast<T *>(alloc_bytes(count, static_cast<int64_t>(sizeof(T))));
    }
    void *alloc_bytes(int64_t count, int64_t size) {
        char *const place = next_;
        return cut(count * size, count <= small_block) ? place : bytes(count, static_cast<size_t>(size));
    }

    // Takes so many bytes from `next_piece()` on, if they are there, few, and `small`; memory of its own for none as well.
    bool cut(int64_t bytes, bool small) {
        const int64_t wanted = ((bytes - (bytes != 0)) | 63) + 1;
        const bool fits = small & (wanted <= small_block) & (wanted <= end_ - next_);
        if (__builtin_expect(fits, 1)) {
            next_ += wanted;
        }
        return fits;
    }
    void *next_piece() const { return next_; }

    // Lets what follows have so many bytes at a time, or a little more; it is `one_by_one` where it asks for others.
    void limit(int64_t bytes) { room_ = bytes; }

    // A record in the arena.
    template <class T> const T *box(const T &record) {
        T *const place = alloc<T>(1);
        *place = record;
        return place;
    }

    // Where the caller wants the k-th result.
    const ks_tensor &result(int k) const { return results_[k]; }

    region *innermost() const { return innermost_; }

    // Lets what is allocated next live as long as what was made when `home` was the innermost region.
    KS_NOINLINE void keep_until(const region *home) const {
        for (region *inner = innermost_; inner != home && inner != nullptr; inner = inner->outer) {
            inner->kept = true;
        }
    }

    // Refuses to recurse where the stack is about to end.
    void check_stack(int line, const char *function) {
        if (static_cast<const char *>(__builtin_frame_address(0)) < host_->stack_limit) {
            too_deep(line, function);
        }
    }

  private:
    friend class scratch;

    [[noreturn]] KS_COLD void too_deep(int line, const char *function) {
        error_text words;
        words << "recursion is too deep in " << function;
        fail(KS_ERROR_RECURSION, line, words.text());
    }

    __attribute__((noinline)) void *bytes(int64_t count, size_t size) {
        if (innermost_ != nullptr && !innermost_->marked) {
            mark_regions();
        }
        if (count > (INT64_MAX - 2 * guarded::margin) / static_cast<int64_t>(size)) {
            fail(KS_ERROR_MEMORY, 0, "a temporary tensor is too large");
        }
        const size_t wanted = (count > 0 ? static_cast<size_t>(count) : 1) * size;
        room_ -= static_cast<int64_t>(wanted <= static_cast<size_t>(small_block) ? static_cast<size_t>(stock) : wanted);
        if (room_ < 0) {
            throw one_by_one();
        }
        if (wanted <= static_cast<size_t>(small_block)) {
            const size_t rounded = (wanted + 63) / 64 * 64;
            next_ = static_cast<char *>(host_->alloc(host_, stock));
            if (next_ == nullptr) {
                throw stop();
            }
            end_ = next_ + stock;
            next_ += rounded;
            return next_ - rounded;
        }
        void *const place = host_->alloc(host_, wanted + 2 * guarded::margin);
        if (place == nullptr) {
            throw stop();
        }
        return blocks_.add(place, wanted);
    }

    KS_NOINLINE void give_back(const region &ended) {
        blocks_.release(ended.blocks);
        room_ = ended.room;
        host_->release(host_, ended.mark);
    }

    // Regions in which nothing was allocated yet begin here.
    void mark_regions() const {
        const size_t mark = host_->mark(host_);
        for (region *inner = innermost_; inner != nullptr && !inner->marked; inner = inner->outer) {
            inner->mark = mark;
            inner->room = room_;
            inner->blocks = blocks_;
            inner->marked = true;
        }
    }

    // Blocks up to `small_block` bytes are parts of one of `stock` bytes, so that a loop need not ask the host for each.
#if defined(KS_GUARD_BLOCKS) || defined(KS_EACH_BLOCK_ASKED_FOR)
    static constexpr int64_t small_block = 0;
#else
    static constexpr int64_t small_block = 4096;
#endif
    static constexpr int64_t stock = 16384;

    const ks_runtime *host_;
    const ks_tensor *results_;
    region *innermost_ = nullptr;
    char *next_ = nullptr;
    char *end_ = nullptr;
    int64_t room_ = INT64_MAX;
    guarded blocks_;
};

// The region that begins where this is declared. The arena is not asked before something is allocated.
class scratch {
  public:
    explicit scratch(runtime &rt) : rt_(rt), here_{rt.innermost_, rt.next_, rt.end_} { rt.innermost_ = &here_; }
    scratch(const scratch &) = delete;
    scratch &operator=(const scratch &) = delete;

    ~scratch() {
        rt_.innermost_ = here_.outer;
        if (here_.kept) {
            return;
        }
        rt_.next_ = here_.next;
        rt_.end_ = here_.end;
        if (here_.marked) {
            rt_.give_back(here_);
        }
    }

  private:
    runtime &rt_;
    region here_;
};

template <class Body> inline int runtime::guard(const Body &body) {
    try {
        scratch all(*this);
        body();
        return 0;
    } catch (const stop &) {
        return 1;
    }
}

}  // namespace ks

#endif

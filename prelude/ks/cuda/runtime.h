// What a kernel sees of the grid that runs it: scratch memory, errors, and how its threads meet.
//
// All threads walk through a kernel's function together: each computes the same numbers from the same memory, up to a
// loop that `ks::parallel` divides, in which each one is alone with its iterations, or a few threads of a warp, or a block,
// walk through each of its iterations together. What is written outside of such loops is written by all threads that walk together,
// each its share, between two meetings.
#ifndef KS_CUDA_RUNTIME_H
#define KS_CUDA_RUNTIME_H

#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include "ks/cuda/device.h"
#include "ks/cuda/given.h"
#include "ks/macros.h"
#include "ks/message.h"

namespace ks {

// Who walks through code together: neighbours in a warp, as many as the number says, which is a power of two; a block; all.
enum class team : int { thread = 1, warp = warp_size, block, grid };
constexpr team eight = static_cast<team>(8);
KS_KERNEL_FN bool is_in_warp(team kind) { return kind <= team::warp; }

// The lanes of this thread's team in its warp.
__device__ inline unsigned mates(team kind) {
    const unsigned count = static_cast<unsigned>(kind);
    return 0xffffffffu >> (warp_size - count) << (threadIdx.x % warp_size & ~(count - 1));
}

// Loads and stores of so many bytes at once need memory aligned to them.
constexpr int64_t alignment = 16;
KS_KERNEL_FN bool is_aligned(const void *place) { return reinterpret_cast<uintptr_t>(place) % alignment == 0; }
// Says so to the compiler.
template <class T> KS_KERNEL_FN T *aligned(T *place) { return static_cast<T *>(__builtin_assume_aligned(place, alignment)); }

// A word that other threads write, as it is now.
template <class T> KS_UNCHECKED __device__ inline T look(const T *place) { return *static_cast<const volatile T *>(place); }

// A loop iteration or a call, at the end of which what it allocated is given back.
struct region {
    region *const outer;
    const int64_t mark;
    bool kept = false;
};

class runtime {
  public:
    // `file` is the user's; `numbers` says how many numbers a loop combines at most, `glances` whether elements are read outside
    // of divided loops.
    __device__ runtime(const grid &all, const char *file, const given *results, int numbers, bool glances)
        : all_(&all), file_(file), results_(results), base_(all.scratch), partials_(all.scratch),
          used_((partial_bytes(numbers, gridDim.x) + 15) / 16 * 16), end_(all.scratch_bytes), slots_(numbers), glances_(glances),
          team_(gridDim.x * blockDim.x == 1 ? team::thread : team::grid) {
        KS_PIECE(partials_, partial_bytes(numbers, gridDim.x));
        if (look(&all.state->failed) != 0) {
            leave();
        }
    }

    // Records an error at a line of the user's file and ends this thread; the others follow when they meet.
    [[noreturn]] KS_NOINLINE void fail(int code, int line, const char *message) const { fail(code, line, message, 0, 0); }

    // Fails for the first of the indices into a tensor that is out of range.
    [[noreturn]] KS_NOINLINE void fail_index(int line, const char *tensor, std::initializer_list<place> places) const {
        error_text words;
        say_index(words, tensor, places.begin(), places.end());
        fail(KS_ERROR_INDEX, line, words.text());
    }

    // Uninitialised memory for `count` values, gone at the end of the innermost `scratch`.
    template <class T> __device__ T *alloc(int64_t count) { return aligned(static_cast<T *>(bytes(count, sizeof(T)))); }

    // A record in scratch memory.
    template <class T> __device__ const T *box(const T &record) {
        T *const place = alloc<T>(1);
        settle();
        if (thread() == 0) {
            *place = record;
        }
        meet();
        return place;
    }

    // Where the caller wants the k-th result.
    __device__ const given &result(int k) const { return results_[k]; }

    // There, or where it can be copied from, so that it is aligned.
    template <class T> __device__ T *result_place(int k, int64_t count) {
        T *const place = static_cast<T *>(results_[k].data);
        return is_aligned(place) ? aligned(place) : alloc<T>(count);
    }

    __device__ region *innermost() const { return innermost_; }

    // Lets what is allocated next live as long as what was made when `home` was the innermost region.
    __device__ void keep_until(const region *home) const {
        for (region *inner = innermost_; inner != home && inner != nullptr; inner = inner->outer) {
            inner->kept = true;
        }
    }

    __device__ team members() const { return team_; }

    // Whether this thread walks by itself, as in a divided loop.
    __device__ bool is_alone() const { return team_ == team::thread; }

    // How many threads share what is to be done here, and which of them this is.
    __device__ int64_t threads() const { return size_of(team_); }
    __device__ int64_t thread() const {
        switch (team_) {
            case team::grid: return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
            case team::block: return threadIdx.x;
            default: return threadIdx.x & (static_cast<unsigned>(team_) - 1);
        }
    }
    __device__ static int64_t size_of(team kind) {
        switch (kind) {
            case team::grid: return static_cast<int64_t>(gridDim.x) * blockDim.x;
            case team::block: return blockDim.x;
            default: return static_cast<int64_t>(kind);
        }
    }

    // Waits for all who walk together; what they have written can be read by all of them. The threads of a grid end here where
    // one has failed.
    __device__ void meet() {
        is_behind_ = false;
        switch (team_) {
            case team::grid: meet_all(); return;
            case team::block: __syncthreads(); return;
            case team::thread: return;
            default: __syncwarp(mates(team_)); return;
        }
    }

    // Until `end_glances`, or for good, elements are read outside of divided loops.
    __device__ bool begin_glances() {
        const bool before = glances_;
        glances_ = true;
        return before;
    }
    __device__ void end_glances(bool before) { glances_ = before; }

    // After something was written by all, each its share. Where nobody reads elements but in loops, each of which begins with
    // `settle`, they need not meet before the next one; so those who are done with the last loop are done.
    __device__ void part_ways() {
        if (glances_) {
            meet();
        } else {
            is_behind_ = true;
        }
    }

    // Before something is written or a loop reads: waits until all have read what they had to, and written it.
    __device__ void settle() {
        if (glances_ || is_behind_) {
            meet();
        }
    }

    // The runtime of the `number`-th of `active` teams of one kind in a divided loop, with its own part of what is left of the
    // memory.
    __device__ runtime part(team kind, int64_t number, int64_t active) const {
        runtime mine = *this;
        const int64_t each = active > 0 ? (end_ - used_) / active / 16 * 16 : 0;
        mine.base_ = base_ + used_ + number * each;
        mine.used_ = 0;
        mine.end_ = each;
        mine.innermost_ = nullptr;
        mine.team_ = kind;
        mine.owns_ = mine.glances_ = true;
        mine.is_behind_ = false;
        return mine;
    }

    // That of a thread in a divided loop that needs none.
    __device__ runtime alone() const {
        runtime mine = *this;
        mine.used_ = mine.end_ = 0;
        mine.innermost_ = nullptr;
        mine.team_ = team::thread;
        mine.owns_ = mine.glances_ = true;
        mine.is_behind_ = false;
        return mine;
    }

    // That of the one thread which walks on while the others wait, and what becomes of the memory when they go on.
    __device__ runtime leader() const {
        runtime mine = *this;
        mine.team_ = team::thread;
        return mine;
    }
    __device__ int64_t used() const { return used_; }
    __device__ void go_on(int64_t used) {
        KS_PIECE(base_ + used_, used - used_);
        used_ = used;
    }

    // Gives a thread that walks by itself memory of its own before any other: of an array in its frame, equal elements of
    // neighbouring threads lie side by side.
    __device__ void add_near(char *memory, int64_t bytes) {
        near_ = memory;
        near_bytes_ = bytes;
        end_ += bytes;
    }

    // How many teams of a kind there are among those who walk together, and how many of them can work at a time if each needs
    // memory of its own.
    __device__ int64_t teams(team kind) const { return threads() / size_of(kind); }
    __device__ int64_t with_memory(team kind) const {
        const int64_t each = (all_->scratch_per_thread > 16 ? all_->scratch_per_thread : 16) * size_of(kind);
        const int64_t most = (end_ - used_) / each;
        return most < 1 ? 1 : most < teams(kind) ? most : teams(kind);
    }

    __device__ bool is_deterministic() const { return all_->deterministic; }

    // The place of each block for the number in a slot. Two sets of places take turns, so that nobody writes to one that is read.
    template <class T> __device__ T *partials(int slot) const {
        static_assert(sizeof(T) <= 8, "a number has at most 8 bytes");
        return reinterpret_cast<T *>(partials_ + 8 * static_cast<int64_t>(gridDim.x) * (slot + (odd_ ? slots_ : 0)));
    }
    __device__ void swap_partials() { odd_ = !odd_; }

  private:
    friend class scratch;

    __device__ void meet_all() {
        __syncthreads();
        ks_cuda_state *const state = all_->state;
        if (gridDim.x > 1) {
            if (threadIdx.x == 0) {
                const unsigned before = look(&state->phase);
                __threadfence();
                if (atomicInc(&state->arrived, gridDim.x - 1) == gridDim.x - 1) {
                    __threadfence();
                    atomicExch(&state->phase, before + 1);
                } else {
                    while (look(&state->phase) == before && look(&state->failed) == 0) {
                        __nanosleep(32);
                    }
                    atomicOr(&state->phase, 0u);
                }
                __threadfence();
            }
            __syncthreads();
        }
        if (look(&state->failed) != 0) {
            leave();
        }
    }

    KS_NOINLINE void *bytes(int64_t count, size_t size) {
        const int64_t room = (INT64_MAX - used_) / 2 / static_cast<int64_t>(size);
        if (count > room) {
            fail(KS_ERROR_MEMORY, 0, "a temporary tensor is too large");
        }
        const int64_t wanted = (count > 0 ? count : 1) * static_cast<int64_t>(size);
        const int64_t rounded = (wanted + 15) / 16 * 16 + KS_MARGIN;
        // What does not fit into the rest of the near memory is in the other.
        const int64_t start = used_ < near_bytes_ && used_ + rounded > near_bytes_ ? near_bytes_ : used_;
        used_ = start + rounded;
        if (used_ <= near_bytes_) {
            KS_PIECE(near_ + start, wanted);
            return near_ + start;
        }
        if (used_ > end_) {
            const int64_t sharers = threads(), next = used_ - near_bytes_;
            fail(KS_ERROR_MEMORY, 0, "the scratch memory is too small", owns_ ? 0 : next, owns_ ? (next + sharers - 1) / sharers : 0);
        }
        KS_PIECE(base_ + (start - near_bytes_), wanted);
        return base_ + (start - near_bytes_);
    }

    // What was allocated is gone from here on.
    __device__ void go_back(int64_t used) {
        used_ = used;
        if (used < near_bytes_) {
            KS_RELEASED(near_ + used);
            KS_RELEASED(base_);
        } else if (end_ > 0) {
            KS_RELEASED(base_ + (used - near_bytes_));
        }
    }

    [[noreturn]] KS_NOINLINE void fail(int code, int line, const char *message, int64_t wanted, int64_t wanted_per_thread) const {
        ks_cuda_state *const state = all_->state;
        if (atomicCAS(&state->failed, 0, code) == 0) {
            state->line = line;
            say(state->message, message);
            state->scratch_wanted = static_cast<unsigned long long>(wanted);
            state->scratch_wanted_per_thread = static_cast<unsigned long long>(wanted_per_thread);
            if (ks_cuda_report *const report = all_->report) {
                report->line = line;
                say(report->message, message);
                report->owner = all_->owner;
                report->scratch_wanted = static_cast<unsigned long long>(wanted);
                report->scratch_wanted_per_thread = static_cast<unsigned long long>(wanted_per_thread);
                __threadfence_system();
                *static_cast<volatile int *>(&report->failed) = code;
                __threadfence_system();
            }
            if (all_->traps) {
                KS_TRAP(state->message, file_, line);
            }
        }
        __threadfence();
        leave();
    }

    template <size_t size> __device__ static void say(char (&place)[size], const char *message) {
        size_t k = 0;
        for (; message[k] != '\0' && k + 1 < size; ++k) {
            place[k] = message[k];
        }
        place[k] = '\0';
    }

    [[noreturn]] __device__ static void leave() { KS_LEAVE_THREAD(); }

    const grid *all_;
    const char *file_;
    const given *results_;
    char *base_;
    char *near_ = nullptr;
    char *partials_;
    int64_t used_;
    int64_t end_;
    int64_t near_bytes_ = 0;  // at the beginning of what is numbered by `used_`
    int slots_;
    region *innermost_ = nullptr;
    bool glances_;
    team team_;
    bool owns_ = false;  // the memory is one team's part
    bool odd_ = false;
    bool is_behind_ = false;  // others may still be writing
};

// The region that begins where this is declared.
class scratch {
  public:
    __device__ explicit scratch(runtime &rt) : rt_(rt), here_{rt.innermost_, rt.used_} { rt.innermost_ = &here_; }
    scratch(const scratch &) = delete;
    scratch &operator=(const scratch &) = delete;

    __device__ ~scratch() {
        rt_.innermost_ = here_.outer;
        if (!here_.kept) {
            rt_.go_back(here_.mark);
        }
    }

  private:
    runtime &rt_;
    region here_;
};

}  // namespace ks

#endif

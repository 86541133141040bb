#include "threads.h"

#include <pthread.h>

#include <ATen/EmptyTensor.h>
#include <ATen/Parallel.h>
#include <ATen/TensorIterator.h>

#include <algorithm>
#include <atomic>
#include <vector>

#include "runtime.h"

namespace ksc {
namespace {

std::atomic<bool> forked{false};

// Calls `work` on as many of PyTorch's threads, this one among them. A TensorIterator over bytes that nobody looks at
// gets there through code that was compiled with PyTorch: a loop of our own would bring along an OpenMP of our own.
template <class Work>
void on_threads(int count, const Work& work) {
    const at::Tensor lanes = at::detail::empty_cpu({count}, at::kByte);
    auto iterator = at::TensorIteratorConfig().set_check_mem_overlap(false).add_const_input(lanes).build();
    iterator.for_each(
        [&](char**, const int64_t*, int64_t lanes_here) {
            for (int64_t i = 0; i < lanes_here; ++i) {
                work();
            }
        },
        /*grain_size=*/1);
}

}  // namespace

// Runs when the core is loaded.
static const int fork_handler = pthread_atfork(nullptr, nullptr, [] { forked.store(true, std::memory_order_relaxed); });

bool is_forked() { return forked.load(std::memory_order_relaxed); }

int thread_count(const ks_runtime*) { return is_forked() || at::in_parallel_region() ? 1 : at::get_num_threads(); }

int run_parts(const ks_runtime* runtime, int parts, ks_task task, void* context) {
    std::vector<Call> calls(static_cast<size_t>(parts));
    std::atomic<int> next{0};
    std::atomic<bool> failed{false};
    on_threads(std::min(parts, thread_count(runtime)), [&] {
        // Parts are begun in order, so all before one that failed are run, and the first error is that of a serial run.
        while (!failed.load(std::memory_order_relaxed)) {
            const int part = next.fetch_add(1, std::memory_order_relaxed);
            if (part >= parts) {
                return;
            }
            const ThreadRuntime mine(calls[static_cast<size_t>(part)]);
            if (task(mine.get(), context, part) != 0) {
                failed.store(true, std::memory_order_relaxed);
            }
        }
    });
    for (const Call& call : calls) {
        if (call.failed()) {
            ThreadRuntime::call_of(runtime).record(call);
            return 1;
        }
    }
    return 0;
}

}  // namespace ksc

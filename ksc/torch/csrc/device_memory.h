// What kernels on an accelerator share from one launch to the next: per stream a ks_cuda_state and a report, per kernel how
// much scratch memory was enough.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <vector>

#include <ATen/core/Tensor.h>
#include <c10/core/Stream.h>
#include <ks/cuda/device.h>

namespace ksc {

// The memory that launches on one stream share. Its grids run one after another.
class StreamMemory {
  public:
    // Of a stream that records a graph, whose replays run whenever they like: memory that is part of the graph, and no more
    // than this launch's own. Allocates, on the current device.
    StreamMemory(c10::Device device, ks_cuda_report* report);

    // That of a stream, made when first asked for; never destroyed.
    static StreamMemory& of(const c10::Stream& stream);

    // The report that graphs on a device share; nullptr where nothing has run there yet.
    static ks_cuda_report* report_of_graphs(c10::Device device);

    // Held from looking at the report to launching, and where the host waits, to having looked again. Whoever holds it
    // neither allocates nor asks for the GIL.
    std::mutex mutex;

    ks_cuda_state* state() const { return static_cast<ks_cuda_state*>(memory_.mutable_data_ptr()); }
    ks_cuda_report* report() const { return report_; }
    // Scratch memory that is there for any kernel.
    void* scratch() const { return static_cast<char*>(memory_.mutable_data_ptr()) + kStateBytes; }
    static constexpr size_t kScratchBytes = size_t{1} << 20;

    // After an error, on the current stream: launches take place again.
    void clear();

  private:
    static constexpr size_t kStateBytes = 512;
    static_assert(sizeof(ks_cuda_state) <= kStateBytes, "the state has its place before the scratch memory");

    at::Tensor memory_;
    at::Tensor state_;  // its first bytes
    ks_cuda_report* report_;
};

// How much scratch memory a launch is given, and whether it meets tensors that take a wide kernel.
struct Scratch {
    size_t bytes = 0;
    size_t per_thread = 0;
    bool is_wide = false;
};

// What was enough for launches of one kernel, by the sizes of their operands. Any thread.
class KnownScratch {
  public:
    using Key = std::vector<int64_t>;
    bool find(const Key& key, Scratch& scratch) const;
    void remember(const Key& key, Scratch scratch);

  private:
    static constexpr size_t kMost = 1024;
    mutable std::mutex mutex_;
    std::map<Key, Scratch> known_;
};

}  // namespace ksc

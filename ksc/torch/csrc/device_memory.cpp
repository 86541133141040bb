#include "device_memory.h"

#include <cstring>
#include <memory>
#include <tuple>

#include <ATen/ops/empty.h>
#include <c10/core/InferenceMode.h>

namespace ksc {
namespace {

at::TensorOptions bytes_on(c10::Device device) { return at::TensorOptions().dtype(at::kByte).device(device); }

// Never given back: a grid may write to it at any time. Memory of the host that is pinned can be written to by devices, at
// the address that it has.
ks_cuda_report* new_report() {
    const auto pinned = at::TensorOptions().dtype(at::kByte).pinned_memory(true);
    auto* const held = new at::Tensor(at::empty({static_cast<int64_t>(sizeof(ks_cuda_report))}, pinned));
    std::memset(held->mutable_data_ptr(), 0, sizeof(ks_cuda_report));
    return static_cast<ks_cuda_report*>(held->mutable_data_ptr());
}

struct Table {
    std::mutex mutex;
    std::map<std::tuple<c10::DeviceType, c10::DeviceIndex, c10::StreamId>, std::unique_ptr<StreamMemory>> streams;
    std::map<std::pair<c10::DeviceType, c10::DeviceIndex>, ks_cuda_report*> graphs;
};

// Never destroyed: at the end of the process the allocators may be gone before.
Table& table() {
    static auto* const all = new Table();
    return *all;
}

}  // namespace

StreamMemory::StreamMemory(c10::Device device, ks_cuda_report* report) : report_(report) {
    // The memory outlives whatever mode the first call is made in.
    const c10::InferenceMode normal(false);
    memory_ = at::empty({static_cast<int64_t>(kStateBytes + kScratchBytes)}, bytes_on(device));
    state_ = memory_.slice(0, 0, static_cast<int64_t>(kStateBytes));
    state_.zero_();
}

StreamMemory& StreamMemory::of(const c10::Stream& stream) {
    Table& all = table();
    const auto key = std::make_tuple(stream.device_type(), stream.device_index(), stream.id());
    const std::pair<c10::DeviceType, c10::DeviceIndex> device{stream.device_type(), stream.device_index()};
    bool first = false;
    {
        const std::lock_guard<std::mutex> lock(all.mutex);
        const auto found = all.streams.find(key);
        if (found != all.streams.end()) {
            return *found->second;
        }
        first = all.graphs.count(device) == 0;
    }
    auto made = std::make_unique<StreamMemory>(stream.device(), new_report());
    ks_cuda_report* const of_graphs = first ? new_report() : nullptr;
    const std::lock_guard<std::mutex> lock(all.mutex);
    if (first) {
        all.graphs.emplace(device, of_graphs);
    }
    return *all.streams.emplace(key, std::move(made)).first->second;
}

ks_cuda_report* StreamMemory::report_of_graphs(c10::Device device) {
    Table& all = table();
    const std::lock_guard<std::mutex> lock(all.mutex);
    const auto found = all.graphs.find({device.type(), device.index()});
    return found == all.graphs.end() ? nullptr : found->second;
}

void StreamMemory::clear() {
    std::memset(report_, 0, sizeof *report_);
    state_.zero_();
}

bool KnownScratch::find(const Key& key, Scratch& scratch) const {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = known_.find(key);
    if (found == known_.end()) {
        return false;
    }
    scratch = found->second;
    return true;
}

void KnownScratch::remember(const Key& key, Scratch scratch) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (known_.size() >= kMost) {
        known_.clear();
    }
    known_[key] = scratch;
}

}  // namespace ksc

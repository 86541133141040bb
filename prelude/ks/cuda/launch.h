// Putting a grid on a stream.
#ifndef KS_CUDA_LAUNCH_H
#define KS_CUDA_LAUNCH_H

#include <atomic>
#include <cstdint>

#include <cuda_runtime.h>

#include "ks/cuda/runtime.h"

namespace ks {

// How many blocks of a kernel the current device holds at a time; they are counted once for each device.
template <auto kernel> inline int resident_blocks(int device) {
    constexpr int most_devices = 64;
    static std::atomic<int> counted[most_devices];
    int blocks = device < most_devices ? counted[device].load(std::memory_order_relaxed) : 0;
    if (blocks == 0) {
        int each = 0, processors = 0;
        if (cudaOccupancyMaxActiveBlocksPerMultiprocessor(&each, kernel, block_size, 0) != cudaSuccess ||
            cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device) != cudaSuccess) {
            return 1;
        }
        blocks = each * processors > 0 ? each * processors : 1;
        if (device < most_devices) {
            counted[device].store(blocks, std::memory_order_relaxed);
        }
    }
    return blocks;
}

// For ks_cuda_kernel.
inline long long resident_threads() {
    int device = 0, processors = 0, each = 0;
    if (cudaGetDevice(&device) != cudaSuccess ||
        cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device) != cudaSuccess ||
        cudaDeviceGetAttribute(&each, cudaDevAttrMaxThreadsPerMultiProcessor, device) != cudaSuccess) {
        return block_size;
    }
    return static_cast<long long>(processors) * each;
}
inline const char *explain(int status) { return cudaGetErrorString(static_cast<cudaError_t>(status)); }

inline grid grid_of(const ks_cuda *device) {
    return {device->state,
            device->report,
            device->owner,
            static_cast<char *>(device->scratch),
            static_cast<int64_t>(device->scratch_bytes),
            static_cast<int64_t>(device->scratch_per_thread),
            device->deterministic != 0,
            device->traps != 0};
}

// Whether there is memory for the blocks to combine so many numbers; a report says how much there should be.
inline bool has_partials(const ks_cuda *device, int numbers, int64_t blocks) {
    const auto wanted = static_cast<size_t>(runtime::partial_bytes(numbers, static_cast<unsigned>(blocks)));
    if (device->scratch_bytes >= wanted) {
        return true;
    }
    if (device->report != nullptr) {
        device->report->scratch_wanted = wanted;
    }
    return false;
}

// Launches a kernel whose threads meet: no more blocks than run at a time. With no `elements` it has a single thread.
template <auto kernel, class Operands> inline int launch(const ks_cuda *device, int64_t elements, int numbers, Operands all) {
    grid about = grid_of(device);
    void *arguments[] = {&about, &all};
    const cudaStream_t stream = static_cast<cudaStream_t>(device->stream);
    if (elements == 0) {
        if (!has_partials(device, numbers, 1)) {
            return KS_CUDA_SCRATCH;
        }
        return static_cast<int>(cudaLaunchKernel(kernel, dim3(1), dim3(1), arguments, 0, stream));
    }
    int current = 0;
    const cudaError_t unknown = cudaGetDevice(&current);
    if (unknown != cudaSuccess) {
        return static_cast<int>(unknown);
    }
    int64_t blocks = resident_blocks<kernel>(current);
    if (device->most_blocks > 0 && device->most_blocks < blocks) {
        blocks = device->most_blocks;
    }
    const int64_t wanted = (elements + block_size - 1) / block_size;
    blocks = wanted < blocks ? wanted : blocks;
    if (!has_partials(device, numbers, blocks)) {
        return KS_CUDA_SCRATCH;
    }
    const dim3 grid_size(static_cast<unsigned>(blocks)), threads(block_size);
    if (blocks == 1) {
        return static_cast<int>(cudaLaunchKernel(kernel, grid_size, threads, arguments, 0, stream));
    }
    return static_cast<int>(cudaLaunchCooperativeKernel(kernel, grid_size, threads, arguments, 0, stream));
}

}  // namespace ks

#endif

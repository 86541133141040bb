// Putting a grid on a stream. For the host's compiler.
#ifndef KS_CUDA_LAUNCH_H
#define KS_CUDA_LAUNCH_H

#include <atomic>
#include <cstdint>

#include <cuda_runtime.h>

#include "ks/cuda/given.h"

// A kernel of this file, by its name, as `<name>_launched`.
#ifndef KS_LAUNCHED
#define KS_LAUNCHED(name) static const ks::kernel name##_launched(name)
#endif

namespace ks {

// A kernel as the host launches it: its function, or what else the header of CUDA's runtime takes for one.
template <class Function> class kernel {
  public:
    constexpr explicit kernel(Function function) : function_(function) {}

    // Puts so many blocks on the stream, those of a grid whose threads meet `together`.
    int start(const ks_cuda *device, unsigned blocks, void **arguments, int threads = block_size, bool together = false) const {
        const cudaStream_t stream = static_cast<cudaStream_t>(device->stream);
        const dim3 each(static_cast<unsigned>(threads));
        return static_cast<int>(together ? cudaLaunchCooperativeKernel(function_, dim3(blocks), each, arguments, 0, stream)
                                         : cudaLaunchKernel(function_, dim3(blocks), each, arguments, 0, stream));
    }

    // How many blocks the current device holds at a time; they are counted once for each device.
    int resident_blocks(int device) const {
        int blocks = device < most_devices ? counted_[device].load(std::memory_order_relaxed) : 0;
        if (blocks == 0) {
            int each = 0, processors = 0;
            if (cudaOccupancyMaxActiveBlocksPerMultiprocessor(&each, function_, block_size, 0) != cudaSuccess ||
                cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device) != cudaSuccess) {
                return 1;
            }
            blocks = each * processors > 0 ? each * processors : 1;
            if (device < most_devices) {
                counted_[device].store(blocks, std::memory_order_relaxed);
            }
        }
        return blocks;
    }

  private:
    static constexpr int most_devices = 64;

    Function function_;
    mutable std::atomic<int> counted_[most_devices] = {};
};

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
    const auto wanted = static_cast<size_t>(partial_bytes(numbers, static_cast<unsigned>(blocks)));
    if (device->scratch_bytes >= wanted) {
        return true;
    }
    if (device->report != nullptr) {
        device->report->scratch_wanted = wanted;
    }
    return false;
}

// Launches a kernel whose threads meet: no more blocks than run at a time. With no `elements` it has a single thread.
template <class Function>
inline int launch(const kernel<Function> &walking, const ks_cuda *device, int64_t elements, int numbers, void *operands) {
    grid about = grid_of(device);
    void *arguments[] = {&about, operands};
    if (elements == 0) {
        return has_partials(device, numbers, 1) ? walking.start(device, 1, arguments, 1) : KS_CUDA_SCRATCH;
    }
    int current = 0;
    const cudaError_t unknown = cudaGetDevice(&current);
    if (unknown != cudaSuccess) {
        return static_cast<int>(unknown);
    }
    int64_t blocks = walking.resident_blocks(current);
    if (device->most_blocks > 0 && device->most_blocks < blocks) {
        blocks = device->most_blocks;
    }
    const int64_t wanted = (elements + block_size - 1) / block_size;
    blocks = wanted < blocks ? wanted : blocks;
    if (!has_partials(device, numbers, blocks)) {
        return KS_CUDA_SCRATCH;
    }
    return walking.start(device, static_cast<unsigned>(blocks), arguments, block_size, blocks > 1);
}

}  // namespace ks

#endif

// What the functions of a library exported to CUDA do around a kernel: look at their arguments, put it on the caller's stream with the
// caller's memory, and report what it stopped for. For the host's compiler; not included by kernels.
#ifndef KS_CUDA_LIBRARY_H
#define KS_CUDA_LIBRARY_H

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>

#include <cuda_runtime.h>

#include "ks/caller.h"
#include "ks/cuda/device.h"

namespace ks {

template <class Context> inline int refused(Context *context, cudaError_t status) {
    return report(context, KS_ERROR_DEVICE, 0, cudaGetErrorString(status));
}

// What a launch takes of the caller's context.
template <class Context> inline ks_cuda device_of(const Context *context, int needs) {
    ks_cuda device = {};
    if (context != nullptr) {
        device.stream = context->stream;
        device.state = static_cast<ks_cuda_state *>(context->state);
        device.scratch = context->scratch;
        device.scratch_bytes = context->scratch_bytes;
        device.scratch_per_thread = context->scratch_per_thread;
        device.deterministic = context->deterministic;
        device.most_blocks = context->most_blocks;
    }
    if (device.state == nullptr && (needs & KS_CUDA_STATE) != 0) {
        misused(error_text() << "the context has no state, which this function needs");
    }
    if (device.scratch == nullptr && device.scratch_bytes > 0) {
        misused(error_text() << "the context has scratch_bytes, and no scratch");
    }
    if (reinterpret_cast<uintptr_t>(device.scratch) % 256 != 0) {
        misused(error_text() << "scratch is not aligned to 256 bytes");
    }
    return device;
}

// Runs `body`, which puts a kernel on the stream that it is given, and gives the code of what it was refused for, or 0.
template <class Context, class Body> inline int launched(Context *context, int needs, Body body) noexcept {
    try {
        ks_cuda device = device_of(context, needs);
        int status = body(&device);
        if (status == KS_CUDA_SCRATCH) {
            // Refused again for the same, with a place to say how much is wanted.
            ks_cuda_report wanted = {};
            device.report = &wanted;
            status = body(&device);
            if (context != nullptr) {
                context->scratch_wanted = wanted.scratch_wanted;
                context->scratch_wanted_per_thread = 0;
            }
            return report(context, KS_ERROR_MEMORY, 0, "the scratch memory is too small");
        }
        if (status != 0) {
            return refused(context, static_cast<cudaError_t>(status));
        }
        return report(context, 0, 0, "");
    } catch (const misuse &wrong) {
        return report(context, wrong.code, wrong.line, wrong.words.text());
    } catch (const size_failure &wrong) {
        return report(context, KS_ERROR_INDEX, 0, wrong.message);
    }
}

// Waits for the context's stream, and gives the code of what a kernel with its state stopped for, or 0; the state is then as new.
template <class Context> inline int finish(Context *context) noexcept {
    const cudaStream_t stream = static_cast<cudaStream_t>(context != nullptr ? context->stream : nullptr);
    ks_cuda_state found = {};
    cudaError_t status = cudaSuccess;
    if (context != nullptr && context->state != nullptr) {
        status = cudaMemcpyAsync(&found, context->state, sizeof found, cudaMemcpyDeviceToHost, stream);
    }
    const cudaError_t waited = cudaStreamSynchronize(stream);
    status = status == cudaSuccess ? waited : status;
    if (status == cudaSuccess && found.failed != 0) {
        status = cudaMemsetAsync(context->state, 0, sizeof found, stream);
    }
    if (status != cudaSuccess) {
        return refused(context, status);
    }
    if (context != nullptr) {
        context->scratch_wanted = found.scratch_wanted;
        context->scratch_wanted_per_thread = found.scratch_wanted_per_thread;
    }
    return report(context, found.failed, found.line, found.message);
}

// Raises scratch_bytes and scratch_per_thread to what is worth trying next; 0 where more would not help.
template <class Context> inline int more_scratch(Context *context) noexcept {
    if (context == nullptr || context->code != KS_ERROR_MEMORY) {
        return 0;
    }
    constexpr size_t least = size_t{1} << 20, most_at_first = size_t{1} << 30;
    const auto aligned = [](size_t bytes) { return (bytes + 255) / 256 * 256; };
    if (const auto wanted = static_cast<size_t>(context->scratch_wanted_per_thread)) {
        int device = 0, processors = 0, threads = 0;
        if (cudaGetDevice(&device) != cudaSuccess ||
            cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device) != cudaSuccess ||
            cudaDeviceGetAttribute(&threads, cudaDevAttrMaxThreadsPerMultiProcessor, device) != cudaSuccess) {
            return 0;
        }
        const size_t each = aligned(std::max(wanted, 2 * context->scratch_per_thread));
        const size_t all = static_cast<size_t>(processors) * static_cast<size_t>(threads) * each;
        context->scratch_per_thread = each;
        // With less than what all threads want, fewer of them work.
        context->scratch_bytes = std::max(context->scratch_bytes, least + std::min(all, std::max(most_at_first, 1024 * each)));
        return 1;
    }
    if (const auto wanted = static_cast<size_t>(context->scratch_wanted)) {
        context->scratch_bytes = aligned(std::max({wanted + wanted / 2, 2 * context->scratch_bytes, least}));
        return 1;
    }
    return 0;
}

// A number of the host's, which goes along with the launch.
struct host_number {
    int64_t bits;
    operator ks_tensor() const { return {nullptr, &bits, nullptr}; }
};
template <class T> inline host_number number(const T &value) {
    host_number found = {0};
    std::memcpy(&found.bits, &value, sizeof value);
    return found;
}

// Calls a tensor entry.
inline int run_tensors(const ks_cuda *device, ks_cuda_tensor_entry entry, std::initializer_list<ks_tensor> operands) {
    return entry(device, operands.begin());
}

// A number for all lanes.
template <class T> inline lane_operand shared(const T &value) { return {nullptr, nullptr, 0, false, number(value).bits}; }

// Calls an elementwise entry on n lanes.
template <int count>
inline int run_lanes(const ks_cuda *device, ks_cuda_elementwise_entry entry, int64_t n, const lane_operand (&operands)[count]) {
    require_lanes(n, operands);
    char *data[count] = {};
    int64_t strides[count] = {}, numbers[count] = {};
    for (int k = 0; k < count; ++k) {
        const lane_operand &operand = operands[k];
        data[k] = operand.data;
        strides[k] = operand.stride;
        numbers[k] = operand.number;
    }
    return n == 0 ? 0 : entry(device, data, strides, &n, 1, numbers);
}

}  // namespace ks

#endif

// What launches take of CUDA's runtime, by the driver alone, for a source of which NVRTC has compiled the device's half: neither
// toolkit nor runtime is needed, the driver is wherever a GPU is. Each library has all of this for itself, so everything is static.
#ifndef KS_CUDA_DRIVER_H
#define KS_CUDA_DRIVER_H

#include <dlfcn.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>

#define __device__
#define __host__

// A kernel of the other half is known by its name.
#define KS_LAUNCHED(name)                         \
    static ks::device_function name##_code(#name); \
    static const ks::kernel name##_launched(&name##_code)

struct dim3 {
    unsigned x;
    constexpr explicit dim3(unsigned x) : x(x) {}
};
typedef struct CUstream_st *cudaStream_t;
// Codes are the driver's; the runtime's are the same for what both can tell.
enum cudaError_t : int { cudaSuccess = 0 };
enum cudaDeviceAttr {
    cudaDevAttrMultiProcessorCount = 16,
    cudaDevAttrMaxThreadsPerMultiProcessor = 39,
    cudaDevAttrComputeCapabilityMajor = 75,
    cudaDevAttrComputeCapabilityMinor = 76
};

namespace ks {

// Machine code for a compute capability, as 90 for 9.0, or else PTX.
struct image {
    int capability;
    bool is_binary;
    const char *data;
};

}  // namespace ks

#include "ks_images.h"

namespace ks {
namespace {

constexpr cudaError_t no_driver = static_cast<cudaError_t>(35), no_binary = static_cast<cudaError_t>(209);

// The functions of the driver, all of which it has had since CUDA 12.0.
struct driver {
    cudaError_t (*cuInit)(unsigned);
    cudaError_t (*cuGetErrorString)(cudaError_t, const char **);
    cudaError_t (*cuCtxGetCurrent)(void **);
    cudaError_t (*cuCtxSetCurrent)(void *);
    cudaError_t (*cuCtxGetDevice)(int *);
    cudaError_t (*cuDevicePrimaryCtxRetain)(void **, int);
    cudaError_t (*cuDeviceGetAttribute)(int *, int, int);
    cudaError_t (*cuThreadExchangeStreamCaptureMode)(int *);
    cudaError_t (*cuLibraryLoadData)(void **, const void *, void *, void *, unsigned, void *, void *, unsigned);
    cudaError_t (*cuLibraryGetKernel)(void **, void *, const char *);
    cudaError_t (*cuOccupancyMaxActiveBlocksPerMultiprocessor)(int *, void *, int, size_t);
    cudaError_t (*cuLaunchKernel)(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, cudaStream_t, void **, void **);
    cudaError_t (*cuLaunchCooperativeKernel)(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, cudaStream_t, void **);

    bool is_there = false;

    driver() {
        void *const library = dlopen("libcuda.so.1", RTLD_NOW);
        is_there = library != nullptr;
#define KS_DRIVER(name) \
    name = is_there ? reinterpret_cast<decltype(name)>(dlsym(library, #name)) : nullptr; \
    is_there = is_there && name != nullptr
        KS_DRIVER(cuInit);
        KS_DRIVER(cuGetErrorString);
        KS_DRIVER(cuCtxGetCurrent);
        KS_DRIVER(cuCtxSetCurrent);
        KS_DRIVER(cuCtxGetDevice);
        KS_DRIVER(cuDevicePrimaryCtxRetain);
        KS_DRIVER(cuDeviceGetAttribute);
        KS_DRIVER(cuThreadExchangeStreamCaptureMode);
        KS_DRIVER(cuLibraryLoadData);
        KS_DRIVER(cuLibraryGetKernel);
        KS_DRIVER(cuOccupancyMaxActiveBlocksPerMultiprocessor);
        KS_DRIVER(cuLaunchKernel);
        KS_DRIVER(cuLaunchCooperativeKernel);
#undef KS_DRIVER
    }
};

const driver &the_driver() {
    static const driver found;
    return found;
}

// Makes a context current where this thread has none, as the runtime does: the primary one of the first device.
cudaError_t need_context() {
    const driver &cuda = the_driver();
    if (!cuda.is_there) {
        return no_driver;
    }
    void *context = nullptr;
    cudaError_t status = cuda.cuCtxGetCurrent(&context);
    if (status == cudaSuccess && context != nullptr) {
        return cudaSuccess;
    }
    status = cuda.cuInit(0);
    status = status == cudaSuccess ? cuda.cuDevicePrimaryCtxRetain(&context, 0) : status;
    return status == cudaSuccess ? cuda.cuCtxSetCurrent(context) : status;
}

}  // namespace
}  // namespace ks

static inline cudaError_t cudaGetDevice(int *device) {
    const cudaError_t status = ks::need_context();
    return status == cudaSuccess ? ks::the_driver().cuCtxGetDevice(device) : status;
}
static inline cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr what, int device) {
    return ks::the_driver().cuDeviceGetAttribute(value, what, device);
}
static inline const char *cudaGetErrorString(cudaError_t status) {
    if (!ks::the_driver().is_there) {
        return "libcuda.so.1, the driver of CUDA 12 or newer, cannot be opened";
    }
    const char *words = nullptr;
    return ks::the_driver().cuGetErrorString(status, &words) == cudaSuccess && words != nullptr ? words : "an unknown error";
}

namespace ks {
namespace {

// Which image a device runs: the newest machine code that it understands, else what the driver can compile for it, else none.
int image_for(int capability) {
    int chosen = -1;
    for (int k = 0; k < image_count; ++k) {
        const image &next = images[k];
        const bool fits = next.capability <= capability && (!next.is_binary || next.capability / 10 == capability / 10);
        const bool better = chosen < 0 || (next.is_binary && !images[chosen].is_binary) ||
                            (next.is_binary == images[chosen].is_binary && next.capability > images[chosen].capability);
        chosen = fits && better ? k : chosen;
    }
    return chosen;
}

std::mutex loading;

// The image that a device runs, loaded for all devices that run it. `loading` is held.
cudaError_t library_for(int device, void **library) {
    static void *loaded[image_count] = {};
    int major = 0, minor = 0;
    cudaError_t status = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
    status = status == cudaSuccess ? cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device) : status;
    if (status != cudaSuccess) {
        return status;
    }
    const int chosen = image_for(10 * major + minor);
    if (chosen < 0) {
        return no_binary;
    }
    if (loaded[chosen] == nullptr) {
        // Loading is no part of a graph that this thread records.
        int mode = 2;
        the_driver().cuThreadExchangeStreamCaptureMode(&mode);
        status = the_driver().cuLibraryLoadData(&loaded[chosen], images[chosen].data, nullptr, nullptr, 0, nullptr, nullptr, 0);
        the_driver().cuThreadExchangeStreamCaptureMode(&mode);
    }
    *library = loaded[chosen];
    return status;
}

// A kernel by its name, looked up once for each device.
class device_function {
  public:
    constexpr explicit device_function(const char *name) : name_(name) {}

    cudaError_t on_current_device(void **function) {
        int device = 0;
        cudaError_t status = cudaGetDevice(&device);
        if (status != cudaSuccess) {
            return status;
        }
        *function = device < most_devices ? found_[device].load(std::memory_order_acquire) : nullptr;
        if (*function != nullptr) {
            return cudaSuccess;
        }
        const std::lock_guard<std::mutex> alone(loading);
        void *library = nullptr;
        status = library_for(device, &library);
        status = status == cudaSuccess ? the_driver().cuLibraryGetKernel(function, library, name_) : status;
        if (status == cudaSuccess && device < most_devices) {
            found_[device].store(*function, std::memory_order_release);
        }
        return status;
    }

  private:
    static constexpr int most_devices = 64;

    const char *name_;
    std::atomic<void *> found_[most_devices] = {};
};

}  // namespace
}  // namespace ks

static inline cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, ks::device_function *kernel, int threads, size_t bytes) {
    void *function = nullptr;
    const cudaError_t status = kernel->on_current_device(&function);
    return status == cudaSuccess ? ks::the_driver().cuOccupancyMaxActiveBlocksPerMultiprocessor(blocks, function, threads, bytes) : status;
}
static inline cudaError_t cudaLaunchKernel(ks::device_function *kernel, dim3 blocks, dim3 threads, void **arguments, unsigned bytes, cudaStream_t stream) {
    void *function = nullptr;
    const cudaError_t status = kernel->on_current_device(&function);
    return status == cudaSuccess
               ? ks::the_driver().cuLaunchKernel(function, blocks.x, 1, 1, threads.x, 1, 1, bytes, stream, arguments, nullptr)
               : status;
}
static inline cudaError_t cudaLaunchCooperativeKernel(ks::device_function *kernel, dim3 blocks, dim3 threads, void **arguments, unsigned bytes, cudaStream_t stream) {
    void *function = nullptr;
    const cudaError_t status = kernel->on_current_device(&function);
    return status == cudaSuccess
               ? ks::the_driver().cuLaunchCooperativeKernel(function, blocks.x, 1, 1, threads.x, 1, 1, bytes, stream, arguments)
               : status;
}

#endif

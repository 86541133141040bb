// Enough of CUDA to run kernels on a CPU: the threads of a grid are fibers, and every access to memory is checked for races.
//
// Code that includes this is compiled with -fsanitize=thread and linked with shim.cpp, which takes the place of the
// sanitizer's library and knows what barriers, fences and atomic operations of CUDA order.
#ifndef KS_SHIM_CUDA_RUNTIME_H
#define KS_SHIM_CUDA_RUNTIME_H

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <type_traits>
#include <utility>

#define __device__
#define __host__
#define __global__
#define __grid_constant__
#define __launch_bounds__(...)

#define KS_BLOCK_SIZE 64
#define KS_UNCHECKED __attribute__((no_sanitize("thread"), noinline))
#define KS_LEAVE_THREAD() ::shim::leave()
#define KS_TRAP(message, file, line) ::shim::trap(message, file, line)
#define KS_BEGIN_COPY(to, from, bytes, valid) ::shim::begin_copy(to, from, bytes, valid)
#define KS_END_GROUP() ::shim::end_group()
#define KS_AWAIT_GROUPS(pending) ::shim::await_groups(pending)
#define KS_MARGIN 32
#define KS_PIECE(place, bytes) ::shim::piece(place, static_cast<size_t>(bytes))
#define KS_RELEASED(place) ::shim::released(place)
#define KS_NEAR(name, bytes)     \
    alignas(16) char name[bytes]; \
    const ::shim::Near name##_guard(name, bytes)
// Also by its name, for what takes the place of the driver.
#define KS_LAUNCHED(name)                                                                                              \
    static const ks::kernel name##_launched(name);                                                                     \
    extern "C" void name##_call(unsigned blocks, unsigned threads, bool together, void **arguments, cudaStream_t stream) { \
        if (together) {                                                                                                \
            cudaLaunchCooperativeKernel(name, dim3(blocks), dim3(threads), arguments, 0, stream);                      \
        } else {                                                                                                       \
            cudaLaunchKernel(name, dim3(blocks), dim3(threads), arguments, 0, stream);                                 \
        }                                                                                                              \
    }
#define KS_SHARED(type, name, count) \
    static char name##_key;          \
    type *const name = static_cast<type *>(::shim::shared(&name##_key, sizeof(type) * (count)))

struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

extern dim3 threadIdx, blockIdx, blockDim, gridDim;

typedef struct shim_stream *cudaStream_t;

namespace shim {

[[noreturn]] void leave();
// A failed device assert: said to whoever takes the place of the driver, if anybody.
void trap(const char *message, const char *file, int line);
void *shared(const void *key, size_t bytes);
void run(dim3 blocks, dim3 threads, bool together, void (*body)(void *), void *argument);
// Says to whoever takes the place of the driver, if anybody, that something is launched.
void launched(cudaStream_t stream);

// An atomic operation; one that `orders` is how threads wait for each other.
void atomic(const void *place, size_t bytes, bool orders);
void pause();

// What a thread has of scratch memory, see places.h.
void piece(const void *place, size_t bytes);
void released(const void *place);
// Memory in a thread's frame of which only pieces are touched.
struct Near {
    Near(const void *place, size_t bytes);
    ~Near();
    Near(const Near &) = delete;
    Near &operator=(const Near &) = delete;
};

// Copies happen when they are waited for; until then there is rubbish.
void begin_copy(void *to, const void *from, int bytes, int valid);
void end_group();
void await_groups(int pending);

// What another thread of the warp gives at the same time, of those in the mask: the one `lanes` further down, or that of a number,
// both within as many neighbours as the width says.
uint64_t from_below(unsigned mask, uint64_t bits, int lanes, int width);
uint64_t from_lane(unsigned mask, uint64_t bits, int lane, int width);

template <class T, class F> KS_UNCHECKED T change(T *place, bool orders, F f) {
    atomic(place, sizeof(T), orders);
    const T old = *place;
    *place = f(old);
    return old;
}

}  // namespace shim

void __syncthreads();
void __syncwarp(unsigned mask = 0xffffffffu);
void __threadfence();
inline void __threadfence_system() { __threadfence(); }
inline void __nanosleep(unsigned) { shim::pause(); }

template <class T> KS_UNCHECKED T __shfl_down_sync(unsigned mask, T value, int lanes, int width = 32) {
    uint64_t bits = 0;
    __builtin_memcpy(&bits, &value, sizeof value);
    bits = shim::from_below(mask, bits, lanes, width);
    __builtin_memcpy(&value, &bits, sizeof value);
    return value;
}

template <class T> KS_UNCHECKED T __shfl_sync(unsigned mask, T value, int lane, int width = 32) {
    uint64_t bits = 0;
    __builtin_memcpy(&bits, &value, sizeof value);
    bits = shim::from_lane(mask, bits, lane, width);
    __builtin_memcpy(&value, &bits, sizeof value);
    return value;
}

template <class T> T atomicAdd(T *place, T amount) {
    return shim::change(place, false, [=](T old) { return old + amount; });
}
template <class T> T atomicMax(T *place, T other) {
    return shim::change(place, false, [=](T old) { return old > other ? old : other; });
}
template <class T> T atomicCAS(T *place, T expected, T next) {
    return shim::change(place, false, [=](T old) { return old == expected ? next : old; });
}
inline unsigned atomicInc(unsigned *place, unsigned last) {
    return shim::change(place, true, [=](unsigned old) { return old >= last ? 0 : old + 1; });
}
inline unsigned atomicExch(unsigned *place, unsigned next) {
    return shim::change(place, true, [=](unsigned) { return next; });
}
inline unsigned atomicOr(unsigned *place, unsigned bits) {
    return shim::change(place, true, [=](unsigned old) { return old | bits; });
}

// The host's side: one device of three processors, each of which holds one block.
enum cudaError_t { cudaSuccess = 0 };
enum cudaDeviceAttr { cudaDevAttrMultiProcessorCount = 16, cudaDevAttrMaxThreadsPerMultiProcessor = 39 };

inline cudaError_t cudaGetDevice(int *device) {
    *device = 0;
    return cudaSuccess;
}
inline cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr what, int) {
    *value = what == cudaDevAttrMultiProcessorCount ? 3 : KS_BLOCK_SIZE;
    return cudaSuccess;
}
inline const char *cudaGetErrorString(cudaError_t) { return "an error of the shim"; }
template <class Kernel> cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, Kernel *, int, size_t) {
    *blocks = 1;
    return cudaSuccess;
}

// Memory of the device is the host's, full of rubbish at first, and streams do at once what they are asked.
enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2 };

inline cudaError_t cudaGetDeviceCount(int *count) {
    *count = 1;
    return cudaSuccess;
}
template <class T> cudaError_t cudaMalloc(T **place, size_t bytes) {
    const size_t whole = (bytes + 255) / 256 * 256;
    *place = static_cast<T *>(std::memset(std::aligned_alloc(256, whole), 0xA5, whole));
    return cudaSuccess;
}
inline cudaError_t cudaFree(void *place) {
    std::free(place);
    return cudaSuccess;
}
inline cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind, cudaStream_t) {
    std::memcpy(to, from, bytes);
    return cudaSuccess;
}
inline cudaError_t cudaMemsetAsync(void *place, int value, size_t bytes, cudaStream_t) {
    std::memset(place, value, bytes);
    return cudaSuccess;
}
inline cudaError_t cudaStreamCreate(cudaStream_t *stream) {
    *stream = nullptr;
    return cudaSuccess;
}
inline cudaError_t cudaStreamDestroy(cudaStream_t) { return cudaSuccess; }
inline cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }

namespace shim {

// A kernel with the arguments of its launch, which are the host's.
template <class... P> struct Call {
    void (*kernel)(P...);
    void **arguments;

    template <size_t... k> KS_UNCHECKED void with(std::index_sequence<k...>) const {
        kernel(*static_cast<std::remove_cv_t<P> *>(arguments[k])...);
    }
    KS_UNCHECKED static void make(void *call) { static_cast<const Call *>(call)->with(std::index_sequence_for<P...>{}); }
};

template <class... P> void launch(void (*kernel)(P...), dim3 blocks, dim3 threads, bool together, void **arguments) {
    Call<P...> call = {kernel, arguments};
    run(blocks, threads, together, &Call<P...>::make, &call);
}

}  // namespace shim

template <class... P>
cudaError_t cudaLaunchKernel(void (*kernel)(P...), dim3 blocks, dim3 threads, void **arguments, size_t, cudaStream_t stream) {
    shim::launched(stream);
    shim::launch(kernel, blocks, threads, false, arguments);
    return cudaSuccess;
}
template <class... P>
cudaError_t cudaLaunchCooperativeKernel(
    void (*kernel)(P...), dim3 blocks, dim3 threads, void **arguments, size_t, cudaStream_t stream) {
    shim::launched(stream);
    shim::launch(kernel, blocks, threads, true, arguments);
    return cudaSuccess;
}

#endif

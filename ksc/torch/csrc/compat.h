// What differs between the versions of PyTorch that are supported: the one place for it.
#pragma once

#include <dlfcn.h>

#include <memory>
#include <type_traits>
#include <utility>

#include <c10/core/Stream.h>
#include <c10/util/intrusive_ptr.h>
#include <torch/csrc/autograd/function.h>
#include <torch/headeronly/version.h>

namespace ksc {

// From 2.13 on a Node is held by an intrusive_ptr, before by a shared_ptr.
template <class T>
inline constexpr bool node_is_intrusive = std::is_base_of_v<c10::intrusive_ptr_target, T>;

template <class T, class... Args>
auto make_node(Args&&... args) {
    if constexpr (node_is_intrusive<T>) {
        return c10::make_intrusive<T>(std::forward<Args>(args)...);
    } else {
        // Found by the argument's type, since later versions have no such function.
        return std::shared_ptr<T>(new T(std::forward<Args>(args)...), [](T* node) { deleteNode(node); });
    }
}

// A pointer that holds a node, made inside of it.
template <class T>
auto holder_of(T* node) {
    if constexpr (node_is_intrusive<T>) {
        return c10::intrusive_ptr<torch::autograd::Node>::reclaim_copy(node);
    } else {
        return node->shared_from_this();
    }
}

// Streams of all backends say since 2.13 what they are to the backend, and whether they record a graph.
#if TORCH_VERSION_MAJOR > 2 || TORCH_VERSION_MINOR >= 13
inline void* native_handle(const c10::Stream& stream) { return stream.native_handle(); }
inline bool is_capturing(const c10::Stream& stream) { return stream.is_capturing(); }
#else
// Before, those of CUDA alone do, in a library that only PyTorch with CUDA has loaded.
template <class Function>
Function* of_cuda(const char* symbol) {
    void* const library = dlopen("libc10_cuda.so", RTLD_LAZY | RTLD_NOLOAD);
    void* const found = library != nullptr ? dlsym(library, symbol) : nullptr;
    TORCH_CHECK_NOT_IMPLEMENTED(found != nullptr, "kernels run on other devices than GPUs of CUDA from PyTorch 2.13 on");
    return reinterpret_cast<Function*>(found);
}
inline void* native_handle(const c10::Stream& stream) {
    // c10::cuda::CUDAStream::stream; the class holds nothing but the c10::Stream.
    static auto* const stream_of = of_cuda<void*(const c10::Stream*)>("_ZNK3c104cuda10CUDAStream6streamEv");
    return stream_of(&stream);
}
inline bool is_capturing(const c10::Stream& stream) {
    static auto* const ask = of_cuda<int(void*, int*)>("cudaStreamIsCapturing");
    int status = 0;
    TORCH_CHECK(ask(native_handle(stream), &status) == 0, "the stream does not say whether it records a graph");
    return status != 0;
}
#endif

}  // namespace ksc

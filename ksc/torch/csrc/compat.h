// What differs between the versions of PyTorch that are supported: the one place for it.
#pragma once

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

// Streams of all backends say since 2.13 what they are to the backend, and whether they record a graph.
#if TORCH_VERSION_MAJOR > 2 || TORCH_VERSION_MINOR >= 13
inline void* native_handle(const c10::Stream& stream) { return stream.native_handle(); }
inline bool is_capturing(const c10::Stream& stream) { return stream.is_capturing(); }
#else
inline void* native_handle(const c10::Stream&) { TORCH_CHECK_NOT_IMPLEMENTED(false, "kernels run on a GPU from PyTorch 2.13 on"); }
inline bool is_capturing(const c10::Stream&) { return false; }
#endif

}  // namespace ksc

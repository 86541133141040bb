// What differs between the versions of PyTorch that are supported: the one place for it.
#pragma once

#include <memory>
#include <type_traits>
#include <utility>

#include <c10/util/intrusive_ptr.h>
#include <torch/csrc/autograd/function.h>

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

}  // namespace ksc

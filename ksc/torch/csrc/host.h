// Where a declared function gets its kernels from, and what becomes of their errors.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <c10/core/DeviceType.h>
#include <c10/core/ScalarType.h>

namespace ksc {

struct Cut;

class KernelHost {
  public:
    KernelHost() = default;
    KernelHost(const KernelHost&) = delete;
    KernelHost& operator=(const KernelHost&) = delete;
    virtual ~KernelHost() = default;

    // The compiled entry of a derivation in a dtype, asked for on any thread; for an accelerator its ks_cuda_kernel. Raises
    // where there is none. One that is not `wide` may stop with KS_ERROR_OFFSETS where tensors have 2^31 elements.
    virtual void* load(const std::string& derivation, at::ScalarType dtype, c10::DeviceType device, bool wide) = 0;

    // Of each float result whether the vjp of the function, or of a vmap of it, is handed that result, as the derivation
    // 'r' is; none where it computes what it needs. Asked for on any thread, when a call is first recorded.
    virtual std::vector<bool> handed_results() { return {}; }

    // The derivation cut at its products of matrices; nullptr where it stays whole. Asked for on any thread.
    virtual std::shared_ptr<const Cut> cut(const std::string&) { return nullptr; }

    // The ks_cuda_kernel of each kernel of a cut, as `load` gives that of the whole.
    virtual std::vector<void*> load_parts(const std::string&, at::ScalarType, c10::DeviceType, bool) { return {}; }

    // A derivation has become an operator, on any thread.
    virtual void declared(const std::string&) {}

    // Raises the error of a kernel that stopped at a line of the user's file.
    [[noreturn]] virtual void raise(int code, int line, const std::string& message) = 0;
};

}  // namespace ksc

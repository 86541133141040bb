#include "meta.h"

#include <ATen/ExpandUtils.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include "elementwise.h"

namespace ksc {

void meta_kernel(Operator& op, c10::DispatchKeySet, torch::jit::Stack* stack) {
    const Tensors args = pop_args(op, stack);
    const at::ScalarType dtype = promoted_dtype(op, args);
    c10::SymDimVector sizes;
    for (const at::Tensor& arg : args) {
        sizes = at::infer_size_symdimvector(sizes, arg.sym_sizes());
    }
    const at::Tensor* model = nullptr;
    for (const at::Tensor& arg : args) {
        if (arg.sym_sizes() == c10::SymIntArrayRef(sizes)) {
            model = &arg;
            break;
        }
    }
    Tensors results;
    for (const Slot& result : op.results()) {
        const auto options = at::TensorOptions().dtype(dtype_of(result.kind, dtype)).device(c10::kMeta);
        results.push_back(model != nullptr ? at::empty_like(*model, options) : at::empty_symint(sizes, options));
    }
    push_results(stack, std::move(results));
}

}  // namespace ksc

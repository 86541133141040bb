#include "meta.h"

#include <ATen/ExpandUtils.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include "elementwise.h"
#include "tensors.h"

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

void tensor_meta_kernel(Operator& op, c10::DispatchKeySet, torch::jit::Stack* stack) {
    ShapeArgs<c10::SymInt> shape;
    Promotion promotion;
    const auto first = stack->end() - static_cast<int64_t>(op.args().size());
    for (size_t i = 0; i < op.args().size(); ++i) {
        const Slot& slot = op.args()[i];
        const c10::IValue& value = first[static_cast<int64_t>(i)];
        if (slot.is_number) {
            shape.sizes.emplace_back();
            shape.values.push_back(value.isBool() ? c10::SymInt(int64_t{value.toBool()}) : value.toSymInt());
            continue;
        }
        const c10::SymIntArrayRef sizes = value.toTensor().sym_sizes();
        shape.sizes.emplace_back(sizes.begin(), sizes.end());
        shape.values.emplace_back(0);
        if (slot.kind == Kind::Float) {
            promotion.add(op, i, value.toTensor());
        }
    }
    if (const auto misfit = find_misfit(op, shape)) {
        raise_misfit(op, *misfit, c10::str(c10::SymIntArrayRef(shape.sizes[misfit->arg])));
    }
    stack->erase(first, stack->end());
    const AllDims<c10::SymInt> sizes = result_sizes(op, shape);
    for (size_t r = 0; r < sizes.size(); ++r) {
        const auto dtype = dtype_of(op.results()[r].kind, promotion.dtype());
        stack->emplace_back(at::empty_symint(sizes[r], at::TensorOptions().dtype(dtype).device(c10::kMeta)));
    }
}

}  // namespace ksc

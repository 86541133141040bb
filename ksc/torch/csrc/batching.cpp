#include "batching.h"

#include <algorithm>

#include <ATen/functorch/BatchedTensorImpl.h>
#include <ATen/functorch/DynamicLayer.h>
#include <ATen/functorch/PlumbingHelper.h>
#include <ATen/ops/movedim.h>
#include <ATen/ops/unsqueeze.h>

#include "elementwise.h"

namespace ksc {
namespace {

int64_t current_level(const Operator& op) {
    const auto layer = at::functorch::maybeCurrentDynamicLayer();
    TORCH_CHECK(layer.has_value(), op.qualified_name(), ": a tensor of torch.func.vmap was used outside of it");
    return layer->layerId();
}

void make_results_batched(const Operator& op, int64_t level, torch::jit::Stack* stack) {
    const auto count = static_cast<int64_t>(op.results().size());
    for (auto result = stack->end() - count; result != stack->end(); ++result) {
        *result = at::functorch::makeBatched(std::move(*result).toTensor(), 0, level);
    }
}

}  // namespace

void batching_kernel(Operator& op, c10::DispatchKeySet, torch::jit::Stack* stack) {
    const c10::impl::ExcludeDispatchKeyGuard guard(c10::DispatchKey::FuncTorchBatched);
    const int64_t level = current_level(op);
    const Tensors args = pop_args(op, stack);

    // Promotion goes by the dimensions that the user sees, without the batch.
    const at::ScalarType dtype = promoted_dtype(op, args);
    int64_t rank = 0;
    for (const at::Tensor& arg : args) {
        rank = std::max(rank, arg.dim());
    }
    bool any_batched = false;
    for (size_t i = 0; i < args.size(); ++i) {
        auto [value, batch_dim] = at::functorch::unwrapTensorAtLevel(args[i], level);
        if (op.args()[i].kind == Kind::Float && value.scalar_type() != dtype) {
            value = value.to(dtype);
        }
        if (batch_dim.has_value()) {
            any_batched = true;
            value = at::movedim(value, *batch_dim, 0);
            for (int64_t missing = rank - args[i].dim(); missing > 0; --missing) {
                value = at::unsqueeze(value, 1);
            }
        }
        stack->emplace_back(std::move(value));
    }
    op.handle().callBoxed(stack);
    if (any_batched) {
        make_results_batched(op, level, stack);
    }
}

void tensor_batching_kernel(Operator& op, c10::DispatchKeySet, torch::jit::Stack* stack) {
    const c10::impl::ExcludeDispatchKeyGuard guard(c10::DispatchKey::FuncTorchBatched);
    const int64_t level = current_level(op);
    const auto first = stack->end() - static_cast<int64_t>(op.args().size());

    // Promotion goes by the dimensions that the user sees, without the batch.
    Promotion promotion;
    for (const size_t i : op.float_args()) {
        promotion.add(op, i, first[static_cast<int64_t>(i)].toTensor());
    }
    const at::ScalarType dtype = promotion.dtype();
    std::vector<bool> mapped(op.args().size(), false);
    for (size_t i = 0; i < op.args().size(); ++i) {
        if (op.args()[i].is_number) {
            continue;
        }
        c10::IValue& slot = first[static_cast<int64_t>(i)];
        auto [value, batch_dim] = at::functorch::unwrapTensorAtLevel(slot.toTensor(), level);
        if (op.args()[i].kind == Kind::Float && value.scalar_type() != dtype) {
            value = value.to(dtype);
        }
        mapped[i] = batch_dim.has_value();
        slot = mapped[i] ? at::movedim(value, *batch_dim, 0) : value;
    }
    const bool any_mapped = std::find(mapped.begin(), mapped.end(), true) != mapped.end();
    const Operator& target = any_mapped ? op.derived('m', mapped) : op;
    target.handle().callBoxed(stack);
    if (any_mapped) {
        make_results_batched(op, level, stack);
    }
}

}  // namespace ksc

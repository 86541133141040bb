#include "autograd.h"

#include <mutex>

#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/VariableTypeUtils.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/saved_variable.h>
#include <torch/csrc/autograd/variable.h>

#include "compat.h"
#include "tensors.h"

namespace ksc {
namespace {

namespace autograd = torch::autograd;
using autograd::variable_list;

// The seeds of a derivative: those that are defined, and zeros for the others where the kernels know no other way. Before
// them the results that it is handed, of which `handed` tells which these are.
class Seeds {
  public:
    Seeds(
        Operator& op,
        char letter,
        c10::ArrayRef<at::Tensor> seeds,
        std::vector<bool> handed = {},
        Tensors results = {})
        : values(std::move(results)) {
        const bool partial = op.family().partial_seeds();
        const at::Tensor* defined = nullptr;
        std::vector<bool> active = std::move(handed);
        for (const at::Tensor& seed : seeds) {
            active.push_back(seed.defined() || !partial);
            if (seed.defined() && defined == nullptr) {
                defined = &seed;
            }
        }
        TORCH_INTERNAL_ASSERT(defined != nullptr);
        for (const at::Tensor& seed : seeds) {
            if (seed.defined()) {
                values.push_back(seed);
            } else if (!partial) {
                values.push_back(at::zeros({}, defined->options()));
            }
        }
        derivative = &op.derived(letter, active);
    }

    Operator* derivative;
    Tensors values;
};

// The arguments of a call: tensors, and numbers where the schema has them.
using Values = c10::SmallVector<c10::IValue, 6>;

Tensors call(Operator& op, Values args, const Tensors& more) {
    torch::jit::Stack stack;
    stack.reserve(args.size() + more.size());
    for (c10::IValue& arg : args) {
        stack.emplace_back(std::move(arg));
    }
    for (const at::Tensor& arg : more) {
        stack.emplace_back(arg);
    }
    op.handle().callBoxed(stack);
    Tensors results;
    for (c10::IValue& result : stack) {
        results.push_back(std::move(result).toTensor());
    }
    return results;
}

// The engine sums a cotangent to the shape of its argument and casts it to the dtype.
class OperatorBackward final : public autograd::Node {
  public:
    OperatorBackward(Operator& op, const Values& args) : op_(op) {
        inputs_.reserve(args.size());
        for (const c10::IValue& arg : args) {
            if (arg.isTensor()) {
                inputs_.push_back({{arg.toTensor(), /*is_output=*/false}, {}});
            } else {
                inputs_.push_back({{}, arg});
            }
        }
        for (const size_t i : op.float_args()) {
            add_next_edge(autograd::impl::gradient_edge(args[i].toTensor()));
        }
    }

    // Keeps the results that the vjp is handed. Those in half precision are rounded, and what is computed of them would be
    // less than what is computed of the arguments.
    void keep(const Tensors& results) {
        if (!op_.is_primal()) {
            return;
        }
        const at::ScalarType dtype = results[op_.float_results().front()].scalar_type();
        if (dtype != at::kFloat && dtype != at::kDouble) {
            return;
        }
        const std::vector<bool>& handed = op_.family().handed_results();
        for (size_t k = 0; k < handed.size(); ++k) {
            if (handed[k]) {
                results_.emplace_back(results[op_.float_results()[k]], /*is_output=*/true);
            }
        }
    }

    variable_list apply(variable_list&& cotangents) override {
        const std::lock_guard<std::mutex> lock(mutex_);
        variable_list result(op_.float_args().size());
        bool any = false;
        for (const at::Tensor& cotangent : cotangents) {
            any = any || cotangent.defined();
        }
        if (!any) {
            return result;
        }
        Values inputs;
        for (const Saved& input : inputs_) {
            inputs.push_back(input.number.isNone() ? c10::IValue(input.tensor.unpack()) : input.number);
        }
        const Seeds seeds = results_.empty() ? Seeds(op_, 'v', cotangents) : seeds_with_results(cotangents);
        Tensors given = call(*seeds.derivative, std::move(inputs), seeds.values);
        for (size_t i = 0; i < result.size(); ++i) {
            if (task_should_compute_output(i)) {
                result[i] = std::move(given[i]);
            }
        }
        return result;
    }

    void release_variables() override {
        const std::lock_guard<std::mutex> lock(mutex_);
        for (Saved& input : inputs_) {
            input.tensor.reset_data();
        }
        for (autograd::SavedVariable& result : results_) {
            result.reset_data();
        }
    }

    std::string name() const override {
        const std::string& derivation = op_.derivation();
        return op_.family().name() + (derivation.empty() ? "" : "_" + derivation) + "Backward0";
    }

  private:
    struct Saved {
        autograd::SavedVariable tensor;
        c10::IValue number;  // in its place, where the argument is a number
    };

    Seeds seeds_with_results(const variable_list& cotangents) {
        Tensors results;
        for (const autograd::SavedVariable& result : results_) {
            results.push_back(result.unpack(holder_of(this)));
        }
        return {op_, 'r', cotangents, op_.family().handed_results(), std::move(results)};
    }

    Operator& op_;
    std::vector<Saved> inputs_;
    std::vector<autograd::SavedVariable> results_;
};

bool any_requires_grad(const Operator& op, const Values& args) {
    if (!c10::GradMode::is_enabled()) {
        return false;
    }
    for (const size_t i : op.float_args()) {
        if (args[i].toTensor().requires_grad()) {
            return true;
        }
    }
    return false;
}

bool any_tangent(const Operator& op, const Values& args) {
    for (const size_t i : op.float_args()) {
        if (args[i].toTensor()._fw_grad(/*level=*/0).defined()) {
            return true;
        }
    }
    return false;
}

void set_tangents(Operator& op, const Values& args, const Tensors& results) {
    Tensors tangents;
    for (const size_t i : op.float_args()) {
        tangents.push_back(args[i].toTensor()._fw_grad(/*level=*/0));
    }
    Values primals = args;
    for (const size_t i : op.float_args()) {
        const at::Tensor& primal = primals[i].toTensor();
        if (!primal.unsafeGetTensorImpl()->is_wrapped_number()) {
            primals[i] = primal._fw_primal(/*level=*/0);
        }
    }
    const Seeds seeds(op, 'j', tangents);
    const Tensors given = call(*seeds.derivative, std::move(primals), seeds.values);
    for (size_t i = 0; i < given.size(); ++i) {
        results[op.float_results()[i]]._set_fw_grad(given[i], /*level=*/0, /*is_inplace_op=*/false);
    }
}

template <class Compute>
Tensors with_autograd(Operator& op, const Values& args, Compute&& compute) {
    decltype(make_node<OperatorBackward>(op, args)) node;
    if (any_requires_grad(op, args)) {
        node = make_node<OperatorBackward>(op, args);
    }
    Tensors results;
    {
        const at::AutoDispatchBelowADInplaceOrView guard;
        results = compute();
    }
    if (node) {
        for (const size_t i : op.float_results()) {
            autograd::set_history(results[i], node);
        }
    }
    if (any_tangent(op, args) && !op.float_results().empty()) {
        set_tangents(op, args, results);
    }
    if (node && !op.float_results().empty()) {
        // With their tangents, so that backward has a derivative in that direction.
        node->keep(results);
    }
    return results;
}

}  // namespace

void autograd_kernel(Operator& op, c10::DispatchKeySet keys, torch::jit::Stack* stack) {
    const auto first = stack->end() - static_cast<int64_t>(op.args().size());
    const Values args(first, stack->end());
    Tensors results = with_autograd(op, args, [&] {
        op.handle().redispatchBoxed(keys & c10::after_autograd_keyset, stack);
        Tensors computed;
        const size_t count = op.results().size();
        for (size_t i = stack->size() - count; i < stack->size(); ++i) {
            computed.push_back(std::move((*stack)[i]).toTensor());
        }
        stack->resize(stack->size() - count);
        return computed;
    });
    push_results(stack, std::move(results));
}

Tensors run_with_autograd(Operator& op, Tensors args) {
    const Values values(args.begin(), args.end());
    return with_autograd(op, values, [&] { return run(op, args, promoted_dtype(op, args)); });
}

}  // namespace ksc

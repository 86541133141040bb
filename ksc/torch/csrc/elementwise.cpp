#include "elementwise.h"

#include <ATen/EmptyTensor.h>
#include <ATen/ExpandUtils.h>
#include <ATen/TensorIterator.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/scalar_tensor.h>
#include <c10/core/DefaultDtype.h>
#include <c10/core/DeviceGuard.h>

#include "device.h"
#include "pages.h"
#include "threads.h"

namespace ksc {
namespace {

struct Shape {
    c10::SmallVector<int64_t, 6> sizes;
    int64_t numel = 1;
    bool plain = true;  // every argument is contiguous and of full shape, or a single shared value
};

bool is_shared(const at::Tensor& tensor) { return !tensor.defined() || tensor.dim() == 0; }

Shape common_shape(c10::ArrayRef<at::Tensor> args) {
    Shape shape;
    const at::Tensor* first = nullptr;
    for (const at::Tensor& arg : args) {
        if (is_shared(arg)) {
            continue;
        }
        if (first == nullptr) {
            first = &arg;
            shape.sizes.assign(arg.sizes().begin(), arg.sizes().end());
            shape.numel = arg.numel();
        } else if (arg.sizes() != c10::IntArrayRef(shape.sizes)) {
            const auto sizes = at::infer_size_dimvector(shape.sizes, arg.sizes());
            shape.sizes.assign(sizes.begin(), sizes.end());
            shape.plain = false;
        }
        shape.plain = shape.plain && arg.is_contiguous();
    }
    if (!shape.plain) {
        shape.numel = c10::multiply_integers(shape.sizes);
    }
    return shape;
}

// The meta kernel follows the same rule, so that fake tensors have the strides of real ones.
Tensors allocate_results(
    const Operator& op,
    c10::ArrayRef<at::Tensor> args,
    const Shape& shape,
    at::ScalarType dtype,
    std::optional<c10::Device> device) {
    const at::Tensor* model = nullptr;
    if (!shape.plain) {
        for (const at::Tensor& arg : args) {
            if (arg.defined() && arg.sizes() == c10::IntArrayRef(shape.sizes)) {
                model = &arg;
                break;
            }
        }
    }
    Tensors results;
    for (const Slot& result : op.results()) {
        const at::ScalarType result_dtype = dtype_of(result.kind, dtype);
        results.push_back(
            model != nullptr     ? at::empty_like(*model, model->options().dtype(result_dtype))
            : device.has_value() ? at::empty(shape.sizes, at::TensorOptions().dtype(result_dtype).device(*device))
                                 : at::Tensor(at::detail::empty_cpu(shape.sizes, result_dtype)));
    }
    return results;
}

void run_serial(
    ks_elementwise_entry entry,
    Call& call,
    const Tensors& results,
    const Tensors& args,
    Number* numbers,
    int64_t numel) {
    c10::SmallVector<char*, 12> data;
    c10::SmallVector<int64_t, 12> strides;
    for (const at::Tensor& result : results) {
        data.push_back(static_cast<char*>(result.mutable_data_ptr()));
        strides.push_back(static_cast<int64_t>(result.element_size()));
    }
    for (const at::Tensor& arg : args) {
        // A kernel only reads its arguments; the ABI has one type for all operands.
        data.push_back(
            arg.defined() ? const_cast<char*>(static_cast<const char*>(arg.const_data_ptr())) : (numbers++)->bytes);
        strides.push_back(is_shared(arg) ? 0 : static_cast<int64_t>(arg.element_size()));
    }
    const ThreadRuntime runtime(call);
    entry(runtime.get(), data.data(), strides.data(), numel);
}

void run_parallel(
    ks_elementwise_entry entry, Call& call, const Tensors& results, const Tensors& args, Number* numbers) {
    at::TensorIteratorConfig config;
    config.set_check_mem_overlap(false).check_all_same_dtype(false).resize_outputs(false);
    for (const at::Tensor& result : results) {
        config.add_output(result);
    }
    // Numbers come after everything that TensorIterator sees; the loop puts them back in their places.
    const size_t count = results.size() + args.size();
    c10::SmallVector<int, 12> source;
    int position = static_cast<int>(results.size());
    for (const at::Tensor& arg : args) {
        if (arg.defined()) {
            config.add_const_input(arg);
            source.push_back(position++);
        } else {
            source.push_back(-1);
        }
    }
    auto iterator = config.build();
    const auto run = [&](char** data, const int64_t* strides, int64_t lanes) {
        if (call.failed()) {
            return;
        }
        const ThreadRuntime runtime(call);
        if (numbers == nullptr) {
            entry(runtime.get(), data, strides, lanes);
            return;
        }
        c10::SmallVector<char*, 12> all_data(data, data + results.size());
        c10::SmallVector<int64_t, 12> all_strides(strides, strides + results.size());
        Number* number = numbers;
        for (size_t i = results.size(); i < count; ++i) {
            const int from = source[i - results.size()];
            all_data.push_back(from < 0 ? (number++)->bytes : data[from]);
            all_strides.push_back(from < 0 ? 0 : strides[from]);
        }
        entry(runtime.get(), all_data.data(), all_strides.data(), lanes);
    };
    if (is_forked()) {
        iterator.serial_for_each(run, {0, iterator.numel()});
    } else {
        iterator.for_each(run);
    }
}

}  // namespace

void Promotion::add(const Operator& op, size_t arg, const at::Tensor& tensor) {
    const at::ScalarType dtype = tensor.scalar_type();
    TORCH_CHECK_TYPE(
        float_dtype_index(dtype) >= 0,
        op.qualified_name(),
        ": the argument ",
        op.args()[arg].name,
        " is to be a float32, float64, float16 or bfloat16 tensor, and is ",
        dtype);
    const auto lanes = static_cast<int64_t>(op.args()[arg].lanes);
    at::ScalarType& known = tensor.dim() > lanes ? with_dimensions_ : without_;
    if (known != dtype) {
        known = known == at::ScalarType::Undefined ? dtype : c10::promoteTypes(known, dtype);
    }
}

at::ScalarType Promotion::dtype() const {
    if (with_dimensions_ != at::ScalarType::Undefined) {
        return with_dimensions_;
    }
    return without_ != at::ScalarType::Undefined ? without_ : c10::get_default_dtype_as_scalartype();
}

at::ScalarType promoted_dtype(const Operator& op, c10::ArrayRef<at::Tensor> args) {
    Promotion promotion;
    for (const size_t i : op.float_args()) {
        if (args[i].defined()) {
            promotion.add(op, i, args[i]);
        }
    }
    return promotion.dtype();
}

at::ScalarType dtype_of(Kind kind, at::ScalarType float_dtype) {
    switch (kind) {
        case Kind::Float: return float_dtype;
        case Kind::Integer: return at::kLong;
        case Kind::Bool: return at::kBool;
    }
    TORCH_INTERNAL_ASSERT(false);
}

Tensors converted(const Operator& op, c10::ArrayRef<at::Tensor> args, at::ScalarType dtype) {
    Tensors inputs;
    for (size_t i = 0; i < args.size(); ++i) {
        const Slot& slot = op.args()[i];
        const at::ScalarType wanted = dtype_of(slot.kind, dtype);
        if (!args[i].defined() || args[i].scalar_type() == wanted) {
            inputs.push_back(args[i]);
            continue;
        }
        TORCH_CHECK_TYPE(
            slot.kind == Kind::Float || c10::isIntegralType(args[i].scalar_type(), slot.kind == Kind::Integer),
            op.qualified_name(),
            ": the argument ",
            slot.name,
            slot.kind == Kind::Integer ? " is to be of an integer dtype, and is " : " is to be bool, and is ",
            args[i].scalar_type());
        inputs.push_back(args[i].to(wanted));
    }
    return inputs;
}

Tensors run_elementwise(Operator& op, c10::ArrayRef<at::Tensor> args, at::ScalarType dtype, Number* numbers) {
    const Tensors inputs = converted(op, args, dtype);
    const Shape shape = common_shape(inputs);
    const std::optional<c10::Device> device = accelerator_of(op, inputs);
    const c10::OptionalDeviceGuard guard(device);
    Tensors results = allocate_results(op, inputs, shape, dtype, device);
    if (shape.numel == 0) {
        return results;
    }
    if (device.has_value()) {
        launch_elementwise(op, *device, results, inputs, numbers, dtype);
        return results;
    }
    for (const at::Tensor& result : results) {
        prefer_large_pages(result.mutable_data_ptr(), result.nbytes());
    }
    const auto entry = op.instance<ks_elementwise_entry>(dtype);
    Call call;
    if (shape.plain && shape.numel <= at::internal::GRAIN_SIZE) {
        run_serial(entry, call, results, inputs, numbers, shape.numel);
    } else {
        run_parallel(entry, call, results, inputs, numbers);
    }
    if (call.failed()) {
        op.raise(call);
    }
    return results;
}

void elementwise_kernel(Operator& op, c10::DispatchKeySet, torch::jit::Stack* stack) {
    const Tensors args = pop_args(op, stack);
    push_results(stack, run_elementwise(op, args, promoted_dtype(op, args)));
}

Tensors pop_args(const Operator& op, torch::jit::Stack* stack) {
    const size_t count = op.args().size();
    Tensors args;
    for (size_t i = 0; i < count; ++i) {
        c10::IValue& value = *(stack->end() - static_cast<int64_t>(count - i));
        args.push_back(op.args()[i].is_number ? at::scalar_tensor(
                                                    value.isBool() ? at::Scalar(value.toBool()) : at::Scalar(value.toInt()),
                                                    dtype_of(op.args()[i].kind, at::kFloat))
                                              : std::move(value).toTensor());
    }
    stack->erase(stack->end() - static_cast<int64_t>(count), stack->end());
    return args;
}

void push_results(torch::jit::Stack* stack, Tensors&& results) {
    for (at::Tensor& result : results) {
        stack->emplace_back(std::move(result));
    }
}

}  // namespace ksc

#include "tensors.h"

#include <cstring>

#include <ATen/EmptyTensor.h>
#include <ATen/ops/empty.h>
#include <c10/core/DeviceGuard.h>
#include <c10/util/StringUtil.h>

#include "cut.h"
#include "device.h"
#include "pages.h"

namespace ksc {
namespace {

int64_t value_of(const Slot& slot, const at::Tensor& arg, const Number*& number) {
    if (!slot.is_number) {
        number += arg.defined() ? 0 : 1;
        return 0;
    }
    if (arg.defined()) {
        TORCH_CHECK_VALUE(arg.is_cpu(), "the argument ", slot.name, " decides about sizes: a number belongs there");
        return slot.kind == Kind::Bool ? int64_t{*arg.const_data_ptr<bool>()} : *arg.const_data_ptr<int64_t>();
    }
    int64_t value = 0;
    if (slot.kind == Kind::Bool) {
        value = (number++)->bytes[0] != 0;
    } else {
        std::memcpy(&value, (number++)->bytes, sizeof value);
    }
    return value;
}

at::Tensor new_result(
    const Operator& op, size_t result, c10::IntArrayRef size, at::ScalarType dtype, std::optional<c10::Device> device) {
    try {
        return device.has_value() ? at::empty(size, at::TensorOptions().dtype(dtype).device(*device))
                                  : at::Tensor(at::detail::empty_cpu(size, dtype));
    } catch (const c10::OutOfMemoryError&) {
        throw;
    } catch (const c10::Error&) {
        Call call;
        call.record(
            KS_ERROR_MEMORY, line_of_result(op, result),
            c10::str("a result of shape ", size, " does not fit into memory").c_str());
        op.raise(call);
    }
}

}  // namespace

ShapeArgs<int64_t> shape_args(const Operator& op, c10::ArrayRef<at::Tensor> args, const Number* numbers) {
    ShapeArgs<int64_t> shape;
    for (size_t i = 0; i < args.size(); ++i) {
        const c10::IntArrayRef sizes = args[i].defined() ? args[i].sizes() : c10::IntArrayRef();
        shape.sizes.emplace_back(sizes.begin(), sizes.end());
        shape.values.push_back(value_of(op.args()[i], args[i], numbers));
    }
    return shape;
}

void raise_misfit(const Operator& op, const Misfit& misfit, const std::string& given) {
    TORCH_CHECK_VALUE(
        false, op.qualified_name(), ": the argument ", op.args()[misfit.arg].name, " is to have ", misfit.expected,
        ", and has the shape ", given);
}

Tensors run_tensors(Operator& op, c10::ArrayRef<at::Tensor> args, at::ScalarType dtype, Number* numbers) {
    const Tensors inputs = converted(op, args, dtype);
    const ShapeArgs<int64_t> shape = shape_args(op, inputs, numbers);
    if (const auto misfit = find_misfit(op, shape)) {
        const at::Tensor& arg = inputs[misfit->arg];
        raise_misfit(op, *misfit, c10::str(arg.defined() ? arg.sizes() : c10::IntArrayRef()));
    }
    const AllDims<int64_t> sizes = result_sizes(op, shape);
    const std::optional<c10::Device> device = accelerator_of(op, inputs);
    const c10::OptionalDeviceGuard guard(device);
    if (device.has_value()) {
        if (auto done = run_cut(op, *device, inputs, numbers, shape, sizes, dtype)) {
            return std::move(*done);
        }
    }
    Tensors results;
    c10::SmallVector<ks_tensor, 12> operands;
    for (size_t r = 0; r < sizes.size(); ++r) {
        const c10::IntArrayRef size = sizes[r];
        results.push_back(new_result(op, r, size, dtype_of(op.results()[r].kind, dtype), device));
        operands.push_back({results.back().mutable_data_ptr(), size.data(), nullptr});
        if (!device.has_value()) {
            prefer_large_pages(operands.back().data, results.back().nbytes());
        }
    }
    if (device.has_value()) {
        launch_tensors(op, *device, results, inputs, numbers, dtype);
        return results;
    }
    for (const at::Tensor& input : inputs) {
        if (!input.defined()) {
            operands.push_back({(numbers++)->bytes, nullptr, nullptr});
            continue;
        }
        // A kernel only reads its arguments; the ABI has one type for all operands.
        operands.push_back({const_cast<void*>(input.const_data_ptr()), input.sizes().data(), input.strides().data()});
    }
    const auto entry = op.instance<ks_tensor_entry>(dtype);
    Call call;
    {
        const ThreadRuntime runtime(call);
        entry(runtime.get(), operands.data());
    }
    if (call.failed()) {
        op.raise(call);
    }
    return results;
}

void tensor_kernel(Operator& op, c10::DispatchKeySet, torch::jit::Stack* stack) {
    const Tensors args = pop_args(op, stack);
    push_results(stack, run_tensors(op, args, promoted_dtype(op, args)));
}

}  // namespace ksc

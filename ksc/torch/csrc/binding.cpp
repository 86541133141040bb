#include "binding.h"

#include <cstring>
#include <optional>

#include <ATen/PythonTorchFunctionTLS.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/csrc/autograd/python_variable.h>

namespace ksc {
namespace {

// BackendSelect is always included, and matters to factory functions only.
const c10::DispatchKeySet kPlainKeys(
    {c10::DispatchKey::CPU,
     c10::DispatchKey::CUDA,
     c10::DispatchKey::PrivateUse1,
     c10::DispatchKey::AutogradCPU,
     c10::DispatchKey::AutogradCUDA,
     c10::DispatchKey::AutogradPrivateUse1,
     c10::DispatchKey::ADInplaceOrView,
     c10::DispatchKey::BackendSelect});

// Whether a call with tensors of these keys reaches a kernel of ours, autograd aside, and no mode or trace sees it.
bool is_plain(c10::DispatchKeySet keys) {
    const c10::impl::LocalDispatchKeySet local = c10::impl::tls_local_dispatch_key_set();
    keys = (keys | local.included_) - local.excluded_;
    return (keys.raw_repr() & ~kPlainKeys.raw_repr()) == 0;
}

bool fits(Kind kind, at::ScalarType dtype, bool any_integers) {
    switch (kind) {
        case Kind::Float: return float_dtype_index(dtype) >= 0;
        case Kind::Integer: return dtype == at::kLong || (any_integers && c10::isIntegralType(dtype, false));
        case Kind::Bool: return dtype == at::kBool;
    }
    return false;
}

bool parse_number(PyObject* object, Kind kind, Parsed& parsed) {
    double value = 0.0;
    int64_t integer = 0;
    if (kind == Kind::Float && PyFloat_CheckExact(object)) {
        value = PyFloat_AS_DOUBLE(object);
    } else if (kind != Kind::Bool && PyLong_CheckExact(object)) {
        int overflow = 0;
        integer = PyLong_AsLongLongAndOverflow(object, &overflow);
        if (overflow != 0) {
            return false;
        }
        value = static_cast<double>(integer);
    } else if (kind == Kind::Bool && PyBool_Check(object)) {
        integer = object == Py_True;
    } else {
        return false;
    }
    parsed.args.emplace_back();
    parsed.floats.push_back(value);
    parsed.integers.push_back(integer);
    parsed.kinds.push_back(kind);
    return true;
}

// The one shape that the arguments of full shape have, or false where __call__ has to look at them more closely.
bool shapes_fit(const Binding& binding, Parsed& parsed) {
    const at::Tensor* full = nullptr;
    for (size_t i = 0; i < binding.primal_count; ++i) {
        const at::Tensor& arg = parsed.args[i];
        if (!arg.defined() || arg.dim() == 0) {
            continue;
        }
        if (binding.lift == Lift::Scalar || binding.shared[i]) {
            return false;
        }
        if (full == nullptr) {
            full = &arg;
        } else if (arg.sizes() != full->sizes()) {
            return false;
        }
    }
    const c10::IntArrayRef sizes = full != nullptr ? full->sizes() : c10::IntArrayRef();
    if (full != nullptr && binding.lift == Lift::Same) {
        for (size_t i = 0; i < binding.primal_count; ++i) {
            if (parsed.args[i].defined() && !binding.shared[i] && parsed.args[i].dim() == 0) {
                return false;
            }
        }
    }
    for (size_t i = binding.primal_count; i < parsed.args.size(); ++i) {
        const at::Tensor& arg = parsed.args[i];
        const int like = binding.like[i - binding.primal_count];
        if (!arg.defined()) {
            continue;
        }
        const bool number = like >= 0 && !parsed.args[like].defined();
        if (arg.sizes() != (like < 0 ? sizes : number ? c10::IntArrayRef() : parsed.args[like].sizes())) {
            return false;
        }
    }
    parsed.numel = full != nullptr ? full->numel() : 1;
    parsed.dimensions = static_cast<int64_t>(sizes.size());
    return true;
}

// The same for a tensor kernel. A size of 1 where the kernel was not made for one belongs to another specialisation.
bool tensors_fit(const Binding& binding, const Parsed& parsed) {
    const auto& slots = binding.op->args();
    ShapeArgs<int64_t> shape;
    size_t number = 0;
    for (size_t i = 0; i < parsed.args.size(); ++i) {
        const at::Tensor& arg = parsed.args[i];
        const Slot& slot = slots[i];
        const c10::IntArrayRef sizes = arg.defined() ? arg.sizes() : c10::IntArrayRef();
        if (sizes.size() != slot.sizes.size() || (slot.is_number && arg.defined())) {
            return false;
        }
        for (size_t d = slot.lanes; i < binding.primal_count && d < sizes.size(); ++d) {
            if (sizes[d] == 1 && slot.sizes[d] != 1) {
                return false;
            }
        }
        shape.sizes.emplace_back(sizes.begin(), sizes.end());
        shape.values.push_back(arg.defined() ? 0 : parsed.integers[number++]);
    }
    return !find_misfit(*binding.op, shape).has_value();
}

}  // namespace

bool parse(const Binding& binding, PyObject* const* objects, bool any_integers, Parsed& parsed) {
    const auto& slots = binding.op->args();
    c10::DispatchKeySet keys;
    bool any_tensor = false;
    std::optional<c10::Device> device;
    bool size_number = false;
    bool requires_grad = false;
    for (size_t i = 0; i < slots.size(); ++i) {
        PyObject* const object = objects[i];
        if (!THPVariable_CheckExact(object)) {
            if (!parse_number(object, slots[i].kind, parsed)) {
                return false;
            }
            size_number = size_number || slots[i].is_number;
            continue;
        }
        const at::Tensor& tensor = THPVariable_Unpack(object);
        if (!fits(slots[i].kind, tensor.scalar_type(), any_integers)) {
            return false;
        }
        any_tensor = true;
        if (tensor.dim() > 0) {
            if (device.has_value() && *device != tensor.device()) {
                return false;
            }
            device = tensor.device();
        }
        keys = keys | tensor.key_set();
        if (slots[i].kind == Kind::Float) {
            parsed.promotion.add(*binding.op, i, tensor);
            requires_grad = requires_grad || tensor.requires_grad();
            parsed.needs_autograd = parsed.needs_autograd || tensor._fw_grad(/*level=*/0).defined();
        }
        parsed.args.push_back(tensor);
    }
    if (!any_tensor || !is_plain(keys) || at::impl::torch_function_mode_enabled()) {
        return false;
    }
    parsed.needs_autograd = parsed.needs_autograd || (requires_grad && c10::GradMode::is_enabled());
    if (parsed.needs_autograd && (binding.plain_only || size_number || binding.mode != Mode::Plain)) {
        return false;
    }
    if (binding.lift == Lift::Tensor) {
        // What a kernel does with tensors may take any time.
        parsed.numel = kReleaseGilAt;
        return tensors_fit(binding, parsed);
    }
    return shapes_fit(binding, parsed);
}

Number store(Kind kind, at::ScalarType dtype, double value, int64_t integer) {
    Number number{};
    const auto put = [&](auto stored) { std::memcpy(number.bytes, &stored, sizeof stored); };
    if (kind == Kind::Integer) {
        put(integer);
    } else if (kind == Kind::Bool) {
        put(static_cast<bool>(integer));
    } else if (dtype == at::kFloat) {
        put(static_cast<float>(value));
    } else if (dtype == at::kDouble) {
        put(value);
    } else if (dtype == at::kHalf) {
        put(c10::Half(static_cast<float>(value)));
    } else {
        put(c10::BFloat16(static_cast<float>(value)));
    }
    return number;
}

}  // namespace ksc

#include "fastcall.h"

#include <cstddef>
#include <cstring>
#include <limits>
#include <memory>
#include <new>

#include <ATen/ExpandUtils.h>
#include <ATen/PythonTorchFunctionTLS.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/csrc/autograd/python_variable.h>

#include "autograd.h"
#include "elementwise.h"
#include "guards.h"
#include "operator.h"
#include "python.h"
#include "tensors.h"

namespace ksc {
namespace {

// How much work is worth giving up the GIL for.
constexpr int64_t kReleaseGilAt = 2048;

enum class Lift : uint8_t { Broadcast, Same, Scalar, Tensor };
enum class Mode : uint8_t { Plain, Cotangents, ValueAndCotangents };

// What a FastCall is bound to.
struct Binding {
    Operator* op;
    Mode mode;
    Lift lift;
    bool plain_only;            // leave calls that need autograd to __call__ too
    size_t primal_count;        // how many of the arguments are the function's own
    std::vector<bool> shared;   // of those, the ones that are one value for all lanes
    std::vector<int> like;      // of the others, the argument that gives the shape, or -1 for the full shape
};

// A binding that counts while its guards hold, for tensors of no more dimensions than told.
struct Armed {
    std::shared_ptr<const Binding> binding;
    std::shared_ptr<const Guards> guards;
    int64_t most_dimensions;
};

// What is tried in turn: a kernel of tensors has a binding for each number of dimensions.
using ArmedList = c10::SmallVector<Armed, 2>;
constexpr size_t kMostArmed = 4;
constexpr int64_t kAnyDimensions = std::numeric_limits<int64_t>::max();

struct FastCall {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    std::shared_ptr<const ArmedList> armed;
};

struct Parsed {
    Tensors args;
    c10::SmallVector<double, 6> floats;  // the values of number arguments, in order
    c10::SmallVector<int64_t, 6> integers;
    c10::SmallVector<Kind, 6> kinds;
    Promotion promotion;
    bool needs_autograd = false;
    int64_t numel = 1;
    int64_t dimensions = 0;  // of the arguments of an elementwise operator
};

// BackendSelect is always included, and matters to factory functions only.
const c10::DispatchKeySet kPlainKeys(
    {c10::DispatchKey::CPU,
     c10::DispatchKey::AutogradCPU,
     c10::DispatchKey::ADInplaceOrView,
     c10::DispatchKey::BackendSelect});

// Whether a call with tensors of these keys reaches the CPU kernel, autograd aside, and no mode or trace sees it.
bool is_plain(c10::DispatchKeySet keys) {
    const c10::impl::LocalDispatchKeySet local = c10::impl::tls_local_dispatch_key_set();
    keys = (keys | local.included_) - local.excluded_;
    return (keys.raw_repr() & ~kPlainKeys.raw_repr()) == 0;
}

bool fits(Kind kind, at::ScalarType dtype) {
    switch (kind) {
        case Kind::Float: return float_dtype_index(dtype) >= 0;
        case Kind::Integer: return dtype == at::kLong;
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

bool parse(const Binding& binding, PyObject* const* objects, Parsed& parsed) {
    const auto& slots = binding.op->args();
    c10::DispatchKeySet keys;
    bool any_tensor = false;
    bool any_number = false;
    bool requires_grad = false;
    for (size_t i = 0; i < slots.size(); ++i) {
        PyObject* const object = objects[i];
        if (!THPVariable_CheckExact(object)) {
            if (!parse_number(object, slots[i].kind, parsed)) {
                return false;
            }
            any_number = true;
            continue;
        }
        const at::Tensor& tensor = THPVariable_Unpack(object);
        if (!fits(slots[i].kind, tensor.scalar_type())) {
            return false;
        }
        any_tensor = true;
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
    if (parsed.needs_autograd && (binding.plain_only || any_number || binding.mode != Mode::Plain)) {
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

Tensors run_plain(Operator& op, const Parsed& parsed) {
    const at::ScalarType dtype = parsed.promotion.dtype();
    c10::SmallVector<Number, 6> numbers;
    for (size_t i = 0; i < parsed.kinds.size(); ++i) {
        numbers.push_back(store(parsed.kinds[i], dtype, parsed.floats[i], parsed.integers[i]));
    }
    return run(op, parsed.args, dtype, numbers.empty() ? nullptr : numbers.data());
}

// The cotangents come for every lane; an argument that lanes share, or of another dtype, gets its own shape and dtype.
void reduce_cotangents(const Binding& binding, const Parsed& parsed, Tensors& results) {
    size_t next = binding.mode == Mode::ValueAndCotangents ? binding.op->family().primal().results().size() : 0;
    for (size_t i = 0; i < binding.primal_count; ++i) {
        if (binding.op->args()[i].kind != Kind::Float) {
            continue;
        }
        at::Tensor& cotangent = results[next++];
        const at::Tensor& arg = parsed.args[i];
        const c10::IntArrayRef sizes = arg.defined() ? arg.sizes() : c10::IntArrayRef();
        if (cotangent.sizes() != sizes) {
            cotangent = at::sum_to(std::move(cotangent), sizes);
        }
        if (arg.defined() && arg.scalar_type() != cotangent.scalar_type()) {
            cotangent = cotangent.to(arg.scalar_type());
        }
    }
}

PyObject* wrap(Tensors& results, size_t first, size_t last) {
    if (last - first == 1) {
        return THPVariable_Wrap(std::move(results[first]));
    }
    PyObject* const tuple = PyTuple_New(static_cast<Py_ssize_t>(last - first));
    for (size_t i = first; tuple != nullptr && i < last; ++i) {
        PyObject* const item = THPVariable_Wrap(std::move(results[i]));
        if (item == nullptr) {
            Py_DECREF(tuple);
            return nullptr;
        }
        PyTuple_SET_ITEM(tuple, static_cast<Py_ssize_t>(i - first), item);
    }
    return tuple;
}

PyObject* wrap_all(const Binding& binding, Tensors& results) {
    if (binding.mode != Mode::ValueAndCotangents) {
        return wrap(results, 0, results.size());
    }
    const size_t split = binding.op->family().primal().results().size();
    PyObject* const value = wrap(results, 0, split);
    PyObject* const cotangents = value == nullptr ? nullptr : wrap(results, split, results.size());
    if (cotangents == nullptr) {
        Py_XDECREF(value);
        return nullptr;
    }
    PyObject* const pair = PyTuple_Pack(2, value, cotangents);
    Py_DECREF(value);
    Py_DECREF(cotangents);
    return pair;
}

// A call that the fast path leaves alone goes to the class's __call__.
PyObject* call_general(PyObject* self, PyObject* const* objects, Py_ssize_t count, PyObject* names) {
    PyObject* const args = PyTuple_New(count);
    if (args == nullptr) {
        return nullptr;
    }
    for (Py_ssize_t i = 0; i < count; ++i) {
        Py_INCREF(objects[i]);
        PyTuple_SET_ITEM(args, i, objects[i]);
    }
    PyObject* keywords = nullptr;
    bool complete = true;
    if (names != nullptr && PyTuple_GET_SIZE(names) > 0) {
        keywords = PyDict_New();
        complete = keywords != nullptr;
        for (Py_ssize_t i = 0; complete && i < PyTuple_GET_SIZE(names); ++i) {
            complete = PyDict_SetItem(keywords, PyTuple_GET_ITEM(names, i), objects[count + i]) == 0;
        }
    }
    PyObject* const result = complete ? Py_TYPE(self)->tp_call(self, args, keywords) : nullptr;
    Py_XDECREF(keywords);
    Py_DECREF(args);
    return result;
}

PyObject* run_bound(const Binding& binding, Parsed& parsed) {
    Tensors results;
    {
        const WithoutGil released(parsed.numel >= kReleaseGilAt);
        if (parsed.needs_autograd) {
            results = run_with_autograd(*binding.op, std::move(parsed.args));
        } else {
            results = run_plain(*binding.op, parsed);
            if (binding.mode != Mode::Plain) {
                reduce_cotangents(binding, parsed, results);
            }
        }
    }
    return wrap_all(binding, results);
}

PyObject* fast_vectorcall(PyObject* self, PyObject* const* objects, size_t flagged_count, PyObject* names) {
    HANDLE_TH_ERRORS
    const Py_ssize_t count = PyVectorcall_NARGS(flagged_count);
    // Held for the call: another thread may arm the object anew.
    const std::shared_ptr<const ArmedList> list = reinterpret_cast<FastCall*>(self)->armed;
    if (list && names == nullptr) {
        for (const Armed& armed : *list) {
            if (static_cast<size_t>(count) != armed.binding->op->args().size() ||
                (armed.guards && !armed.guards->hold())) {
                continue;
            }
            Parsed parsed;
            if (parse(*armed.binding, objects, parsed) && parsed.dimensions <= armed.most_dimensions) {
                return run_bound(*armed.binding, parsed);
            }
        }
    }
    return call_general(self, objects, count, names);
    END_HANDLE_TH_ERRORS
}

PyObject* base_call(PyObject* self, PyObject*, PyObject*) {
    PyErr_Format(PyExc_TypeError, "%s has no __call__ for what its fast path leaves alone", Py_TYPE(self)->tp_name);
    return nullptr;
}

PyObject* fast_new(PyTypeObject* type, PyObject*, PyObject*) {
    PyObject* const self = type->tp_alloc(type, 0);
    if (self != nullptr) {
        auto* const call = reinterpret_cast<FastCall*>(self);
        call->vectorcall = fast_vectorcall;
        new (&call->armed) std::shared_ptr<const ArmedList>();
    }
    return self;
}

int fast_init(PyObject*, PyObject*, PyObject*) { return 0; }

void fast_dealloc(PyObject* self) {
    std::destroy_at(&reinterpret_cast<FastCall*>(self)->armed);
    Py_TYPE(self)->tp_free(self);
}

PyObject* bind_operator(PyObject* self, PyObject* args) {
    HANDLE_TH_ERRORS
    const char* name = nullptr;
    const char* kind = nullptr;
    const char* lift = nullptr;
    PyObject* shared = nullptr;
    int plain_only = 0;
    if (!PyArg_ParseTuple(args, "sssO!p", &name, &kind, &lift, &PyTuple_Type, &shared, &plain_only)) {
        return nullptr;
    }
    Family* const family = find_family(name);
    TORCH_CHECK_VALUE(family != nullptr, "no operator ", name, " is declared");
    Operator& primal = family->primal();
    Binding binding{&primal, Mode::Plain, Lift::Broadcast, plain_only != 0, primal.args().size(), {}, {}};
    TORCH_CHECK_VALUE(
        static_cast<size_t>(PyTuple_GET_SIZE(shared)) == primal.args().size(), "shared is to have one item per argument");
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(shared); ++i) {
        binding.shared.push_back(PyTuple_GET_ITEM(shared, i) == Py_True);
    }
    if (std::strcmp(lift, "same") == 0) {
        binding.lift = Lift::Same;
    } else if (std::strcmp(lift, "scalar") == 0) {
        binding.lift = Lift::Scalar;
    } else if (std::strcmp(lift, "tensor") == 0) {
        binding.lift = Lift::Tensor;
    }
    const std::string what = kind;
    if (what == "vjp" || what == "value_and_vjp") {
        binding.mode = what == "vjp" ? Mode::Cotangents : Mode::ValueAndCotangents;
        binding.op = &primal.derived(what == "vjp" ? 'v' : 'b');
        binding.like.assign(primal.float_results().size(), -1);
    } else if (what == "jvp") {
        binding.op = &primal.derived('j');
        binding.like.assign(primal.float_args().begin(), primal.float_args().end());
    }
    ArmedList list;
    list.push_back({std::make_shared<const Binding>(std::move(binding)), nullptr, kAnyDimensions});
    reinterpret_cast<FastCall*>(self)->armed = std::make_shared<const ArmedList>(std::move(list));
    Py_RETURN_NONE;
    END_HANDLE_TH_ERRORS
}

PyObject* arm(PyObject* self, PyObject* args) {
    HANDLE_TH_ERRORS
    PyObject* other = nullptr;
    PyObject* triples = nullptr;
    long long most_dimensions = kAnyDimensions;
    if (!PyArg_ParseTuple(args, "O!O!|L", fast_call_type(), &other, &PyTuple_Type, &triples, &most_dimensions)) {
        return nullptr;
    }
    const auto theirs = reinterpret_cast<FastCall*>(other)->armed;
    TORCH_CHECK_VALUE(theirs && theirs->size() == 1, "the other FastCall is not bound to one operator");
    ArmedList list;
    list.push_back(
        {theirs->front().binding,
         PyTuple_GET_SIZE(triples) > 0 ? std::make_shared<const Guards>(triples) : nullptr,
         most_dimensions});
    auto& mine = reinterpret_cast<FastCall*>(self)->armed;
    if (mine) {
        for (const Armed& armed : *mine) {
            const bool same = armed.binding == list.front().binding;
            if (!same && list.size() < kMostArmed) {
                list.push_back(armed);
            }
        }
    }
    // Swapped in before old guards go, which may run Python code.
    auto swapped = std::make_shared<const ArmedList>(std::move(list));
    mine.swap(swapped);
    Py_RETURN_NONE;
    END_HANDLE_TH_ERRORS
}

PyMethodDef fast_methods[] = {
    {"bind_operator", bind_operator, METH_VARARGS,
     "bind_operator(name, kind, lift, shared, plain_only): take calls for a declared operator"},
    {"arm", arm, METH_VARARGS,
     "arm(other, guards, most_dimensions): take the calls that the other FastCall takes, before those armed earlier, "
     "while each (container, name, seen) of the guards holds that object under that name, and where the tensors of an "
     "elementwise operator have no more dimensions than told"},
    {nullptr, nullptr, 0, nullptr}};

}  // namespace

PyTypeObject* fast_call_type() {
    static PyTypeObject type = [] {
        PyTypeObject t{};
        Py_SET_REFCNT(reinterpret_cast<PyObject*>(&t), 1);
        t.tp_name = "ksc.torch.FastCall";
        t.tp_doc = "A callable with a fast path in front of its __call__";
        t.tp_basicsize = sizeof(FastCall);
        t.tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_VECTORCALL;
        t.tp_vectorcall_offset = offsetof(FastCall, vectorcall);
        t.tp_new = fast_new;
        t.tp_init = fast_init;
        t.tp_dealloc = fast_dealloc;
        t.tp_call = base_call;
        t.tp_methods = fast_methods;
        return t;
    }();
    return &type;
}

PyObject* enable_vectorcall(PyObject*, PyObject* cls) {
    if (!PyType_Check(cls) || !PyType_IsSubtype(reinterpret_cast<PyTypeObject*>(cls), fast_call_type())) {
        PyErr_SetString(PyExc_TypeError, "a subclass of FastCall is expected");
        return nullptr;
    }
    auto* const type = reinterpret_cast<PyTypeObject*>(cls);
    // A class with a __call__ of its own does not inherit the vectorcall; here the two are one function, one faster.
    type->tp_vectorcall_offset = offsetof(FastCall, vectorcall);
    type->tp_flags |= Py_TPFLAGS_HAVE_VECTORCALL;
    PyType_Modified(type);
    Py_INCREF(cls);
    return cls;
}

}  // namespace ksc

#include "fastcall.h"

#include <cstddef>
#include <cstring>
#include <limits>
#include <memory>
#include <new>

#include <ATen/ExpandUtils.h>
#include <torch/csrc/autograd/python_variable.h>

#include "autograd.h"
#include "binding.h"
#include "guards.h"
#include "layout.h"
#include "operator.h"
#include "python.h"
#include "tensors.h"

namespace ksc {
namespace {

// A binding that counts while its guards hold, for tensors of no more dimensions than told.
struct Armed {
    std::shared_ptr<const Binding> binding;
    std::shared_ptr<const Guards> guards;
    std::shared_ptr<const Layout> layout;  // none where the arguments are flat, and so are the results
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
        if (arg.defined() && (arg.scalar_type() != cotangent.scalar_type() || arg.device() != cotangent.device())) {
            cotangent = cotangent.to(arg.options());
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

// Autograd knows tensors alone.
void put_numbers_in_tensors(Parsed& parsed) {
    size_t number = 0;
    for (at::Tensor& arg : parsed.args) {
        if (arg.defined()) {
            continue;
        }
        const Kind kind = parsed.kinds[number];
        const at::ScalarType dtype = dtype_of(kind, parsed.promotion.dtype());
        arg = kind == Kind::Float ? at::scalar_tensor(parsed.floats[number], dtype)
                                  : at::scalar_tensor(parsed.integers[number], dtype);
        ++number;
    }
}

PyObject* run_bound(const Binding& binding, const Layout* layout, Parsed& parsed) {
    Tensors results;
    {
        const WithoutGil released(parsed.numel >= kReleaseGilAt);
        if (parsed.needs_autograd) {
            put_numbers_in_tensors(parsed);
            results = run_with_autograd(*binding.op, std::move(parsed.args));
        } else {
            results = run_plain(*binding.op, parsed);
            if (binding.mode != Mode::Plain) {
                reduce_cotangents(binding, parsed, results);
            }
        }
    }
    return layout != nullptr && layout->structures_results() ? layout->structured(results) : wrap_all(binding, results);
}

PyObject* fast_vectorcall(PyObject* self, PyObject* const* objects, size_t flagged_count, PyObject* names) {
    HANDLE_TH_ERRORS
    const Py_ssize_t count = PyVectorcall_NARGS(flagged_count);
    // Held for the call: another thread may arm the object anew.
    const std::shared_ptr<const ArmedList> list = reinterpret_cast<FastCall*>(self)->armed;
    if (list) {
        for (const Armed& armed : *list) {
            const Layout* const layout = armed.layout.get();
            if (layout == nullptr && (names != nullptr || static_cast<size_t>(count) != armed.binding->op->args().size())) {
                continue;
            }
            if (armed.guards && !armed.guards->hold()) {
                continue;
            }
            Flat flat;
            if (layout != nullptr && !layout->flatten(objects, count, names, flat)) {
                continue;
            }
            Parsed parsed;
            if (parse(*armed.binding, layout != nullptr ? flat.leaves() : objects, layout != nullptr, parsed) &&
                parsed.dimensions <= armed.most_dimensions) {
                return run_bound(*armed.binding, layout, parsed);
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
    list.push_back({std::make_shared<const Binding>(std::move(binding)), nullptr, nullptr, kAnyDimensions});
    reinterpret_cast<FastCall*>(self)->armed = std::make_shared<const ArmedList>(std::move(list));
    Py_RETURN_NONE;
    END_HANDLE_TH_ERRORS
}

PyObject* arm(PyObject* self, PyObject* args) {
    HANDLE_TH_ERRORS
    PyObject* other = nullptr;
    PyObject* triples = nullptr;
    PyObject* parameters = nullptr;
    PyObject* result = nullptr;
    long long most_dimensions = kAnyDimensions;
    if (!PyArg_ParseTuple(
            args, "O!O!|O!OL", fast_call_type(), &other, &PyTuple_Type, &triples, &PyTuple_Type, &parameters, &result,
            &most_dimensions)) {
        return nullptr;
    }
    const auto theirs = reinterpret_cast<FastCall*>(other)->armed;
    TORCH_CHECK_VALUE(theirs && theirs->size() == 1, "the other FastCall is not bound to one operator");
    ArmedList list;
    list.push_back(
        {theirs->front().binding,
         PyTuple_GET_SIZE(triples) > 0 ? std::make_shared<const Guards>(triples) : nullptr,
         result != nullptr ? std::make_shared<const Layout>(parameters, result) : nullptr,
         most_dimensions});
    auto& mine = reinterpret_cast<FastCall*>(self)->armed;
    if (mine) {
        for (const Armed& armed : *mine) {
            const bool same = armed.binding == list.front().binding && armed.layout &&
                              armed.layout->parameters() == parameters;
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
     "arm(other, guards, parameters, result, most_dimensions): take the calls that the other FastCall takes with the "
     "arguments flat, before those armed earlier, where the arguments have this layout if any (layout.h), while each "
     "(container, name, seen) of the guards holds that object under that name, (container, name) none, and where the "
     "tensors of an elementwise operator have no more dimensions than told"},
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

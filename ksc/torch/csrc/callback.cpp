// Callbacks: a kernel calls a Python function by name, on whatever thread it runs.
#include "callback.h"

#include <ATen/ops/from_blob.h>
#include <torch/csrc/autograd/python_variable.h>

#include "python.h"
#include "runtime.h"

namespace ksc {
namespace {

// Takes the name, the list of arguments and the list of places for the results.
PyObject* callback_host = nullptr;

at::Tensor view(const ks_value& value) {
    constexpr at::ScalarType dtypes[] = {at::kFloat, at::kDouble, at::kLong, at::kBool};
    return at::from_blob(
        value.data, at::IntArrayRef(value.sizes, static_cast<size_t>(value.rank)), at::dtype(dtypes[value.kind]));
}

PyObject* views(const ks_value* values, int count) {
    PyObject* const list = PyList_New(count);
    for (int i = 0; list != nullptr && i < count; ++i) {
        PyList_SET_ITEM(list, i, THPVariable_Wrap(view(values[i])));
    }
    return list;
}

int run_callback(
    const ks_runtime* runtime,
    const char* name,
    const ks_value* args,
    int arg_count,
    const ks_value* results,
    int result_count) {
    try {
        const WithGil gil;
        PyObject* const given = views(args, arg_count);
        PyObject* const places = views(results, result_count);
        PyObject* const done = PyObject_CallFunction(callback_host, "sOO", name, given, places);
        Py_XDECREF(given);
        Py_XDECREF(places);
        if (done == nullptr) {
            throw_python_error();
        }
        Py_DECREF(done);
        return 0;
    } catch (...) {
        ThreadRuntime::call_of(runtime).record(std::current_exception());
        return 1;
    }
}

}  // namespace

decltype(ks_runtime::callback) const kCallback = run_callback;

PyObject* set_callback_host(PyObject*, PyObject* host) {
    Py_XSETREF(callback_host, Py_NewRef(host));
    Py_RETURN_NONE;
}

}  // namespace ksc

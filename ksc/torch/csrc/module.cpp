// The Python module of the core: declare operators, and the FastCall type.
#include <Python.h>

#include "callback.h"
#include "fastcall.h"
#include "operator.h"
#include "parse.h"
#include "python.h"
#include "python_host.h"

namespace ksc {
namespace {

std::vector<Slot> parse_slots(PyObject* tuple) {
    std::vector<Slot> slots;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(tuple); ++i) {
        const char* name = nullptr;
        const char* kind = nullptr;
        PyObject* sizes = nullptr;
        Py_ssize_t lanes = 0;
        int is_number = 0;
        if (!PyArg_ParseTuple(
                PyTuple_GET_ITEM(tuple, i), "ssO!np", &name, &kind, &PyTuple_Type, &sizes, &lanes, &is_number)) {
            throw_python_error();
        }
        slots.push_back(
            {name,
             parse_kind(kind),
             parse_numbers<int64_t>(sizes),
             static_cast<size_t>(lanes),
             is_number != 0});
    }
    return slots;
}

PyObject* declare(PyObject*, PyObject* args) {
    HANDLE_TH_ERRORS
    const char* name = nullptr;
    PyObject* arg_slots = nullptr;
    PyObject* result_slots = nullptr;
    PyObject* shapes = nullptr;
    int partial_seeds = 0;
    PyObject* loader = nullptr;
    PyObject* error = nullptr;
    PyObject* declared = nullptr;
    PyObject* handed = nullptr;
    PyObject* cut = nullptr;
    PyObject* parts = nullptr;
    if (!PyArg_ParseTuple(
            args, "sO!O!OpOOOOOO", &name, &PyTuple_Type, &arg_slots, &PyTuple_Type, &result_slots, &shapes, &partial_seeds,
            &loader, &error, &declared, &handed, &cut, &parts)) {
        return nullptr;
    }
    declare_family(
        kNamespace, name, {parse_slots(arg_slots), parse_slots(result_slots)}, parse_shapes(shapes), partial_seeds != 0,
        std::make_unique<PythonHost>(loader, error, declared, handed, cut, parts));
    Py_RETURN_NONE;
    END_HANDLE_TH_ERRORS
}

// The letters of a derivation, each with its seeds: "vj10" is the vjp and then the jvp with the first of two seeds.
PyObject* declare_derivation(PyObject*, PyObject* args) {
    HANDLE_TH_ERRORS
    const char* name = nullptr;
    const char* text = nullptr;
    if (!PyArg_ParseTuple(args, "ss", &name, &text)) {
        return nullptr;
    }
    Family* const family = find_family(name);
    TORCH_CHECK_VALUE(family != nullptr, "no operator ", name, " is declared");
    const std::string derivation = text;
    Operator* op = &family->primal();
    for (size_t i = 0; i < derivation.size();) {
        const char letter = derivation[i++];
        TORCH_CHECK_VALUE(
            letter == 'v' || letter == 'j' || letter == 'r' || (letter == 'm' && family->takes_tensors()), "the derivation ", derivation,
            " is not known");
        std::vector<bool> seeds;
        for (; i < derivation.size() && (derivation[i] == '0' || derivation[i] == '1'); ++i) {
            seeds.push_back(derivation[i] == '1');
        }
        op = seeds.empty() ? &op->derived(letter) : &op->derived(letter, seeds);
    }
    Py_RETURN_NONE;
    END_HANDLE_TH_ERRORS
}

PyMethodDef methods[] = {
    {"declare", declare, METH_VARARGS,
     "declare(name, args, results, shapes, partial_seeds, loader, error, declared, handed, cut, parts): register "
     "torch.ops.knossos.NAME"},
    {"declare_derivation", declare_derivation, METH_VARARGS,
     "declare_derivation(name, derivation): register its overload, if it is not yet there"},
    {"set_callback_host", set_callback_host, METH_O, "set_callback_host(host): what callbacks of kernels run"},
    {"vectorcall", enable_vectorcall, METH_O, "vectorcall(cls): put the fast path in front of the class's __call__"},
    {nullptr, nullptr, 0, nullptr}};

PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_core", "The runtime core of ksc.torch", -1, methods, nullptr, nullptr, nullptr, nullptr};

}  // namespace
}  // namespace ksc

PyMODINIT_FUNC PyInit__core() {
    if (PyType_Ready(ksc::fast_call_type()) < 0) {
        return nullptr;
    }
    PyObject* const module = PyModule_Create(&ksc::definition);
    if (module == nullptr) {
        return nullptr;
    }
    if (PyModule_AddObjectRef(module, "FastCall", reinterpret_cast<PyObject*>(ksc::fast_call_type())) < 0) {
        Py_DECREF(module);
        return nullptr;
    }
    return module;
}

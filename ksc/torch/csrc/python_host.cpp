#include "python_host.h"

#include <torch/csrc/Dtype.h>
#include <torch/csrc/DynamicTypes.h>

#include "parse.h"
#include "python.h"

namespace ksc {

PythonHost::PythonHost(
    PyObject* loader, PyObject* error, PyObject* declared, PyObject* handed, PyObject* cut, PyObject* parts)
    : loader_(Py_NewRef(loader)),
      error_(Py_NewRef(error)),
      declared_(Py_NewRef(declared)),
      handed_(Py_NewRef(handed)),
      cut_(Py_NewRef(cut)),
      parts_(Py_NewRef(parts)) {}

PyObject* PythonHost::ask(
    PyObject* callable, const std::string& derivation, at::ScalarType dtype, c10::DeviceType device, bool wide) const {
    PyObject* const dtype_object = reinterpret_cast<PyObject*>(torch::getTHPDtype(dtype));
    PyObject* const found = PyObject_CallFunction(
        callable, "sOsO", derivation.c_str(), dtype_object, c10::DeviceTypeName(device, /*lower_case=*/true).c_str(),
        wide ? Py_True : Py_False);
    if (found == nullptr) {
        throw_python_error();
    }
    return found;
}

void* PythonHost::load(const std::string& derivation, at::ScalarType dtype, c10::DeviceType device, bool wide) {
    const WithGil gil;
    PyObject* const address = ask(loader_, derivation, dtype, device, wide);
    void* const pointer = PyLong_AsVoidPtr(address);
    Py_DECREF(address);
    if (pointer == nullptr) {
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_RuntimeError, "the loader of a kernel gave a null entry");
        }
        throw_python_error();
    }
    return pointer;
}

std::shared_ptr<const Cut> PythonHost::cut(const std::string& derivation) {
    const WithGil gil;
    PyObject* const found = PyObject_CallFunction(cut_, "s", derivation.c_str());
    if (found == nullptr) {
        throw_python_error();
    }
    // Never released where it is read: a program is cut once.
    return found == Py_None ? nullptr : std::make_shared<const Cut>(parse_cut(found));
}

std::vector<void*> PythonHost::load_parts(
    const std::string& derivation, at::ScalarType dtype, c10::DeviceType device, bool wide) {
    const WithGil gil;
    PyObject* const addresses = ask(parts_, derivation, dtype, device, wide);
    std::vector<void*> parts;
    for (const auto address : parse_numbers<uintptr_t>(addresses)) {
        parts.push_back(reinterpret_cast<void*>(address));
    }
    Py_DECREF(addresses);
    return parts;
}

std::vector<bool> PythonHost::handed_results() {
    const WithGil gil;
    PyObject* const digits = PyObject_CallNoArgs(handed_);
    const char* const text = digits != nullptr ? PyUnicode_AsUTF8(digits) : nullptr;
    if (text == nullptr) {
        Py_XDECREF(digits);
        throw_python_error();
    }
    std::vector<bool> handed;
    for (const char* digit = text; *digit != '\0'; ++digit) {
        handed.push_back(*digit == '1');
    }
    Py_DECREF(digits);
    return handed;
}

void PythonHost::declared(const std::string& derivation) {
    const WithGil gil;
    PyObject* const done = PyObject_CallFunction(declared_, "s", derivation.c_str());
    if (done == nullptr) {
        throw_python_error();
    }
    Py_DECREF(done);
}

void PythonHost::raise(int code, int line, const std::string& message) {
    const WithGil gil;
    PyObject* const error = PyObject_CallFunction(error_, "iis", code, line, message.c_str());
    if (error != nullptr) {
        PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error)), error);
        Py_DECREF(error);
    }
    throw_python_error();
}

}  // namespace ksc

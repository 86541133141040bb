#include "layout.h"

#include <stdexcept>

#include <torch/csrc/Dtype.h>
#include <torch/csrc/autograd/python_variable.h>

namespace ksc {
namespace {

PyObject* item(PyObject* tuple, Py_ssize_t index) {
    if (!PyTuple_Check(tuple) || index >= PyTuple_GET_SIZE(tuple)) {
        throw std::invalid_argument("a layout is made of tuples");
    }
    return PyTuple_GET_ITEM(tuple, index);
}

bool is_equal_text(PyObject* a, PyObject* b) {
    return PyUnicode_CheckExact(a) && PyUnicode_CheckExact(b) && PyUnicode_Compare(a, b) == 0;
}

// The position of a name among those of a call, or -1.
Py_ssize_t find_name(PyObject* names, PyObject* name) {
    const Py_ssize_t count = names != nullptr ? PyTuple_GET_SIZE(names) : 0;
    for (Py_ssize_t i = 0; i < count; ++i) {
        if (PyTuple_GET_ITEM(names, i) == name || is_equal_text(PyTuple_GET_ITEM(names, i), name)) {
            return i;
        }
    }
    return -1;
}

}  // namespace

Flat::~Flat() {
    for (PyObject* const owned : owned_) {
        Py_DECREF(owned);
    }
}

Layout::Part Layout::argument_part(PyObject* text) {
    Part part;
    part.what = static_cast<What>(PyLong_AsLong(item(text, 0)));
    if (part.what == What::Leaf) {
        part.numbers = item(text, 1) == Py_True;
        part.ints = item(text, 2) == Py_True;
        if (THPDtype_Check(item(text, 3))) {
            part.dtype = reinterpret_cast<THPDtype*>(item(text, 3))->scalar_type;
        }
        return part;
    }
    part.object = item(text, 1);
    if (part.what == What::Object) {
        return part;
    }
    const bool named = part.what == What::Fields;
    part.names = named ? item(text, 2) : nullptr;
    PyObject* const parts = item(text, named ? 3 : 2);
    for (Py_ssize_t i = 0; i < PyTuple_Size(parts); ++i) {
        part.parts.push_back(argument_part(item(parts, i)));
    }
    return part;
}

Layout::Part Layout::result_part(PyObject* text) {
    Part part;
    part.what = static_cast<What>(PyLong_AsLong(item(text, 0)));
    if (part.what == What::Leaf) {
        return part;
    }
    part.object = item(text, 1);
    if (part.what == What::Object) {
        return part;
    }
    part.names = item(text, 2);
    for (Py_ssize_t i = 0; i < PyTuple_Size(item(text, 3)); ++i) {
        part.parts.push_back(result_part(item(item(text, 3), i)));
    }
    return part;
}

Layout::Layout(PyObject* parameters, PyObject* result) : source_(PyTuple_Pack(2, parameters, result)) {
    for (Py_ssize_t i = 0; i < PyTuple_Size(parameters); ++i) {
        PyObject* const text = item(parameters, i);
        parameters_.push_back(
            {item(text, 0), item(text, 1) == Py_True, argument_part(item(text, 2)),
             PyTuple_GET_SIZE(text) > 3 ? item(text, 3) : nullptr});
    }
    if (result != Py_None) {
        result_ = result_part(result);
    }
}

Layout::~Layout() { Py_XDECREF(source_); }

bool Layout::take(const Part& part, PyObject* object, Flat& flat) {
    switch (part.what) {
        case What::Leaf:
            if (THPVariable_CheckExact(object)) {
                if (part.dtype && THPVariable_Unpack(object).scalar_type() != *part.dtype) {
                    return false;
                }
            } else if (!part.numbers || (PyLong_CheckExact(object) && !part.ints)) {
                return false;
            }
            flat.push(object);
            return true;
        case What::Object: return object == part.object || is_equal_text(object, part.object);
        case What::Items: {
            if (reinterpret_cast<PyObject*>(Py_TYPE(object)) != part.object ||
                PyTuple_GET_SIZE(object) != static_cast<Py_ssize_t>(part.parts.size())) {
                return false;
            }
            Py_ssize_t index = 0;
            for (const Part& inner : part.parts) {
                if (!take(inner, PyTuple_GET_ITEM(object, index++), flat)) {
                    return false;
                }
            }
            return true;
        }
        case What::Fields: {
            if (reinterpret_cast<PyObject*>(Py_TYPE(object)) != part.object) {
                return false;
            }
            Py_ssize_t index = 0;
            for (const Part& inner : part.parts) {
                PyObject* const found = PyObject_GetAttr(object, PyTuple_GET_ITEM(part.names, index++));
                if (found == nullptr) {
                    PyErr_Clear();
                    return false;
                }
                flat.keep(found);
                if (!take(inner, found, flat)) {
                    return false;
                }
            }
            return true;
        }
    }
    return false;
}

bool Layout::flatten(PyObject* const* objects, Py_ssize_t count, PyObject* names, Flat& flat) const {
    Py_ssize_t by_name = names != nullptr ? PyTuple_GET_SIZE(names) : 0;
    Py_ssize_t position = 0;
    for (const Parameter& parameter : parameters_) {
        PyObject* object = parameter.otherwise;
        if (position < count && parameter.by_position) {
            object = objects[position++];
        } else if (by_name > 0 && parameter.name != Py_None) {
            const Py_ssize_t found = find_name(names, parameter.name);
            if (found >= 0) {
                object = objects[count + found];
                --by_name;
            }
        }
        if (object == nullptr || !take(parameter.part, object, flat)) {
            return false;
        }
    }
    return position == count && by_name == 0;
}

PyObject* Layout::make(const Part& part, Tensors& results, size_t& next) {
    if (part.what == What::Leaf) {
        return THPVariable_Wrap(std::move(results[next++]));
    }
    if (part.what == What::Object) {
        Py_INCREF(part.object);
        return part.object;
    }
    PyObject* const parts = PyTuple_New(static_cast<Py_ssize_t>(part.parts.size()));
    Py_ssize_t index = 0;
    for (const Part& inner : part.parts) {
        PyObject* const made = parts != nullptr ? make(inner, results, next) : nullptr;
        if (made == nullptr) {
            Py_XDECREF(parts);
            return nullptr;
        }
        PyTuple_SET_ITEM(parts, index++, made);
    }
    if (part.object == reinterpret_cast<PyObject*>(&PyTuple_Type)) {
        return parts;
    }
    PyObject* result = nullptr;
    if (part.object == reinterpret_cast<PyObject*>(&PyDict_Type)) {
        result = PyDict_New();
        for (Py_ssize_t i = 0; result != nullptr && i < index; ++i) {
            if (PyDict_SetItem(result, PyTuple_GET_ITEM(part.names, i), PyTuple_GET_ITEM(parts, i)) != 0) {
                Py_CLEAR(result);
            }
        }
    } else if (PyTuple_GET_SIZE(part.names) > 0) {
        result = PyObject_Vectorcall(part.object, &PyTuple_GET_ITEM(parts, 0), 0, part.names);
    } else {
        result = PyObject_CallOneArg(part.object, parts);
    }
    Py_DECREF(parts);
    return result;
}

PyObject* Layout::structured(Tensors& results) const {
    size_t next = 0;
    return make(*result_, results, next);
}

}  // namespace ksc

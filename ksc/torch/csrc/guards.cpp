#include "guards.h"

#include <stdexcept>

namespace ksc {
namespace {

bool holds(PyObject* container, PyObject* name, PyObject* seen) {
    if (PyCell_Check(container)) {
        return PyCell_GET(container) == seen;
    }
    if (PyDict_Check(container)) {
        PyObject* const found = PyDict_GetItemWithError(container, name);
        PyErr_Clear();
        return found == seen;
    }
    PyObject* const found = PyObject_GetAttr(container, name);
    PyErr_Clear();
    Py_XDECREF(found);
    return found == seen;
}

}  // namespace

Guards::Guards(PyObject* triples) {
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(triples); ++i) {
        PyObject* const triple = PyTuple_GET_ITEM(triples, i);
        if (!PyTuple_Check(triple) || PyTuple_GET_SIZE(triple) != 3) {
            throw std::invalid_argument("a guard is a tuple of container, name and object");
        }
        const Guard guard{PyTuple_GET_ITEM(triple, 0), PyTuple_GET_ITEM(triple, 1), PyTuple_GET_ITEM(triple, 2)};
        Py_INCREF(guard.container);
        Py_INCREF(guard.name);
        Py_INCREF(guard.seen);
        guards_.push_back(guard);
    }
}

Guards::~Guards() {
    for (const Guard& guard : guards_) {
        Py_DECREF(guard.container);
        Py_DECREF(guard.name);
        Py_DECREF(guard.seen);
    }
}

bool Guards::hold() const {
    for (const Guard& guard : guards_) {
        if (!holds(guard.container, guard.name, guard.seen)) {
            return false;
        }
    }
    return true;
}

}  // namespace ksc

#include "guards.h"

#include <algorithm>
#include <stdexcept>
#include <string_view>

namespace ksc {
namespace {

// A number that changes with the content of a dict; 0 where Python does not tell.
uint64_t version_of([[maybe_unused]] PyObject* dict) {
#if PY_VERSION_HEX < 0x030C0000
    return reinterpret_cast<PyDictObject*>(dict)->ma_version_tag;
#else
    return 0;
#endif
}

PyObject* none_for_null(PyObject* object) { return object != nullptr ? object : Py_None; }

}  // namespace

Guards::Guards(PyObject* triples) {
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(triples); ++i) {
        PyObject* const triple = PyTuple_GET_ITEM(triples, i);
        const Py_ssize_t size = PyTuple_Check(triple) ? PyTuple_GET_SIZE(triple) : 0;
        if ((size != 2 && size != 3) || !PyUnicode_Check(PyTuple_GET_ITEM(triple, 1))) {
            throw std::invalid_argument("a guard is a tuple of container, name and, where there was one, object");
        }
        // Holds its parts.
        Py_INCREF(triple);
        kept_.push_back(triple);
        add(PyTuple_GET_ITEM(triple, 0), PyTuple_GET_ITEM(triple, 1),
            size == 3 ? PyTuple_GET_ITEM(triple, 2) : nullptr);
    }
}

Guards::~Guards() {
    for (PyObject* const kept : kept_) {
        Py_DECREF(kept);
    }
}

void Guards::add(PyObject* container, PyObject* name, PyObject* seen) {
    if (PyDict_Check(container)) {
        auto found = std::find_if(dicts_.begin(), dicts_.end(), [&](const OfDict& d) { return d.dict == container; });
        if (found == dicts_.end()) {
            found = dicts_.insert(dicts_.end(), OfDict{container, {}, 0});
        }
        found->entries.emplace_back(name, seen);
        return;
    }
    const char* const text = PyUnicode_AsUTF8(name);
    PyErr_Clear();
    const std::string_view attribute = text != nullptr ? text : "";
    Way way = Way::Attribute;
    if (PyCell_Check(container)) {
        way = Way::Cell;
    } else if (PyFunction_Check(container)) {
        way = attribute == "__code__"         ? Way::Code
              : attribute == "__defaults__"   ? Way::Defaults
              : attribute == "__kwdefaults__" ? Way::KeywordDefaults
              : attribute == "__annotations__" ? Way::Annotations
                                               : Way::Attribute;
    } else if (PyType_Check(container) && seen != nullptr &&
               _PyType_Lookup(reinterpret_cast<PyTypeObject*>(container), name) == seen) {
        way = Way::OfType;
    }
    guards_.push_back({way, container, name, seen});
}

bool Guards::holds(const Guard& guard) {
    switch (guard.way) {
        case Way::Cell: return PyCell_GET(guard.container) == guard.seen;
        case Way::Code: return PyFunction_GET_CODE(guard.container) == guard.seen;
        case Way::Defaults: return none_for_null(PyFunction_GET_DEFAULTS(guard.container)) == guard.seen;
        case Way::KeywordDefaults: return none_for_null(PyFunction_GET_KW_DEFAULTS(guard.container)) == guard.seen;
        case Way::Annotations: return PyFunction_GET_ANNOTATIONS(guard.container) == guard.seen;
        case Way::OfType: return _PyType_Lookup(reinterpret_cast<PyTypeObject*>(guard.container), guard.name) == guard.seen;
        case Way::Attribute: break;
    }
    PyObject* const found = PyObject_GetAttr(guard.container, guard.name);
    PyErr_Clear();
    Py_XDECREF(found);
    return found == guard.seen;
}

bool Guards::holds(const OfDict& guards) {
    const uint64_t version = version_of(guards.dict);
    if (version != 0 && version == guards.version) {
        return true;
    }
    for (const auto& [name, seen] : guards.entries) {
        PyObject* const found = PyDict_GetItemWithError(guards.dict, name);
        PyErr_Clear();
        if (found != seen) {
            return false;
        }
    }
    guards.version = version;
    return true;
}

bool Guards::hold() const {
    return std::all_of(dicts_.begin(), dicts_.end(), [](const OfDict& guards) { return holds(guards); }) &&
           std::all_of(guards_.begin(), guards_.end(), [](const Guard& guard) { return holds(guard); });
}

}  // namespace ksc

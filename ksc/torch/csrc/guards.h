// What a trace has read from outside the function, compared by identity before a call takes the fast path.
#pragma once

#include <Python.h>

#include <cstdint>
#include <utility>
#include <vector>

namespace ksc {

class Guards {
  public:
    // `triples` is a tuple of (container, name, seen): a closure's cell, a dict, a function, or any object with that
    // attribute; (container, name) where nothing was there. Throws std::invalid_argument for anything else. Needs the
    // GIL, as do the other members.
    explicit Guards(PyObject* triples);
    ~Guards();
    Guards(const Guards&) = delete;
    Guards& operator=(const Guards&) = delete;

    // Whether every container still holds the very object that was seen.
    bool hold() const;

  private:
    // How an object is looked up; a type has a cache for its attributes.
    enum class Way : uint8_t { Cell, Code, Defaults, KeywordDefaults, Annotations, OfType, Attribute };

    struct Guard {
        Way way;
        PyObject* container;
        PyObject* name;
        PyObject* seen;
    };

    // The guards of one dict. While its version is one at which they held, nothing in it has changed.
    struct OfDict {
        PyObject* dict;
        std::vector<std::pair<PyObject*, PyObject*>> entries;
        mutable uint64_t version;
    };

    void add(PyObject* container, PyObject* name, PyObject* seen);
    static bool holds(const Guard& guard);
    static bool holds(const OfDict& guards);

    std::vector<Guard> guards_;
    std::vector<OfDict> dicts_;
    std::vector<PyObject*> kept_;
};

}  // namespace ksc

// What a trace has read from outside the function, compared by identity before a call takes the fast path.
#pragma once

#include <Python.h>

#include <memory>
#include <vector>

namespace ksc {

class Guards {
  public:
    // `triples` is a tuple of (container, name, seen): a closure's cell, a dict, or any object with that attribute.
    // Throws std::invalid_argument for anything else. Needs the GIL, as does destruction.
    explicit Guards(PyObject* triples);
    ~Guards();
    Guards(const Guards&) = delete;
    Guards& operator=(const Guards&) = delete;

    // Whether every container still holds the very object that was seen.
    bool hold() const;

  private:
    struct Guard {
        PyObject* container;
        PyObject* name;
        PyObject* seen;
    };
    std::vector<Guard> guards_;
};

}  // namespace ksc

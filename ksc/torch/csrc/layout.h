// How a call's arguments, which may be structures, become flat ones, and flat results a structure.
#pragma once

#include <Python.h>

#include <memory>
#include <optional>
#include <vector>

#include <c10/core/ScalarType.h>
#include <c10/util/SmallVector.h>

#include "tensors.h"

namespace ksc {

// The flat arguments of a call, with the references to what was read of attributes.
class Flat {
  public:
    Flat() = default;
    ~Flat();
    Flat(const Flat&) = delete;
    Flat& operator=(const Flat&) = delete;

    void push(PyObject* leaf) { leaves_.push_back(leaf); }
    void keep(PyObject* owned) { owned_.push_back(owned); }
    PyObject* const* leaves() const { return leaves_.data(); }
    size_t size() const { return leaves_.size(); }

  private:
    c10::SmallVector<PyObject*, 16> leaves_;
    c10::SmallVector<PyObject*, 16> owned_;
};

// A layout is made from plain tuples. A part of an argument is one of
//   (0, numbers, ints, dtype)  a leaf: a tensor, where told a float, a bool, an int; of that dtype unless it is None
//   (1, object)                this very object, or an equal str
//   (2, cls, parts)            a tuple of just this class
//   (3, cls, names, parts)     an object of just this class with these attributes
// and a part of the result one of
//   (0,)                       the next flat result
//   (1, object)                this object
//   (2, cls, keys, parts)      cls(parts), a dict, or with keys cls(key=part, ...)
class Layout {
  public:
    // `parameters` is a tuple of (name or None, by_position, part, default...); `result` a part, or None where the flat
    // results are the results. Throws std::invalid_argument for anything else. Needs the GIL, as do the other members.
    Layout(PyObject* parameters, PyObject* result);
    ~Layout();
    Layout(const Layout&) = delete;
    Layout& operator=(const Layout&) = delete;

    // Whether the call, its arguments by name behind the `count` ones by position, has this layout.
    bool flatten(PyObject* const* objects, Py_ssize_t count, PyObject* names, Flat& flat) const;

    // The very object that it was made from.
    PyObject* parameters() const { return PyTuple_GET_ITEM(source_, 0); }

    bool structures_results() const { return result_.has_value(); }

    // The results as the function gives them; nullptr with an error set where they cannot be made.
    PyObject* structured(Tensors& results) const;

  private:
    enum class What : uint8_t { Leaf, Object, Items, Fields };

    struct Part {
        What what = What::Leaf;
        bool numbers = false;
        bool ints = false;
        std::optional<at::ScalarType> dtype;
        PyObject* object = nullptr;  // the object or class
        PyObject* names = nullptr;
        std::vector<Part> parts;
    };

    struct Parameter {
        PyObject* name;
        bool by_position;
        Part part;
        PyObject* otherwise;
    };

    static Part argument_part(PyObject* text);
    static Part result_part(PyObject* text);
    static bool take(const Part& part, PyObject* object, Flat& flat);
    static PyObject* make(const Part& part, Tensors& results, size_t& next);

    PyObject* source_;  // holds all objects
    std::vector<Parameter> parameters_;
    std::optional<Part> result_;
};

}  // namespace ksc

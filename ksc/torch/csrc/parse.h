// What Python tells the core, as plain tuples.
#pragma once

#include <Python.h>

#include <optional>
#include <string_view>
#include <vector>

#include "cut.h"
#include "operator.h"
#include "python.h"
#include "shapes.h"

namespace ksc {

template <class Number>
std::vector<Number> parse_numbers(PyObject* tuple) {
    std::vector<Number> numbers;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(tuple); ++i) {
        const long long number = PyLong_AsLongLong(PyTuple_GET_ITEM(tuple, i));
        if (number == -1 && PyErr_Occurred()) {
            throw_python_error();
        }
        numbers.push_back(static_cast<Number>(number));
    }
    return numbers;
}

// "float", "int" or "bool".
Kind parse_kind(std::string_view text);

// (ops, results, lines) of ksc/ir/sizes.py, each op as (code, a, b, c); None for an elementwise kernel.
std::optional<ShapeTable> parse_shapes(PyObject* object);

// (made, kinds, steps, results) of ksc/codegen/cuda/cut.py: made is a table of sizes, a step is
// ("multiply", (left, right, result)), a matrix being (value, transposed, batch), or ("run", (values, dims, results)).
Cut parse_cut(PyObject* object);

}  // namespace ksc

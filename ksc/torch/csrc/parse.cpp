#include "parse.h"

namespace ksc {
namespace {

CutMatrix parse_matrix(PyObject* tuple) {
    Py_ssize_t value = 0;
    int transposed = 0;
    PyObject* batch = nullptr;
    if (!PyArg_ParseTuple(tuple, "npO!", &value, &transposed, &PyTuple_Type, &batch)) {
        throw_python_error();
    }
    return {static_cast<size_t>(value), transposed != 0, parse_numbers<size_t>(batch)};
}

CutProduct parse_product(PyObject* tuple) {
    PyObject* left = nullptr;
    PyObject* right = nullptr;
    Py_ssize_t result = 0;
    if (!PyArg_ParseTuple(tuple, "O!O!n", &PyTuple_Type, &left, &PyTuple_Type, &right, &result)) {
        throw_python_error();
    }
    return {parse_matrix(left), parse_matrix(right), static_cast<size_t>(result)};
}

CutKernel parse_kernel(PyObject* tuple, size_t part) {
    PyObject* values = nullptr;
    PyObject* dims = nullptr;
    PyObject* results = nullptr;
    if (!PyArg_ParseTuple(tuple, "O!O!O!", &PyTuple_Type, &values, &PyTuple_Type, &dims, &PyTuple_Type, &results)) {
        throw_python_error();
    }
    CutKernel kernel{part, {}, parse_numbers<size_t>(results)};
    const auto of = parse_numbers<size_t>(values);
    const auto dim = parse_numbers<int64_t>(dims);
    for (size_t i = 0; i < of.size(); ++i) {
        kernel.args.push_back({of[i], dim.at(i)});
    }
    return kernel;
}

}  // namespace

Kind parse_kind(std::string_view text) { return text == "float" ? Kind::Float : text == "int" ? Kind::Integer : Kind::Bool; }

std::optional<ShapeTable> parse_shapes(PyObject* object) {
    if (object == Py_None) {
        return std::nullopt;
    }
    PyObject* ops = nullptr;
    PyObject* results = nullptr;
    PyObject* lines = nullptr;
    if (!PyArg_ParseTuple(
            object, "O!O!O!", &PyTuple_Type, &ops, &PyTuple_Type, &results, &PyTuple_Type, &lines)) {
        throw_python_error();
    }
    ShapeTable table;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(ops); ++i) {
        const auto op = parse_numbers<int64_t>(PyTuple_GET_ITEM(ops, i));
        table.ops.push_back({static_cast<SizeCode>(op.at(0)), op.at(1), op.at(2), op.at(3)});
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(results); ++i) {
        table.results.push_back(parse_numbers<size_t>(PyTuple_GET_ITEM(results, i)));
        table.lines.push_back(parse_numbers<int>(PyTuple_GET_ITEM(lines, i)));
    }
    return table;
}

Cut parse_cut(PyObject* object) {
    PyObject* made = nullptr;
    PyObject* kinds = nullptr;
    PyObject* steps = nullptr;
    PyObject* results = nullptr;
    if (!PyArg_ParseTuple(
            object, "O!O!O!O!", &PyTuple_Type, &made, &PyTuple_Type, &kinds, &PyTuple_Type, &steps, &PyTuple_Type,
            &results)) {
        throw_python_error();
    }
    Cut cut{*parse_shapes(made), {}, {}, parse_numbers<size_t>(results), {}};
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(kinds); ++i) {
        const char* const kind = PyUnicode_AsUTF8(PyTuple_GET_ITEM(kinds, i));
        if (kind == nullptr) {
            throw_python_error();
        }
        cut.kinds.push_back(parse_kind(kind));
    }
    size_t part = 0;
    for (Py_ssize_t k = 0; k < PyTuple_GET_SIZE(steps); ++k) {
        const char* kind = nullptr;
        PyObject* step = nullptr;
        if (!PyArg_ParseTuple(PyTuple_GET_ITEM(steps, k), "sO!", &kind, &PyTuple_Type, &step)) {
            throw_python_error();
        }
        if (std::string_view(kind) == "multiply") {
            cut.steps.emplace_back(parse_product(step));
        } else {
            cut.steps.emplace_back(parse_kernel(step, part++));
        }
    }
    find_spent(cut);
    return cut;
}

}  // namespace ksc

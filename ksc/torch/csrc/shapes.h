// The sizes of a tensor kernel's results: the table of ksc/ir/sizes.py, and what each derivation makes of it.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include <c10/core/SymInt.h>
#include <c10/util/ArrayRef.h>
#include <c10/util/SmallVector.h>

namespace ksc {

class Operator;

enum class SizeCode : uint8_t {
    Const, Size, Value, Add, Sub, Mul, Idiv, Imod, Min, Max, Eq, Ne, Lt, Lte, Gt, Gte, And, Or, Not, Select
};

struct SizeOp {
    SizeCode code;
    int64_t a, b, c;
};

struct ShapeTable {
    std::vector<SizeOp> ops;
    std::vector<std::vector<size_t>> results;  // for each result, the ops that give its sizes
    std::vector<std::vector<int>> lines;       // and the lines of the user's file where they arise
};

template <class Int>
using Dims = c10::SmallVector<Int, 5>;

template <class Int>
using AllDims = c10::SmallVector<Dims<Int>, 6>;

// The arguments of a call as far as sizes go: their sizes, and the values of those that are numbers.
template <class Int>
struct ShapeArgs {
    AllDims<Int> sizes;
    Dims<Int> values;
};

// An argument or a seed that does not fit: `arg` is its position.
struct Misfit {
    size_t arg;
    std::string expected;
};

// The sizes of the results of a derivation. Raises the KernelRuntimeError of a size that is negative or overflows.
template <class Int>
AllDims<Int> result_sizes(const Operator& op, const ShapeArgs<Int>& args);

// The sizes that a table of its own says for these arguments. Throws ks::size_failure where one overflows or is negative.
AllDims<int64_t> table_sizes(const ShapeTable& table, const ShapeArgs<int64_t>& args);

// The line of the user's file at which the shape of a result arises; 0 where none is known.
int line_of_result(const Operator& op, size_t result);

// The first argument whose rank or sizes are not those that the operator takes; seeds have the sizes of their owners.
template <class Int>
std::optional<Misfit> find_misfit(const Operator& op, const ShapeArgs<Int>& args);

}  // namespace ksc

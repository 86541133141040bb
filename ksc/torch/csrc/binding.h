// One way of calling an operator without the dispatcher, and the arguments of such a call.
#pragma once

#include <Python.h>

#include <cstdint>
#include <vector>

#include <c10/util/SmallVector.h>

#include "elementwise.h"
#include "operator.h"
#include "tensors.h"

namespace ksc {

// How much work is worth giving up the GIL for.
inline constexpr int64_t kReleaseGilAt = 2048;

enum class Lift : uint8_t { Broadcast, Same, Scalar, Tensor };
enum class Mode : uint8_t { Plain, Cotangents, ValueAndCotangents };

// What a FastCall is bound to.
struct Binding {
    Operator* op;
    Mode mode;
    Lift lift;
    bool plain_only;            // leave calls that need autograd to __call__ too
    size_t primal_count;        // how many of the arguments are the function's own
    std::vector<bool> shared;   // of those, the ones that are one value for all lanes
    std::vector<int> like;      // of the others, the argument that gives the shape, or -1 for the full shape
};

struct Parsed {
    Tensors args;
    c10::SmallVector<double, 6> floats;  // the values of number arguments, in order
    c10::SmallVector<int64_t, 6> integers;
    c10::SmallVector<Kind, 6> kinds;
    Promotion promotion;
    bool needs_autograd = false;
    int64_t numel = 1;
    int64_t dimensions = 0;  // of the arguments of an elementwise operator
};

// Reads a call's flat arguments; false where __call__ has to look at them more closely. `any_integers` says that the
// dtypes of integer tensors were looked at.
bool parse(const Binding& binding, PyObject* const* objects, bool any_integers, Parsed& parsed);

// A number as a kernel reads it.
Number store(Kind kind, at::ScalarType dtype, double value, int64_t integer);

}  // namespace ksc

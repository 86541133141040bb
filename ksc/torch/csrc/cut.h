// Programs cut at their products of matrices (ksc/codegen/cuda/cut.py): PyTorch's library multiplies, and kernels do what lies in
// between.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include "elementwise.h"
#include "shapes.h"

namespace ksc {

// Values are counted from the operator's arguments on; those that steps make follow.
struct CutMatrix {
    size_t value;
    bool transposed;            // the last two dimensions are to change places
    std::vector<size_t> batch;  // which of the product's leading dimensions its own are
};

struct CutProduct {
    CutMatrix left, right;
    size_t result;
};

struct CutArgument {
    size_t value;
    int64_t dim;  // of which it is the size, or -1 where it is the value itself
};

struct CutKernel {
    size_t part;  // its position among the kernels
    std::vector<CutArgument> args;
    std::vector<size_t> results;
};

using CutStep = std::variant<CutProduct, CutKernel>;

struct Cut {
    ShapeTable made;  // the sizes of what steps make; and then for each condition whether it holds
    std::vector<Kind> kinds;  // of what steps make
    std::vector<CutStep> steps;
    std::vector<size_t> results;
    std::vector<std::vector<size_t>> spent;  // for each step the values that nobody reads after it
};

// Fills in what nobody reads any more after each step.
void find_spent(Cut& cut);

// The results of a call on an accelerator, where its products are for the library: large enough, or asked for by
// KSC_CUDA_PRODUCTS=library; never with =grid, nor where PyTorch is to be deterministic. Else nothing was done.
std::optional<Tensors> run_cut(
    Operator& op,
    c10::Device device,
    const Tensors& args,
    const Number* numbers,
    const ShapeArgs<int64_t>& shape,
    const AllDims<int64_t>& results,
    at::ScalarType dtype);

}  // namespace ksc

// Running a kernel over the lanes of tensors.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/stack.h>
#include <c10/core/DispatchKeySet.h>
#include <c10/util/ArrayRef.h>
#include <c10/util/SmallVector.h>

#include "operator.h"

namespace ksc {

using Tensors = c10::SmallVector<at::Tensor, 6>;

// PyTorch's promotion of float arguments: those with dimensions decide, else those without, else the default dtype.
class Promotion {
  public:
    // Mapped dimensions of a tensor kernel's argument do not count. Raises a TypeError for a tensor that is not of a
    // supported float dtype.
    void add(const Operator& op, size_t arg, const at::Tensor& tensor);
    at::ScalarType dtype() const;

  private:
    at::ScalarType with_dimensions_ = at::ScalarType::Undefined;
    at::ScalarType without_ = at::ScalarType::Undefined;
};

// The dtype that `op` computes in for these arguments.
at::ScalarType promoted_dtype(const Operator& op, c10::ArrayRef<at::Tensor> args);

// The dtype of a result or argument of a kind where Floats are of `float_dtype`.
at::ScalarType dtype_of(Kind kind, at::ScalarType float_dtype);

// The arguments in the dtypes that the kernel reads. Raises a TypeError for one that is not of its kind.
Tensors converted(const Operator& op, c10::ArrayRef<at::Tensor> args, at::ScalarType dtype);

// A Python number among the arguments: one value that all lanes share, in the storage that the kernel reads.
struct Number {
    alignas(8) char bytes[8];
};

// Runs `op` over the broadcast shape of its arguments. An undefined tensor stands for the next of `numbers`,
// stored in the promoted dtype. Results have the layout of the first argument of full shape.
Tensors run_elementwise(Operator& op, c10::ArrayRef<at::Tensor> args, at::ScalarType dtype, Number* numbers = nullptr);

void elementwise_kernel(Operator& op, c10::DispatchKeySet keys, torch::jit::Stack* stack);

// The arguments of a boxed call, taken off the stack; numbers become tensors.
Tensors pop_args(const Operator& op, torch::jit::Stack* stack);

void push_results(torch::jit::Stack* stack, Tensors&& results);

}  // namespace ksc

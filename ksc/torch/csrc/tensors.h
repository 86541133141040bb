// Running a kernel on whole tensors.
#pragma once

#include "elementwise.h"
#include "shapes.h"

namespace ksc {

// Runs `op` on its arguments; an undefined tensor stands for the next of `numbers`, stored in the promoted dtype. Results
// are contiguous. Raises a ValueError where the arguments do not have the sizes that the operator takes.
Tensors run_tensors(Operator& op, c10::ArrayRef<at::Tensor> args, at::ScalarType dtype, Number* numbers = nullptr);

// What sizes depend on, for real arguments.
ShapeArgs<int64_t> shape_args(const Operator& op, c10::ArrayRef<at::Tensor> args, const Number* numbers);

// Raises a ValueError that names the argument.
[[noreturn]] void raise_misfit(const Operator& op, const Misfit& misfit, const std::string& given);

void tensor_kernel(Operator& op, c10::DispatchKeySet keys, torch::jit::Stack* stack);

// Runs an operator of either sort.
inline Tensors run(Operator& op, c10::ArrayRef<at::Tensor> args, at::ScalarType dtype, Number* numbers = nullptr) {
    return op.family().takes_tensors() ? run_tensors(op, args, dtype, numbers)
                                       : run_elementwise(op, args, dtype, numbers);
}

}  // namespace ksc

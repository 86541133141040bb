// The Autograd kernel: what PyTorch's generated code does for its own operators, for any declared one.
#pragma once

#include <ATen/core/stack.h>
#include <c10/core/DispatchKeySet.h>

#include "elementwise.h"
#include "operator.h"

namespace ksc {

void autograd_kernel(Operator& op, c10::DispatchKeySet keys, torch::jit::Stack* stack);

// The same for plain CPU tensors, without a way through the dispatcher.
Tensors run_with_autograd(Operator& op, Tensors args);

}  // namespace ksc

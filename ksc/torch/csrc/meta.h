// The shapes, dtypes and strides of results, for meta and fake tensors.
#pragma once

#include <ATen/core/stack.h>
#include <c10/core/DispatchKeySet.h>

#include "operator.h"

namespace ksc {

// Reads sizes as SymInts only, so that shapes stay symbolic while they are traced.
void meta_kernel(Operator& op, c10::DispatchKeySet keys, torch::jit::Stack* stack);

// The same for a tensor kernel: its results have the sizes that its table tells.
void tensor_meta_kernel(Operator& op, c10::DispatchKeySet keys, torch::jit::Stack* stack);

}  // namespace ksc

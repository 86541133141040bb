// The batching rule for torch.func.vmap.
#pragma once

#include <ATen/core/stack.h>
#include <c10/core/DispatchKeySet.h>

#include "operator.h"

namespace ksc {

// A lifted function broadcasts, so a batch is one more leading dimension.
void batching_kernel(Operator& op, c10::DispatchKeySet keys, torch::jit::Stack* stack);

// The same for a tensor kernel: it calls the derivation that maps over the batched arguments.
void tensor_batching_kernel(Operator& op, c10::DispatchKeySet keys, torch::jit::Stack* stack);

}  // namespace ksc

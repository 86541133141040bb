// Running a kernel on an accelerator, through what PyTorch has for all of them: no header of CUDA is included.
#pragma once

#include <optional>

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>
#include <c10/util/FunctionRef.h>

#include <ks/cuda/device.h>

#include "elementwise.h"
#include "operator.h"

namespace ksc {

// Where the arguments are, if not on the CPU. There a tensor without dimensions may stay, as with PyTorch's own operators.
// Raises a RuntimeError where they are on several devices.
std::optional<c10::Device> accelerator_of(const Operator& op, c10::ArrayRef<at::Tensor> args);

// Puts an elementwise kernel on the current stream. An undefined argument stands for the next of `numbers`. Raises what the
// kernel failed with where the host waits for it, or where an earlier one had failed.
void launch_elementwise(
    Operator& op,
    c10::Device device,
    const Tensors& results,
    const Tensors& args,
    const Number* numbers,
    at::ScalarType dtype);

// An argument of a kernel of tensors: a tensor on the device, or where there is none the 8 bytes of a number that the host knows.
struct LaunchArgument {
    const at::Tensor* tensor;
    int64_t known;
    Kind kind;
};

// An argument as launch_elementwise takes it.
LaunchArgument launch_argument(const at::Tensor& arg, Kind kind, const Number*& numbers);

// A kernel, the wide one for tensors of any size.
using Kernels = c10::function_ref<const ks_cuda_kernel*(bool wide)>;

// Puts a kernel of tensors on the current stream, as launch_elementwise does; `like` is what tells launches of the operator
// apart, beyond the arguments.
void launch_kernel(
    Operator& op,
    Kernels kernels,
    c10::Device device,
    const Tensors& results,
    c10::ArrayRef<LaunchArgument> args,
    KnownScratch::Key like);

// The same of the operator's own kernel, of arguments as launch_elementwise takes them.
void launch_tensors(
    Operator& op,
    c10::Device device,
    const Tensors& results,
    const Tensors& args,
    const Number* numbers,
    at::ScalarType dtype);

}  // namespace ksc

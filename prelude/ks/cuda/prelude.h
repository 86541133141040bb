// All that generated CUDA kernels include.
#ifndef KS_CUDA_PRELUDE_H
#define KS_CUDA_PRELUDE_H

#define KS_CUDA

#include <cuda_runtime.h>

// What stands for other things where a kernel runs on a CPU, to be tested.
#ifndef KS_SHARED
#define KS_SHARED(type, name, count) __shared__ type name[count]
#endif
#ifndef KS_NEAR
#define KS_NEAR(name, bytes) alignas(::ks::alignment) char name[bytes]
#endif
#ifndef KS_LEAVE_THREAD
#define KS_LEAVE_THREAD() \
    asm volatile("exit;"); \
    __builtin_unreachable()
#endif
#ifndef KS_TRAP
// What fails an assert, which <cassert> declares only where there are asserts.
extern "C" __host__ __device__ void __assert_fail(const char *, const char *, unsigned, const char *) noexcept;
#define KS_TRAP(message, file, line) __assert_fail(message, file, static_cast<unsigned>(line), "a kernel of Knossos")
#endif
#ifndef KS_UNCHECKED
#define KS_UNCHECKED
#endif
// Where a thread's piece of scratch memory is, bytes of nobody behind each, and from where on there are no pieces any more.
#ifndef KS_PIECE
#define KS_PIECE(place, bytes)
#define KS_RELEASED(place)
#define KS_MARGIN 0
#endif

#include "ks/half.h"

// What the host launches, and what the device runs: a compiler may be given one half of a source alone.
#ifndef __CUDACC_RTC__
#include "ks/cuda/enter.h"
#endif
#ifndef KS_HOST_HALF
#include "ks/cuda/bulk.h"
#include "ks/cuda/device.h"
#include "ks/cuda/entry.h"
#include "ks/cuda/indices.h"
#include "ks/cuda/map.h"
#include "ks/cuda/multiply.h"
#include "ks/cuda/parallel.h"
#include "ks/cuda/runtime.h"
#include "ks/cuda/sized.h"
#include "ks/limits.h"
#include "ks/macros.h"
#include "ks/operand.h"
#include "ks/scalar.h"
#include "ks/sums.h"
#include "ks/tape.h"
#include "ks/tensor.h"
#endif

#endif

// What differs between the host and the device.
#ifndef KS_MACROS_H
#define KS_MACROS_H

// KS_FN is for functions of numbers, KS_KERNEL_FN for those that only kernels call. KS_CUDA stands for kernels of a GPU, whoever
// compiles them: ks/cuda/prelude.h then includes its own runtime and bulk operations before what needs them.
#ifdef __CUDACC__
#define KS_FN __host__ __device__ inline
#else
#define KS_FN inline
#endif
#ifdef KS_CUDA
#define KS_KERNEL_FN __device__ inline
#define KS_NOINLINE __device__ __attribute__((noinline))
#else
#define KS_KERNEL_FN inline
#ifdef __clang__
#define KS_NOINLINE __attribute__((noinline))
#else
#define KS_NOINLINE __attribute__((noinline, noclone))  // nor once more for arguments that are known
#endif
#endif

// Before a function that runs only where a kernel is about to stop.
#define KS_COLD __attribute__((cold, noinline))

// After the parameters of a lambda whose loops are to keep what it captures in registers: of a body that stays a function
// of its own they read it again in each iteration, and GCC gathers elements at addresses that it cannot follow.
#ifdef __OPTIMIZE__
#define KS_INLINED __attribute__((always_inline))
#else
#define KS_INLINED
#endif

#ifdef __clang__
// A loop that is not vectorised is no reason to complain; clang does so where the loop was inlined, which no pair of push
// and pop encloses.
#pragma clang diagnostic ignored "-Wpass-failed"
#endif

// Before a loop that sums, or finds the largest or smallest number: the terms may be added in several lanes, each in order, and the lanes at the end. The order
// depends on nothing but the number of terms and the instruction set, so results repeat; but it is not that of the text.
#if defined(KS_SUMS_IN_LANES) && !defined(__CUDACC__)
#define KS_PRAGMA(text) _Pragma(#text)
#define KS_SUM(...) KS_PRAGMA(omp simd reduction(+ : __VA_ARGS__))
#define KS_MAX(...) KS_PRAGMA(omp simd reduction(ks::largest : __VA_ARGS__))
#define KS_MIN(...) KS_PRAGMA(omp simd reduction(ks::smallest : __VA_ARGS__))
// Before a loop whose iterations do not depend on each other and take a few steps each: they run side by side.
#define KS_LANES KS_PRAGMA(omp simd)
// The same, where an iteration may set a flag for all.
#define KS_LANES_OR(flag) KS_PRAGMA(omp simd reduction(| : flag))
#else
#define KS_LANES
#define KS_LANES_OR(flag)
#define KS_SUM(...)
#define KS_MAX(...)
#define KS_MIN(...)
#endif

// Before a short loop in the body of one in lanes, which compilers can only put side by side without loops inside, or of one whose
// elements a thread of a GPU is to hold in registers.
#if defined(__CUDACC__)
#define KS_UNROLLED _Pragma("unroll")
#else
#define KS_UNROLLED _Pragma("GCC unroll 64")
#endif

// Before a loop whose iterations do not meet in memory.
#if defined(__CUDACC__)
#define KS_APART
#elif defined(__clang__)
#define KS_APART _Pragma("clang loop vectorize(assume_safety)")
#else
#define KS_APART _Pragma("GCC ivdep")
#endif

#endif

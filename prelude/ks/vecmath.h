// The C library's mathematics, declared so that a plain loop over it vectorises.
//
// glibc ships vector versions of these functions (libmvec, at most 4 ULP) for x86; GCC calls them from a loop under
// -O3 -fno-math-errno -fno-trapping-math where the declaration says so, and the kernel is linked with -lmvec. Elsewhere
// the same functions are called one by one.
#ifndef KS_VECMATH_H
#define KS_VECMATH_H

#include "ks/maths.h"

#if defined(__GNUC__) && !defined(__clang__) && !defined(__CUDACC__) && defined(__x86_64__) && defined(__GLIBC__) && \
    !defined(KS_NO_LIBMVEC)
#if __GLIBC_PREREQ(2, 35)

#define KS_SIMD __attribute__((simd("notinbranch"), const))
#define KS_VECTOR_1(name)                      \
    KS_SIMD double name(double) noexcept;      \
    KS_SIMD float name##f(float) noexcept;
#define KS_VECTOR_2(name)                              \
    KS_SIMD double name(double, double) noexcept;      \
    KS_SIMD float name##f(float, float) noexcept;

extern "C" {
KS_VECTOR_1(exp)
KS_VECTOR_1(exp2)
KS_VECTOR_1(expm1)
KS_VECTOR_1(log)
KS_VECTOR_1(log2)
KS_VECTOR_1(log10)
KS_VECTOR_1(log1p)
// GCC would join the sine and the cosine of one number in a call of sincos, which it cannot vectorise, if it knew them.
KS_SIMD double ks_sin(double) noexcept __asm__("sin");
KS_SIMD float ks_sinf(float) noexcept __asm__("sinf");
KS_SIMD double ks_cos(double) noexcept __asm__("cos");
KS_SIMD float ks_cosf(float) noexcept __asm__("cosf");
#define KS_SIN ks_sin
#define KS_COS ks_cos
KS_VECTOR_1(tan)
KS_VECTOR_1(asin)
KS_VECTOR_1(acos)
KS_VECTOR_1(atan)
KS_VECTOR_1(sinh)
KS_VECTOR_1(cosh)
KS_VECTOR_1(tanh)
KS_VECTOR_1(asinh)
KS_VECTOR_1(acosh)
KS_VECTOR_1(atanh)
KS_VECTOR_1(cbrt)
KS_VECTOR_1(erf)
KS_VECTOR_1(erfc)
KS_VECTOR_2(pow)
KS_VECTOR_2(atan2)
KS_VECTOR_2(hypot)
}

#undef KS_VECTOR_1
#undef KS_VECTOR_2
#undef KS_SIMD

#endif
#endif

#ifndef KS_SIN
#define KS_SIN sin
#define KS_COS cos
#endif

#endif

// The functions of <math.h>, without the special functions that <cmath> of the GNU library has since C++17: reading those takes
// a fifth of the time of compiling a small kernel.
#ifndef KS_MATHS_H
#define KS_MATHS_H

#include <cstddef>

#ifdef _GLIBCXX_USE_STD_SPEC_FUNCS
#pragma push_macro("_GLIBCXX_USE_STD_SPEC_FUNCS")
#undef _GLIBCXX_USE_STD_SPEC_FUNCS
#include <cmath>
#pragma pop_macro("_GLIBCXX_USE_STD_SPEC_FUNCS")
#else
#include <cmath>
#endif

#endif

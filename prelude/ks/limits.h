// The two numbers that C++ has no literal for.
#ifndef KS_LIMITS_H
#define KS_LIMITS_H

namespace ks {

template <class T> constexpr T inf = static_cast<T>(__builtin_huge_val());
template <class T> constexpr T nan = static_cast<T>(__builtin_nan(""));

}  // namespace ks

#endif

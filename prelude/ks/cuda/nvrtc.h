// What the prelude uses of the standard library's headers, for NVRTC, which has none: it is given this in the place of each.
#ifndef KS_CUDA_NVRTC_H
#define KS_CUDA_NVRTC_H

using int8_t = signed char;
using int16_t = short;
using int32_t = int;
using int64_t = long;
using uint8_t = unsigned char;
using uint16_t = unsigned short;
using uint32_t = unsigned;
using uint64_t = unsigned long;
using uintptr_t = unsigned long;
using size_t = decltype(sizeof(0));
static_assert(sizeof(int64_t) == 8 && sizeof(void *) == 8, "as on Linux");

#define INT32_MAX 2147483647
#define INT64_MAX 9223372036854775807L
#define INT64_MIN (-INT64_MAX - 1)
#define UINT32_MAX 4294967295u

// What GCC's compilers have built in.
#define __builtin_memcpy memcpy
#define __builtin_fabsf fabsf
#define __builtin_huge_val() __builtin_bit_cast(double, 0x7ff0000000000000)
#define __builtin_nan(text) __builtin_bit_cast(double, 0x7ff8000000000000)
#define INFINITY static_cast<float>(__builtin_huge_val())

namespace std {

template <class T, T value_> struct integral_constant {
    static constexpr T value = value_;
};
using true_type = integral_constant<bool, true>;
using false_type = integral_constant<bool, false>;

template <class T, class U> constexpr bool is_same_v = false;
template <class T> constexpr bool is_same_v<T, T> = true;

template <class T> constexpr bool is_arithmetic_v = false;
template <> constexpr bool is_arithmetic_v<bool> = true;
template <> constexpr bool is_arithmetic_v<int64_t> = true;
template <> constexpr bool is_arithmetic_v<float> = true;
template <> constexpr bool is_arithmetic_v<double> = true;

template <bool condition, class T, class U> struct conditional {
    using type = T;
};
template <class T, class U> struct conditional<false, T, U> {
    using type = U;
};
template <bool condition, class T, class U> using conditional_t = typename conditional<condition, T, U>::type;

template <class T> struct type_identity {
    using type = T;
};
template <class T> using type_identity_t = typename type_identity<T>::type;

template <class T, T... k> struct integer_sequence {};
template <class T, size_t left, T... k> struct counted_sequence : counted_sequence<T, left - 1, T(left - 1), k...> {};
template <class T, T... k> struct counted_sequence<T, 0, k...> {
    using type = integer_sequence<T, k...>;
};
template <class T, T n> using make_integer_sequence = typename counted_sequence<T, n>::type;
template <size_t... k> using index_sequence = integer_sequence<size_t, k...>;
template <size_t n> using make_index_sequence = make_integer_sequence<size_t, n>;
template <class... T> using index_sequence_for = make_index_sequence<sizeof...(T)>;

}  // namespace std

#endif

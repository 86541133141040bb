// Kernels for the tests of the torch side, written by hand to the contract of ks/runtime.h. Derivatives come from dual
// numbers, nested for higher orders, so that they owe nothing to the compiler.
#include <cmath>
#include <cstdint>
#include <cstring>

#include <ks/runtime.h>

template <class T>
struct Dual {
    T value, dot;
    Dual() : value(0), dot(0) {}
    Dual(double v) : value(v), dot(0) {}
    Dual(T v, T d) : value(v), dot(d) {}
};
template <> inline Dual<double>::Dual(double v) : value(v), dot(0) {}

inline double primal(double x) { return x; }
inline double primal(float x) { return x; }
template <class T> double primal(const Dual<T>& x) { return primal(x.value); }

using std::cos;
using std::sin;
template <class T> Dual<T> operator+(Dual<T> a, Dual<T> b) { return {a.value + b.value, a.dot + b.dot}; }
template <class T> Dual<T> operator-(Dual<T> a, Dual<T> b) { return {a.value - b.value, a.dot - b.dot}; }
template <class T> Dual<T> operator*(Dual<T> a, Dual<T> b) {
    return {a.value * b.value, a.dot * b.value + a.value * b.dot};
}
template <class T> Dual<T> operator/(Dual<T> a, Dual<T> b) {
    return {a.value / b.value, (a.dot - a.value / b.value * b.dot) / b.value};
}
template <class T> Dual<T> sin(Dual<T> a) { return {sin(a.value), cos(a.value) * a.dot}; }
template <class T> Dual<T> cos(Dual<T> a) { return {cos(a.value), T(-1.0) * sin(a.value) * a.dot}; }

// A function has args and results, both counts, and eval(const T*, T*).
struct square {
    static constexpr int args = 1, results = 1;
    template <class T> static void eval(const T* x, T* y) { y[0] = x[0] * x[0]; }
};
struct relu3 {
    static constexpr int args = 1, results = 1;
    template <class T> static void eval(const T* x, T* y) {
        const double at = primal(x[0]);
        y[0] = at < 0 ? T(0.0) : at < 1 ? T(1.0 / 3.0) * x[0] * x[0] * x[0] : x[0] - T(2.0 / 3.0);
    }
};
struct pair {
    static constexpr int args = 2, results = 2;
    template <class T> static void eval(const T* x, T* y) {
        y[0] = x[0] * x[1];
        y[1] = x[0] / x[1] + sin(x[0]);
    }
};

constexpr int count(int seeds, int n) {
    int found = 0;
    for (int i = 0; i < n; ++i) found += (seeds >> i) & 1;
    return found;
}

// Bit i of seeds: seed i is an argument of the derivative, and not zero.
template <class F, int seeds = -1>
struct jvp {
    static constexpr int args = F::args + count(seeds, F::args), results = F::results;
    template <class T> static void eval(const T* x, T* y) {
        Dual<T> in[F::args], out[F::results];
        int next = F::args;
        for (int i = 0; i < F::args; ++i) in[i] = {x[i], (seeds >> i) & 1 ? x[next++] : T(0.0)};
        F::eval(in, out);
        for (int r = 0; r < F::results; ++r) y[r] = out[r].dot;
    }
};
template <class F, int seeds = -1, bool with_value = false>
struct vjp {
    static constexpr int args = F::args + count(seeds, F::results);
    static constexpr int results = F::args + (with_value ? F::results : 0);
    template <class T> static void eval(const T* x, T* y) {
        if (with_value) {
            F::eval(x, y);
            y += F::results;
        }
        for (int i = 0; i < F::args; ++i) {
            Dual<T> in[F::args], out[F::results];
            for (int k = 0; k < F::args; ++k) in[k] = {x[k], T(k == i ? 1.0 : 0.0)};
            F::eval(in, out);
            y[i] = T(0.0);
            int next = F::args;
            for (int r = 0; r < F::results; ++r)
                if ((seeds >> r) & 1) y[i] = y[i] + x[next++] * out[r].dot;
        }
    }
};

struct bfloat16 {
    uint16_t bits;
    bfloat16(float x) {
        uint32_t all;
        std::memcpy(&all, &x, 4);
        bits = uint16_t((all + 0x7fff + ((all >> 16) & 1)) >> 16);
    }
    operator float() const {
        const uint32_t all = uint32_t(bits) << 16;
        float x;
        std::memcpy(&x, &all, 4);
        return x;
    }
};

template <class F, class Storage, class Compute>
int lanes(char* const* data, const int64_t* strides, int64_t n) {
    for (int64_t lane = 0; lane < n; ++lane) {
        Compute x[F::args], y[F::results];
        for (int k = 0; k < F::args; ++k)
            x[k] = *reinterpret_cast<const Storage*>(data[F::results + k] + lane * strides[F::results + k]);
        F::eval(x, y);
        for (int r = 0; r < F::results; ++r)
            *reinterpret_cast<Storage*>(data[r] + lane * strides[r]) = Storage(y[r]);
    }
    return 0;
}

#define ENTRY(name, F, suffix, Storage, Compute)                                                          \
    extern "C" int name##_##suffix(const ks_runtime*, char* const* d, const int64_t* s, int64_t n) {      \
        return lanes<F, Storage, Compute>(d, s, n);                                                       \
    }
#define ENTRIES(name, ...)                                          \
    using name##_function = __VA_ARGS__;                            \
    ENTRY(name, name##_function, float32, float, float)             \
    ENTRY(name, name##_function, float64, double, double)           \
    ENTRY(name, name##_function, float16, _Float16, float)          \
    ENTRY(name, name##_function, bfloat16, bfloat16, float)
#define DERIVATIONS(F)                  \
    ENTRIES(F##_, F)                    \
    ENTRIES(F##_v, vjp<F>)              \
    ENTRIES(F##_j, jvp<F>)              \
    ENTRIES(F##_b, vjp<F, -1, true>)    \
    ENTRIES(F##_vv, vjp<vjp<F>>)        \
    ENTRIES(F##_vj, jvp<vjp<F>>)        \
    ENTRIES(F##_jv, vjp<jvp<F>>)        \
    ENTRIES(F##_jj, jvp<jvp<F>>)        \
    ENTRIES(F##_vvv, vjp<vjp<vjp<F>>>)

DERIVATIONS(square)
DERIVATIONS(relu3)
DERIVATIONS(pair)

// reciprocal_or_fail(x): stops with an error at line 7 where x is zero.
extern "C" int failing__float32(const ks_runtime* rt, char* const* data, const int64_t* strides, int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
        const float x = *reinterpret_cast<const float*>(data[1] + i * strides[1]);
        if (x == 0.0f) {
            rt->error(rt, KS_ERROR_ASSERT, 7, "x is zero");
            return 1;
        }
        *reinterpret_cast<float*>(data[0] + i * strides[0]) = 1.0f / x;
    }
    return 0;
}

// counting(x): counts lanes, and writes only the last of each range, so that the rest of a huge result costs no memory.
extern "C" int64_t lanes_seen = 0;
extern "C" int counting__float32(const ks_runtime*, char* const* data, const int64_t* strides, int64_t n) {
    __atomic_fetch_add(&lanes_seen, n, __ATOMIC_RELAXED);
    const float x = *reinterpret_cast<const float*>(data[1] + (n - 1) * strides[1]);
    *reinterpret_cast<float*>(data[0] + (n - 1) * strides[0]) = x;
    return 0;
}

// scratch(x): the sum of a table in the arena, filled from x, checks that memory of the arena is private to the call.
extern "C" int scratch__float32(const ks_runtime* rt, char* const* data, const int64_t* strides, int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
        const float x = *reinterpret_cast<const float*>(data[1] + i * strides[1]);
        const size_t mark = rt->mark(rt);
        const int length = 1000 + int(i % 7) * 5000;
        auto* table = static_cast<float*>(rt->alloc(rt, sizeof(float) * length));
        if (table == nullptr || reinterpret_cast<uintptr_t>(table) % 64 != 0) {
            rt->error(rt, KS_ERROR_MEMORY, 1, "the arena gave no aligned memory");
            return 1;
        }
        for (int k = 0; k < length; ++k) table[k] = x;
        float largest = table[0];
        for (int k = 0; k < length; ++k) largest = table[k] > largest ? table[k] : largest;
        rt->release(rt, mark);
        *reinterpret_cast<float*>(data[0] + i * strides[0]) = largest;
    }
    return 0;
}

// mixed(x: float, n: int, up: bool) -> (float, int, bool): (x * n or x - n, n + 1, not up).
template <class T>
int mixed(char* const* data, const int64_t* strides, int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
        const T x = *reinterpret_cast<const T*>(data[3] + i * strides[3]);
        const int64_t k = *reinterpret_cast<const int64_t*>(data[4] + i * strides[4]);
        const bool up = *reinterpret_cast<const bool*>(data[5] + i * strides[5]);
        *reinterpret_cast<T*>(data[0] + i * strides[0]) = up ? x * T(k) : x - T(k);
        *reinterpret_cast<int64_t*>(data[1] + i * strides[1]) = k + 1;
        *reinterpret_cast<bool*>(data[2] + i * strides[2]) = !up;
    }
    return 0;
}
template <class T>
int mixed_v(char* const* data, const int64_t* strides, int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
        const int64_t k = *reinterpret_cast<const int64_t*>(data[2] + i * strides[2]);
        const bool up = *reinterpret_cast<const bool*>(data[3] + i * strides[3]);
        const T seed = *reinterpret_cast<const T*>(data[4] + i * strides[4]);
        *reinterpret_cast<T*>(data[0] + i * strides[0]) = up ? seed * T(k) : seed;
    }
    return 0;
}
#define MIXED(suffix, T)                                                                                          \
    extern "C" int mixed__##suffix(const ks_runtime*, char* const* d, const int64_t* s, int64_t n) {              \
        return mixed<T>(d, s, n);                                                                                 \
    }                                                                                                             \
    extern "C" int mixed_v_##suffix(const ks_runtime*, char* const* d, const int64_t* s, int64_t n) {             \
        return mixed_v<T>(d, s, n);                                                                               \
    }                                                                                                             \
    extern "C" int mixed_j_##suffix(const ks_runtime*, char* const* d, const int64_t* s, int64_t n) {             \
        return mixed_v<T>(d, s, n);                                                                               \
    }
MIXED(float32, float)
MIXED(float64, double)

// quotient: pair with derivatives that leave zero seeds out.
ENTRIES(quotient_, pair)
ENTRIES(quotient_v, vjp<pair>)
ENTRIES(quotient_v10, vjp<pair, 1>)
ENTRIES(quotient_v01, vjp<pair, 2>)
ENTRIES(quotient_j, jvp<pair>)
ENTRIES(quotient_j10, jvp<pair, 1>)
ENTRIES(quotient_j01, jvp<pair, 2>)

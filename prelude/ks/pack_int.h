// Integers of iterations side by side, and what concerns iterations that part ways: masks, and choices by them.
#ifndef KS_PACK_INT_H
#define KS_PACK_INT_H

#include <cstdint>

#include "ks/arena.h"
#include "ks/integer.h"
#include "ks/pack.h"

#ifndef __CUDACC__

namespace ks {

// An integer for each number of a pack<T>.
template <class T, int count = 4> struct pack_int {
    static constexpr int64_t lanes = pack<T, count>::lanes;
    typedef int64_t number;
    typedef int64_t part __attribute__((vector_size(8 * pack<T, count>::width)));

    part parts[count];

    pack_int() = default;
    pack_int(const pack_int &other) { *this = other; }
    pack_int &operator=(const pack_int &other) {
        each_part<count>([&](int k) KS_INLINED { parts[k] = other.parts[k]; });
        return *this;
    }
    pack_int(int64_t x) {
        each_part<count>([&](int k) KS_INLINED { parts[k] = x - part{}; });
    }

    static pack_int load(const int64_t *from) {
        pack_int loaded;
        __builtin_memcpy(loaded.parts, from, sizeof loaded.parts);
        return loaded;
    }
    void store(int64_t *to) const { __builtin_memcpy(to, parts, sizeof parts); }

#define KS_PACK_OPERATOR(symbol)                                                                                      \
    friend inline pack_int operator symbol(const pack_int &a, const pack_int &b) {                                    \
        pack_int found;                                                                                               \
        for (int k = 0; k < count; ++k) {                                                                             \
            found.parts[k] = a.parts[k] symbol b.parts[k];                                                            \
        }                                                                                                             \
        return found;                                                                                                 \
    }                                                                                                                 \
    pack_int &operator symbol##=(const pack_int &b) { return *this = *this symbol b; }
    KS_PACK_OPERATOR(+)
    KS_PACK_OPERATOR(-)
    KS_PACK_OPERATOR(*)
    KS_PACK_OPERATOR(&)
    KS_PACK_OPERATOR(|)
    KS_PACK_OPERATOR(^)
#undef KS_PACK_OPERATOR

    pack_int operator-() const { return pack_int(0) - *this; }
    pack_int operator~() const { return *this ^ pack_int(-1); }
    pack_int &operator++() { return *this += 1; }
    pack_int &operator--() { return *this -= 1; }

#define KS_PACK_COMPARISON(symbol)                                                                                    \
    friend inline pack_mask<T, count> operator symbol(const pack_int &a, const pack_int &b) {                         \
        pack_mask<T, count> holds;                                                                                    \
        for (int k = 0; k < count; ++k) {                                                                             \
            holds.parts[k] = __builtin_convertvector(a.parts[k] symbol b.parts[k], typename pack_mask<T, count>::part);\
        }                                                                                                             \
        return holds;                                                                                                 \
    }
    KS_PACK_COMPARISONS(KS_PACK_COMPARISON)
#undef KS_PACK_COMPARISON
};

template <class T, int parts> inline pack_int<T, parts> select(const pack_mask<T, parts> &c, const pack_int<T, parts> &a, const pack_int<T, parts> &b) {
    pack_int<T, parts> chosen;
    for (int k = 0; k < parts; ++k) {
        chosen.parts[k] = __builtin_convertvector(c.parts[k], typename pack_int<T, parts>::part) ? a.parts[k] : b.parts[k];
    }
    return chosen;
}
KS_PACK_SELECT(pack_int, int64_t)

// The truth values that are `a` where `c` holds; each may be one for all.
template <class T> struct given {
    typedef T type;
};
template <class T, int parts>
inline pack_mask<T, parts> select(const pack_mask<T, parts> &c, const typename given<pack_mask<T, parts>>::type &a,
                                  const typename given<pack_mask<T, parts>>::type &b) {
    return (c && a) || (!c && b);
}

// Whether one iteration at least goes on.
template <class T, int parts> inline bool any(const pack_mask<T, parts> &x) {
    uint64_t words[sizeof x / 8], some = 0;
    __builtin_memcpy(words, &x, sizeof words);
    for (const uint64_t word : words) {
        some |= word;
    }
    return some != 0;
}

template <class T, int parts> inline pack<T, parts> to_number(const pack_int<T, parts> &x) {
    pack<T, parts> numbers;
    for (int k = 0; k < parts; ++k) {
        numbers.parts[k] = __builtin_convertvector(x.parts[k], typename pack<T, parts>::part);
    }
    return numbers;
}
template <class T, int parts> inline pack<T, parts> to_number(const pack_mask<T, parts> &x) { return select(x, pack<T, parts>(T(1)), pack<T, parts>(T(0))); }
template <class T, int parts> inline pack_int<T, parts> to_integer(const pack_mask<T, parts> &x) { return select(x, pack_int<T, parts>(1), pack_int<T, parts>(0)); }

// How many iterations go on.
template <class T, int parts> inline int64_t going(const pack_mask<T, parts> &going_on) {
    T numbers[pack<T, parts>::lanes], all = 0;
    to_number(going_on).store(numbers);
    for (const T number : numbers) {
        all += number;
    }
    return static_cast<int64_t>(all);
}

// Leaves a pack in which most wait for few, after more than a few turns: it takes as long as an eighth of its lanes, one
// after the other.
inline void check_worth(double busy, double turns, int64_t lanes) {
    if (turns >= 32.0 && 8.0 * busy < turns * static_cast<double>(lanes)) {
        throw one_by_one();
    }
}

// How often a loop runs whose iterations side by side run so often: the largest of those that go on, at least 0.
template <class T, int parts> inline int64_t most(const pack_mask<T, parts> &going_on, const pack_int<T, parts> &x) {
    int64_t numbers[pack<T, parts>::lanes], largest = 0;
    double busy = 0.0;
    select(going_on, x, 0).store(numbers);
    for (const int64_t number : numbers) {
        largest = number > largest ? number : largest;
        busy += number > 0 ? static_cast<double>(number) : 0.0;
    }
    check_worth(busy, static_cast<double>(largest), pack<T, parts>::lanes);
    return largest;
}

// The turns of a loop that each iteration of those side by side leaves when it likes.
class turns {
  public:
    template <class T, int parts> bool go_on(const pack_mask<T, parts> &going_on) {
        if (!any(going_on)) {
            return false;
        }
        ++count_;
        // Looked at now and then, which must cost next to nothing.
        if ((count_ & (count_ - 1)) == 0) {
            const int64_t now = going(going_on);
            busy_ += 0.25 * static_cast<double>(count_) * static_cast<double>(before_ + now);
            before_ = now;
            check_worth(busy_, static_cast<double>(count_), pack<T, parts>::lanes);
        }
        return true;
    }

  private:
    int64_t count_ = 0;
    int64_t before_ = 0;
    double busy_ = 0.0;
};

// A function of two integers, for all iterations.
template <class T, int parts, class Function> inline pack_int<T, parts> each(const pack_int<T, parts> &x, const pack_int<T, parts> &y, Function function) {
    int64_t given[pack<T, parts>::lanes], other[pack<T, parts>::lanes];
    x.store(given);
    y.store(other);
    for (int k = 0; k < pack<T, parts>::lanes; ++k) {
        given[k] = function(given[k], other[k]);
    }
    return pack_int<T, parts>::load(given);
}
KS_PACK_BINARY(pack_int, int64_t, max)
KS_PACK_BINARY(pack_int, int64_t, min)
KS_PACK_BINARY(pack_int, int64_t, idiv)
KS_PACK_BINARY(pack_int, int64_t, imod)
#undef KS_PACK_BINARY
#undef KS_PACK_SELECT
#undef KS_PACK_COMPARISONS

}  // namespace ks

#endif

#endif

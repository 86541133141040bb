// The outermost loop of a kernel on several threads: ranges of its iterations run at once.
#ifndef KS_PARALLEL_H
#define KS_PARALLEL_H

#include <cfenv>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "ks/arena.h"
#include "ks/bulk.h"
#include "ks/tensor.h"

namespace ks {

// What an addition costs, where an addition for one number of a full register costs 1.
constexpr double work_alone = 16;

// What a thread is started for, at least: this many additions one by one, tens of microseconds.
constexpr double work_per_part = 262144 * work_alone;

// To clear a number that a part has for itself, and to add it up in the end.
constexpr double work_per_shared = work_alone / 2;

// The range of a part. Boundaries are multiples of the lanes of a vector where parts are long, so that the elements left
// over at the end, which the C library may round differently, are the same however many parts there are. Where `lanes`
// iterations run side by side, all parts but the last are made up of such packs.
struct division {
    int64_t count;
    int64_t step;

    division(int64_t n, int parts, int64_t lanes) : count(n), step((n + parts - 1) / parts) {
        if (lanes == 1) {
            step = step >= 1024 ? whole(step, 64) : step;
            return;
        }
        // An iteration that is left over in the end takes about half as long as a pack.
        const int64_t half_packs = 2 * (n / lanes) + n % lanes;
        const int64_t balanced = (half_packs + 2 * parts - 1) / (2 * parts) * lanes;
        step = balanced * (parts - 1) < n ? balanced : whole(step, lanes);
    }
    static int64_t whole(int64_t n, int64_t lanes) { return (n + lanes - 1) / lanes * lanes; }
    int64_t first(int part) const { return part * step < count ? part * step : count; }
    int64_t last(int part) const { return first(part + 1); }
};

// A number that all iterations contribute to, by an operation that is associative but for rounding. The first part goes
// on from what there is, each other one from `neutral`; in the end they are combined in order.
template <class T, class Combine> struct combined_number {
    T &total;
    T neutral;
    Combine combine;
    T *parts = nullptr;

    double size() const { return 1; }
    void divide(runtime &rt, int count) {
        parts = rt.alloc<T>(count);
        for (int k = 1; k < count; ++k) {
            parts[k] = neutral;
        }
    }
    T &part(int k) const { return k == 0 ? total : parts[k]; }
    void merge(int count) const {
        for (int k = 1; k < count; ++k) {
            total = combine(total, parts[k]);
        }
    }
};

// The same for each element of a tensor.
template <class T, int rank, class Combine> struct combined_tensor {
    tensor<T, rank> total;
    T neutral;
    Combine combine;
    T *parts = nullptr;

    double size() const { return static_cast<double>(total.count()); }
    void divide(runtime &rt, int count) { parts = rt.alloc<T>((count - 1) * total.count()); }
    tensor<T, rank> part(int k) const {
        if (k == 0) {
            return total;
        }
        const auto own = tensor<T, rank>::at(parts + (k - 1) * total.count(), total.size);
        fill(own, neutral);
        return own;
    }
    void merge(int count) const {
        const int64_t size = total.count();
        for (int k = 1; k < count; ++k) {
            const T *const part = parts + (k - 1) * size;
            for (int64_t i = 0; i < size; ++i) {
                total.data[i] = combine(total.data[i], part[i]);
            }
        }
    }
};

// A tensor may be of a class of its own, such as `carried`: only numbers are taken by these.
template <class T, class Combine, std::enable_if_t<std::is_arithmetic_v<T>, int> = 0>
inline combined_number<T, Combine> combined(T &total, T neutral, Combine combine) {
    return {total, neutral, combine};
}
template <class T, int rank, class Combine>
inline combined_tensor<T, rank, Combine> combined(tensor<T, rank> total, T neutral, Combine combine) {
    return {total, neutral, combine};
}

template <class T> struct sum_of {
    T operator()(T a, T b) const { return a + b; }
};
template <class T, std::enable_if_t<std::is_arithmetic_v<T>, int> = 0>
inline combined_number<T, sum_of<T>> summed(T &total) {
    return {total, T{0}, {}};
}
template <class T, int rank> inline combined_tensor<T, rank, sum_of<T>> summed(tensor<T, rank> total) {
    return {total, T{0}, {}};
}

// How a thread computes, whether it takes subnormal numbers for zero among it.
struct arithmetic_mode {
    std::fenv_t state;

    arithmetic_mode() { std::fegetenv(&state); }
};

// While it lives, this thread computes as another one does.
class computing_as {
  public:
    explicit computing_as(const arithmetic_mode &other) { std::fesetenv(&other.state); }
    ~computing_as() { std::fesetenv(&own_.state); }
    computing_as(const computing_as &) = delete;
    computing_as &operator=(const computing_as &) = delete;

  private:
    const arithmetic_mode own_;
};

// One range, compiled once for whoever calls it; the body is copied, so that no store can change what it refers to.
// It begins a line of the cache, so that how fast its loop is does not depend on what is compiled before it.
template <class Body, class... Own>
__attribute__((noinline, aligned(64))) void run_range(runtime &rt, int64_t first, int64_t last, const Body &body, Own &&...own) {
    const Body copy = body;
    copy(rt, first, last, own...);
}

// The same for a body whose type is forgotten, so that what divides loops is compiled for those of all bodies.
template <class... Part>
using range_runner = void (*)(runtime &rt, int64_t first, int64_t last, const void *body, Part... part);

template <class Body, class... Part>
void run_range_of(runtime &rt, int64_t first, int64_t last, const void *body, Part... part) {
    run_range(rt, first, last, *static_cast<const Body *>(body), static_cast<Part &&>(part)...);
}

// Into how many parts to divide `n` iterations that cost `total` together and share `shared` numbers.
KS_NOINLINE inline int count_parts(const runtime &rt, int64_t n, double total, bool shares, double shared) {
    double most = total / work_per_part;
    if (!(most >= 2 && n > 1)) {
        return 1;
    }
    const int threads = rt.threads();
    // Threads that are late, or iterations that cost more than others, are made up for by smaller parts.
    const int wanted = !shares && threads > 1 ? 4 * threads : threads;
    most = most < wanted ? most : wanted;
    most = most < static_cast<double>(n) ? most : static_cast<double>(n);
    // What is combined in the end must not cost more than was saved.
    return 4 * most * shared * work_per_shared > total ? 1 : static_cast<int>(most);
}

// All ranges of a loop on several threads, where that is worth while; false where it is not, and nothing was done.
template <class... Own>
__attribute__((noinline)) bool run_divided(runtime &rt, int64_t n, double total, int64_t lanes, const void *body,
                                           range_runner<decltype(std::declval<const Own &>().part(0))...> run,
                                           Own... own) {
    const int parts = count_parts(rt, n, total, sizeof...(Own) > 0, (own.size() + ... + 0.0));
    if (parts == 1) {
        return false;
    }
    const division ranges(n, parts, lanes);
    const scratch region(rt);
    (own.divide(rt, parts), ...);
    const arithmetic_mode mode;
    rt.run_parts(parts, [&](runtime &mine, int k) {
        const computing_as caller(mode);
        run(mine, ranges.first(k), ranges.last(k), body, own.part(k)...);
    });
    (own.merge(parts), ...);
    return true;
}

// Calls body(rt, first, last, own...) for ranges that make up [0, n), at once where `work`, about what an iteration costs
// in additions for one number of a register, makes that worth while. `own` are the results that iterations share, each
// `combined` or `summed`. The outcome depends on the number of threads, but not on what they happen to do. `lanes`
// iterations run side by side.
template <int64_t lanes = 1, class Body, class... Own>
inline void parallel(runtime &rt, int64_t n, int64_t work, const Body &body, Own... own) {
    const double total = static_cast<double>(n) * static_cast<double>(work);
    const range_runner<decltype(own.part(0))...> run = run_range_of<Body>;
    if (total >= 2 * work_per_part && run_divided(rt, n, total, lanes, &body, run, own...)) {
        return;
    }
    run_range(rt, 0, n, body, own.part(0)...);
}

}  // namespace ks

#endif

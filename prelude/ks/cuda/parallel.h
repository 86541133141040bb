// A loop whose iterations are shared out, each with its own memory, and what they combine in the end.
#ifndef KS_CUDA_PARALLEL_H
#define KS_CUDA_PARALLEL_H

#include <cstdint>
#include <type_traits>

#include "ks/cuda/bulk.h"
#include "ks/cuda/indices.h"
#include "ks/cuda/runtime.h"
#include "ks/tensor.h"

namespace ks {

// Numbers.

// What the thread of a team has that is so many `lanes` further down, and what its first one has.
template <class T> __device__ inline T from_below(T value, int lanes, team in = team::warp) {
    return __shfl_down_sync(mates(in), value, lanes, static_cast<int>(in));
}
__device__ inline int64_t from_below(int64_t value, int lanes, team in = team::warp) {
    return __shfl_down_sync(mates(in), static_cast<long long>(value), lanes, static_cast<int>(in));
}
__device__ inline bool from_below(bool value, int lanes, team in = team::warp) {
    return __shfl_down_sync(mates(in), static_cast<int>(value), lanes, static_cast<int>(in)) != 0;
}

template <class T> __device__ inline T of_first(T value, team in) { return __shfl_sync(mates(in), value, 0, static_cast<int>(in)); }
__device__ inline int64_t of_first(int64_t value, team in) {
    return __shfl_sync(mates(in), static_cast<long long>(value), 0, static_cast<int>(in));
}
__device__ inline bool of_first(bool value, team in) {
    return __shfl_sync(mates(in), static_cast<int>(value), 0, static_cast<int>(in)) != 0;
}

// What all threads of a team in a warp, or of a block, give, combined in an order that is always the same; all of them receive it.
template <class T, class Combine> __device__ inline T combined_in_warp(T value, const Combine &combine, team in) {
    for (int lanes = static_cast<int>(in) / 2; lanes > 0; lanes /= 2) {
        value = combine(value, from_below(value, lanes, in));
    }
    return of_first(value, in);
}
template <class T, class Combine> __device__ inline T combined_in_block(T value, const Combine &combine) {
    KS_SHARED(T, of_warps, block_size / warp_size);
    for (int lanes = warp_size / 2; lanes > 0; lanes /= 2) {
        value = combine(value, from_below(value, lanes));
    }
    if (threadIdx.x % warp_size == 0) {
        of_warps[threadIdx.x / warp_size] = value;
    }
    __syncthreads();
    value = of_warps[0];
    for (int warp = 1; warp < block_size / warp_size; ++warp) {
        value = combine(value, of_warps[warp]);
    }
    __syncthreads();
    return value;
}

// What each thread has in its own frame for tensors of its iterations.
constexpr int64_t near_bytes = 1024;

// How the iterations of a loop are shared out: to so many teams, of which this is the `number`-th. What a team does together is
// contributed by the thread that leads it.
struct division {
    team by;
    int64_t active;
    int64_t number;
    bool leads;
};

// A number that all iterations contribute to. The first thread goes on from what there is, each other one from `neutral`.
template <class T, class Combine> struct combined_number {
    T &total;
    T neutral;
    Combine combine;
    T mine;

    __device__ combined_number(T &total, T neutral, Combine combine)
        : total(total), neutral(neutral), combine(combine), mine(neutral) {}

    static constexpr int numbers = 1;
    static constexpr bool is_staged = false;
    static constexpr bool is_tensor = false;
    __device__ static bool is_finished() { return false; }
    __device__ T &itself() const { return total; }
    __device__ int64_t limit(const runtime &, int64_t teams) const { return teams; }
    __device__ void divide(runtime &rt, const division &, char *, int64_t &) { mine = rt.thread() == 0 ? total : neutral; }
    __device__ T &part() { return mine; }
    __device__ void contribute(const runtime &rt, const division &how, int &slot) {
        mine = how.leads ? mine : neutral;
        if (rt.members() != team::grid) {
            return;
        }
        const T of_block = combined_in_block(mine, combine);
        if (threadIdx.x == 0) {
            rt.partials<T>(slot)[blockIdx.x] = of_block;
        }
        ++slot;
    }
    __device__ void finish(runtime &rt, const division &, int &slot) const {
        if (is_in_warp(rt.members())) {
            total = combined_in_warp(mine, combine, rt.members());
            return;
        }
        if (rt.members() == team::block) {
            total = combined_in_block(mine, combine);
            return;
        }
        const T *const of_blocks = rt.partials<T>(slot);
        T value = neutral;
        for (unsigned block = threadIdx.x; block < gridDim.x; block += blockDim.x) {
            value = combine(value, of_blocks[block]);
        }
        total = combined_in_block(value, combine);
        ++slot;
    }
};

// Tensors of which each thread that shares a loop has one for itself, to be combined in the order of the threads.

constexpr int64_t most_parts = 4096;
constexpr int64_t most_part_bytes = int64_t{64} << 20;

template <class T, int rank> struct parts_of {
    T *first = nullptr;

    __device__ static int64_t limit(const tensor<T, rank> &total, int64_t threads) {
        const int64_t bytes = total.count() * static_cast<int64_t>(sizeof(T));
        int64_t most = bytes > 0 ? most_part_bytes / bytes : most_parts;
        most = most < 1 ? 1 : most < most_parts ? most : most_parts;
        return most < threads ? most : threads;
    }
    __device__ void divide(runtime &rt, const tensor<T, rank> &total, const division &how, T neutral) {
        first = rt.alloc<T>((how.active - 1) * total.count());
        const int64_t k = how.number;
        if (k > 0 && k < how.active) {
            const auto own = part(total, k);
            for (int64_t i = 0; i < own.count(); ++i) {
                own.data[i] = neutral;
            }
        }
    }
    __device__ tensor<T, rank> part(const tensor<T, rank> &total, int64_t k) const {
        return k == 0 ? total : tensor<T, rank>::at(first + (k - 1) * total.count(), total.size);
    }
    template <class Combine>
    __device__ void merge(runtime &rt, const tensor<T, rank> &total, int64_t active, const Combine &combine) const {
        const int64_t count = total.count();
        for (int64_t i = rt.thread(); i < count; i += rt.threads()) {
            T value = total.data[i];
            for (int64_t k = 1; k < active; ++k) {
                value = combine(value, first[(k - 1) * count + i]);
            }
            total.data[i] = value;
        }
        rt.part_ways();
    }
};

template <class T, int rank, class Combine> struct combined_tensor {
    tensor<T, rank> total;
    T neutral;
    Combine combine;
    int64_t thread = 0;
    parts_of<T, rank> parts = {};

    static constexpr int numbers = 0;
    static constexpr bool is_staged = false;
    static constexpr bool is_tensor = true;
    __device__ static bool is_finished() { return false; }
    __device__ tensor<T, rank> itself() const { return total; }
    __device__ int64_t limit(const runtime &, int64_t threads) const { return parts.limit(total, threads); }
    __device__ void divide(runtime &rt, const division &how, char *, int64_t &) {
        thread = how.number;
        parts.divide(rt, total, how, neutral);
    }
    __device__ tensor<T, rank> part() const { return parts.part(total, thread); }
    __device__ void contribute(const runtime &, const division &, int &) const {}
    __device__ void finish(runtime &rt, const division &how, int &) const { parts.merge(rt, total, how.active, combine); }
};

// Sums of tensors.

template <class T> struct sum_of {
    __device__ T operator()(T a, T b) const { return static_cast<T>(a + b); }
};

// Adds where other threads may add at the same time. Neighbouring threads often add to the same place, since each goes through
// the same loops: then one of a warp adds for all of it.
template <class T> __device__ inline void add_together(T *place, T amount) {
#ifdef __CUDACC__
    const unsigned here = __activemask();
    int same = 0;
    if (here == 0xffffffffu) {
        __match_all_sync(here, reinterpret_cast<unsigned long long>(place), &same);
    }
    if (same != 0) {
        for (int lanes = warp_size / 2; lanes > 0; lanes /= 2) {
            amount += from_below(amount, lanes);
        }
        if (threadIdx.x % warp_size != 0) {
            return;
        }
    }
#endif
    atomicAdd(place, amount);
}

// An element that several threads may add to at the same time.
template <class T> struct shared_element {
    T *place;
    __device__ void operator+=(T amount) const { add_together(place, amount); }
    __device__ void operator-=(T amount) const { add_together(place, -amount); }
};

template <class T, int rank> struct shared_tensor : private tensor<T, rank> {
    using tensor<T, rank>::size;
    using tensor<T, rank>::count;

    __device__ shared_tensor(const tensor<T, rank> &whole) : tensor<T, rank>(whole) {}
    template <class... Index> __device__ shared_element<T> operator()(Index... indices) const {
        return {&tensor<T, rank>::operator()(indices...)};
    }
    __device__ shared_element<T> operator[](int64_t k) const { return {this->data + k}; }
    template <class... Index>
    __device__ shared_tensor<T, rank - static_cast<int>(sizeof...(Index))> part(Index... indices) const {
        return tensor<T, rank>::part(indices...);
    }
};

template <class T, int rank>
__device__ inline void add_to(runtime &rt, const shared_tensor<T, rank> &target, const tensor<T, rank> &amount, int line) {
    for (int k = 0; k < rank; ++k) {
        if (target.size[k] != amount.size[k]) {
            rt.fail(KS_ERROR_INDEX, line, "tensors of different sizes");
        }
    }
    for_each(rt, amount.count(), [=](int64_t k) { target[k] += amount.data[k]; });
}
template <class T> __device__ inline void add(runtime &rt, const shared_element<T> &place, const std::type_identity_t<T> &amount) {
    rt.settle();
    if (rt.thread() == 0) {
        atomicAdd(place.place, amount);
    }
    rt.part_ways();
}

// Small tensors are summed up in the memory of each block first, one loop after the other.
constexpr int64_t staged_bytes = 16384;
__device__ inline char *staged_pool() {
    KS_SHARED(double, pool, staged_bytes / sizeof(double));
    return reinterpret_cast<char *>(pool);
}

template <class T, int rank> struct summed_tensor {
    tensor<T, rank> total;
    int64_t thread = 0;
    bool in_parts = false;
    T *staged = nullptr;
    parts_of<T, rank> parts = {};

    static constexpr int numbers = 0;
    static constexpr bool is_staged = true;
    static constexpr bool is_tensor = true;
    // Whether what the threads contributed is all there is to do.
    __device__ bool is_finished() const { return !in_parts; }
    __device__ shared_tensor<T, rank> itself() const { return total; }
    __device__ int64_t limit(const runtime &rt, int64_t teams) const {
        return rt.is_deterministic() ? parts.limit(total, teams) : teams;
    }
    __device__ void divide(runtime &rt, const division &how, char *pool, int64_t &used) {
        in_parts = rt.is_deterministic();
        thread = how.number;
        if (in_parts) {
            parts.divide(rt, total, how, T{0});
            return;
        }
        const int64_t count = total.count();
        if (pool != nullptr && count <= (staged_bytes - used) / static_cast<int64_t>(sizeof(T))) {
            staged = reinterpret_cast<T *>(pool + used);
            used += (count * static_cast<int64_t>(sizeof(T)) + 7) / 8 * 8;
            for (int64_t i = threadIdx.x; i < count; i += blockDim.x) {
                staged[i] = T{0};
            }
        }
    }
    __device__ shared_tensor<T, rank> part() const {
        return in_parts ? parts.part(total, thread) : staged != nullptr ? tensor<T, rank>::at(staged, total.size) : total;
    }
    __device__ void contribute(const runtime &, const division &, int &) const {
        if (staged != nullptr) {
            for (int64_t i = threadIdx.x; i < total.count(); i += blockDim.x) {
                if (staged[i] != T{0}) {
                    atomicAdd(total.data + i, staged[i]);
                }
            }
        }
    }
    __device__ void finish(runtime &rt, const division &how, int &) const {
        if (in_parts) {
            parts.merge(rt, total, how.active, sum_of<T>());
        }
    }
};

// A tensor that the iterations of a loop around add to as well.
template <class T, int rank> struct shared_further {
    shared_tensor<T, rank> total;

    static constexpr int numbers = 0;
    static constexpr bool is_staged = false;
    static constexpr bool is_tensor = true;
    __device__ static bool is_finished() { return true; }
    __device__ shared_tensor<T, rank> itself() const { return total; }
    __device__ int64_t limit(const runtime &, int64_t teams) const { return teams; }
    __device__ void divide(runtime &, const division &, char *, int64_t &) {}
    __device__ shared_tensor<T, rank> part() const { return total; }
    __device__ void contribute(const runtime &, const division &, int &) const {}
    __device__ void finish(runtime &, const division &, int &) const {}
};

template <class T, class Combine> __device__ inline combined_number<T, Combine> combined(T &total, T neutral, Combine combine) {
    return {total, neutral, combine};
}
template <class T, int rank, class Combine>
__device__ inline combined_tensor<T, rank, Combine> combined(tensor<T, rank> total, T neutral, Combine combine) {
    return {total, neutral, combine};
}
template <class T>
    requires std::is_arithmetic_v<T>  // and not a tensor that a loop carries
__device__ inline combined_number<T, sum_of<T>> summed(T &total) {
    return {total, T{0}, {}};
}
template <class T, int rank> __device__ inline summed_tensor<T, rank> summed(tensor<T, rank> total) { return {total}; }
template <class T, int rank> __device__ inline shared_further<T, rank> summed(shared_tensor<T, rank> total) { return {total}; }

// Shares a loop out to teams of one kind. Neighbouring teams take neighbouring iterations.
template <class Body, class... Own>
__device__ inline void share(runtime &rt, int64_t n, team by, memory needs, const Body &body, Own... own) {
    rt.settle();
    const scratch all(rt);
    const int64_t in_team = runtime::size_of(by);
    const int64_t thread = rt.thread(), number = quotient(thread, in_team);
    division how = {by, needs == own_memory ? rt.with_memory(by) : rt.teams(by), number, thread == number * in_team};
    ((how.active = own.limit(rt, how.active)), ...);
    constexpr bool stages = (Own::is_staged || ... || false);
    const bool in_blocks = stages && rt.members() == team::grid;
    [[maybe_unused]] int64_t used = 0;
    [[maybe_unused]] char *pool = nullptr;
    if constexpr (stages) {
        pool = in_blocks ? staged_pool() : nullptr;
    }
    (own.divide(rt, how, pool, used), ...);
    if (in_blocks) {
        __syncthreads();
    }
    runtime mine = needs == no_memory && by == team::thread ? rt.alone() : rt.part(by, how.number, how.active);
    KS_NEAR(near, near_bytes);
    if (needs == own_memory && by == team::thread) {
        mine.add_near(near, near_bytes);
    }
    for (int64_t i = how.number; how.active > how.number && i < n; i += how.active) {
        body(mine, i, i + 1, own.part()...);
    }
    if (in_blocks) {
        __syncthreads();
    }
    [[maybe_unused]] int slot = 0;
    (own.contribute(rt, how, slot), ...);
    if (!(own.is_finished() && ...)) {
        rt.meet();
        slot = 0;
        (own.finish(rt, how, slot), ...);
    } else {
        rt.part_ways();
    }
    if constexpr ((Own::numbers + ... + 0) > 0) {
        rt.swap_partials();
    }
}

// A loop along a row, by the team that takes it: calls body(rt, first, last, own...) for ranges that make up [0, n), on all threads
// that are here. `own` are the results that iterations share, each `combined` or `summed`.
template <class Body, class... Own>
__device__ inline void along(runtime &rt, int64_t n, memory needs, const Body &body, Own... own) {
    if (rt.is_alone()) {
        body(rt, 0, n, own.itself()...);
    } else {
        share(rt, n, team::thread, needs, body, own...);
    }
}

// The same for the whole grid. A function of its own, in which the registers are those of this loop: what it captures was read from
// the frame in each iteration where it was one of many loops in a function.
template <class Body, class... Own>
KS_NOINLINE void parallel(runtime &rt, int64_t n, memory needs, const Body &given, Own... own) {
    const Body body = given;
    along(rt, n, needs, body, own...);
}

// What an iteration does mostly: loops of about so many steps, which read rows, and maybe add to tensors at any place.
struct rows {
    int64_t steps;
    bool add;
};

// Who takes an iteration: the team with which all are done first, by the number of steps that each thread takes one after the
// other, in eighths. The rest is what it costs to read rows apart (memory comes in pieces that eight threads read), and to go from
// row to row. `in_order`: no team adds to a tensor at the same time as another.
__device__ inline team best_team(const runtime &rt, int64_t n, int64_t steps, bool in_order) {
    const auto turns = [](int64_t count, int64_t at_once) { return quotient(count + at_once - 1, at_once); };
    team best = team::thread;
    int64_t least = turns(n, rt.threads()) * steps * 64;
    const auto consider = [&](team by, int64_t cost) {
        best = cost < least ? by : best;
        least = cost < least ? cost : least;
    };
    if (!in_order) {
        consider(eight, turns(n, rt.teams(eight)) * (turns(steps, 8) * 10 + 32));
        consider(team::warp, turns(n, rt.teams(team::warp)) * (turns(steps, warp_size) * 8 + 32));
        consider(team::block, turns(n, rt.teams(team::block)) * (turns(steps, blockDim.x) * 8 + 64));
    }
    consider(team::grid, n * (turns(steps, rt.threads()) + 100) * 8);
    return best;
}

// A body with loops that are divided: a function, and not once more for each team that may take an iteration, as it is long.
template <class Body, class... Parts>
KS_NOINLINE void run(const Body &body, runtime &rt, int64_t first, int64_t last, Parts &&...parts) {
    body(rt, first, last, static_cast<Parts &&>(parts)...);
}

// The same, where the loops in the body are divided as well: among those who take an iteration together.
template <class Body, class... Own>
__device__ inline void parallel(runtime &rt, int64_t n, const rows &each, memory needs, const Body &of_rows, Own... own) {
    const auto body = [&of_rows](runtime &mine, int64_t first, int64_t last, auto &&...parts) {
        run(of_rows, mine, first, last, static_cast<decltype(parts) &&>(parts)...);
    };
    if (rt.is_alone()) {
        body(rt, 0, n, own.itself()...);
        return;
    }
    constexpr bool combines_tensors = ((Own::is_tensor && !Own::is_staged) || ... || false);
    const bool alone = combines_tensors || (rt.is_deterministic() && each.add);
    const bool in_order = rt.is_deterministic() && (Own::is_tensor || ... || false);
    const team by = alone ? team::thread : best_team(rt, n, each.steps, in_order);
    if (by == team::grid) {
        const bool before = rt.begin_glances();
        rt.meet();
        body(rt, 0, n, own.itself()...);
        rt.end_glances(before);
        rt.meet();
    } else {
        share(rt, n, by, needs, body, own...);
    }
}

}  // namespace ks

#endif

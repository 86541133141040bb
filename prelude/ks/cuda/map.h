// Lifting a scalar function over the elements of strided arrays: the grids inside every elementwise entry.
//
// A lane is a struct whose call operator takes the arguments of one element and references to its results.
#ifndef KS_CUDA_MAP_H
#define KS_CUDA_MAP_H

#include <cstddef>
#include <cstdint>
#include <utility>

#include "ks/cuda/given.h"
#include "ks/cuda/parallel.h"
#include "ks/cuda/runtime.h"

namespace ks {

// Where the operands' elements are, in bytes, whose place in all of them is k.
template <int count> struct offsets {
    int64_t of[count];

    __device__ offsets(const strided<count> &all, int64_t k) : of{} {
        if (all.elements <= INT32_MAX) {
            auto left = static_cast<uint32_t>(k);
            for (int dim = 0; dim < all.rank; ++dim) {
                const uint32_t next = all.by[dim].quotient(left);
                add(all, dim, left - next * static_cast<uint32_t>(all.sizes[dim]));
                left = next;
            }
        } else {
            for (int dim = 0; dim < all.rank; ++dim) {
                add(all, dim, k % all.sizes[dim]);
                k /= all.sizes[dim];
            }
        }
    }

  private:
    __device__ void add(const strided<count> &all, int dim, int64_t index) {
        KS_UNROLLED
        for (int operand = 0; operand < count; ++operand) {
            of[operand] += index * all.strides[operand][dim];
        }
    }
};

// Neighbouring elements, loaded and stored at once.
template <class T, int width> struct alignas(sizeof(T) * width) pack {
    T of[width];
};

// A pack of each of several operands, of which the first is the one told.
template <int width, class... T> struct packs {
    template <class Pointers> __device__ void load(const Pointers &, int, int64_t) {}
    template <class Pointers> __device__ void store(const Pointers &, int, int64_t) const {}
};
template <int width, class T, class... Rest> struct packs<width, T, Rest...> {
    pack<T, width> first;
    packs<width, Rest...> rest;

    template <class Pointers> __device__ void load(const Pointers &data, int operand, int64_t k) {
        if (data.is_shared(operand)) {
            const T value = *reinterpret_cast<const T *>(data[operand]);
            for (int i = 0; i < width; ++i) {
                first.of[i] = value;
            }
        } else {
            first = reinterpret_cast<const pack<T, width> *>(data.at[operand])[k];
        }
        rest.load(data, operand + 1, k);
    }
    template <class Pointers> __device__ void store(const Pointers &data, int operand, int64_t k) const {
        reinterpret_cast<pack<T, width> *>(data.at[operand])[k] = first;
        rest.store(data, operand + 1, k);
    }
};
template <size_t k, int width, class T, class... Rest> __device__ inline auto &nth(packs<width, T, Rest...> &all) {
    if constexpr (k == 0) {
        return all.first.of;
    } else {
        return nth<k - 1>(all.rest);
    }
}

template <class Lane, class R, class A, class r, class a> struct mapped;

template <class Lane, class... R, class... A, size_t... r, size_t... a>
struct mapped<Lane, results<R...>, arguments<A...>, std::index_sequence<r...>, std::index_sequence<a...>> {
    static constexpr size_t outs = sizeof...(R);
    static constexpr int count = static_cast<int>(outs + sizeof...(A));
    static constexpr int width = width_of<R..., A...>;

    // All elements of a pack.
    __device__ static void compute(packs<width, A...> &in, packs<width, R...> &out) {
        (void)in;
        for (int k = 0; k < width; ++k) {
            Lane()(nth<a>(in)[k]..., nth<r>(out)[k]...);
        }
    }

    __device__ static void contiguous(const pointers<count> &data, int64_t n) {
        const int64_t whole = n / width;
        const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x * packs_in_flight;
        const int64_t first = static_cast<int64_t>(blockIdx.x) * blockDim.x * packs_in_flight + threadIdx.x;
        for (int64_t start = first; start < whole; start += step) {
            packs<width, A...> in[packs_in_flight];
            packs<width, R...> out[packs_in_flight];
            for (int j = 0; j < packs_in_flight; ++j) {
                if (const int64_t k = start + j * blockDim.x; k < whole) {
                    in[j].load(data, static_cast<int>(outs), k);
                }
            }
            for (int j = 0; j < packs_in_flight; ++j) {
                if (const int64_t k = start + j * blockDim.x; k < whole) {
                    compute(in[j], out[j]);
                    out[j].store(data, 0, k);
                }
            }
        }
        const int64_t left = whole * width + static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
        if (left < n) {
            Lane()(reinterpret_cast<const A *>(data[static_cast<int>(outs + a)])[data.is_shared(static_cast<int>(outs + a)) ? 0 : left]...,
                   reinterpret_cast<R *>(data.at[r])[left]...);
        }
    }

    template <class T> __device__ static T *at(const strided<count> &all, const offsets<count> &places, size_t operand) {
        const int k = static_cast<int>(operand);
        return reinterpret_cast<T *>(const_cast<char *>(all.data[k]) + places.of[k]);
    }

    __device__ static void any_strides(const strided<count> &all) {
        const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
        for (int64_t k = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; k < all.elements; k += step) {
            const offsets<count> places(all, k);
            Lane()(*at<const A>(all, places, outs + a)..., *at<R>(all, places, r)...);
        }
    }

    // For functions that may stop the kernel or need scratch memory, which they get as their first argument.
    __device__ static void checked(const grid &about, const strided<count> &all) {
        const runtime together(about, Lane::file, nullptr, 0, false);
        const int64_t active = Lane::needs == own_memory ? together.with_memory(team::thread) : together.threads();
        const int64_t first = together.thread();
        runtime rt = together.part(team::thread, together.thread(), active);
        for (int64_t k = first; first < active && k < all.elements; k += active) {
            scratch element(rt);
            const offsets<count> places(all, k);
            Lane()(rt, *at<const A>(all, places, outs + a)..., *at<R>(all, places, r)...);
        }
    }
};

template <class Lane, class R, class A> struct indexed;
template <class Lane, class... R, class... A> struct indexed<Lane, results<R...>, arguments<A...>> {
    using type = mapped<Lane, results<R...>, arguments<A...>, std::index_sequence_for<R...>, std::index_sequence_for<A...>>;
};
template <class Lane, class R, class A> using mapped_of = typename indexed<Lane, R, A>::type;

}  // namespace ks

#endif

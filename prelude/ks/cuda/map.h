// Lifting a scalar function over the elements of strided arrays: the grids inside every elementwise entry.
//
// A lane is a struct whose call operator takes the arguments of one element and references to its results.
#ifndef KS_CUDA_MAP_H
#define KS_CUDA_MAP_H

#include <cstddef>
#include <cstdint>
#include <utility>

#include "ks/cuda/indices.h"
#include "ks/cuda/launch.h"
#include "ks/cuda/parallel.h"
#include "ks/cuda/runtime.h"

namespace ks {

// The storage types of a kernel's results and arguments, in the order of its operands.
template <class... T> struct results {};
template <class... T> struct arguments {};

// Where operands begin, results first; a number of the host's is here itself.
template <int count> struct pointers {
    char *at[count];
    int64_t numbers[count];
    unsigned shared;  // a bit for each operand of which all elements are one

    __device__ const char *operator[](int k) const {
        return at[k] != nullptr ? at[k] : reinterpret_cast<const char *>(numbers + k);
    }
    __device__ bool is_shared(int k) const { return (shared >> k & 1u) != 0; }
};

// Arrays of any strides: sizes and, for each operand, strides in bytes, the innermost dimension first.
template <int count> struct strided {
    int rank;
    int64_t elements;
    int64_t sizes[KS_CUDA_MOST_DIMENSIONS];
    reciprocal by[KS_CUDA_MOST_DIMENSIONS];  // where there are less than 2^31 elements
    pointers<count> data;
    int64_t strides[count][KS_CUDA_MOST_DIMENSIONS];
};

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

constexpr size_t largest(size_t size) { return size; }
template <class... Rest> constexpr size_t largest(size_t a, size_t b, Rest... rest) { return largest(a > b ? a : b, rest...); }

// Elements of a pack: 16 bytes of the largest type.
template <class... T> constexpr int width_of = static_cast<int>(16 / largest(sizeof(T)...));

// A thread loads so many packs before it computes, so that enough of the memory is on its way.
constexpr int packs_in_flight = 2;

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

template <class Lane, class R, class A>
__global__ void __launch_bounds__(block_size) map_contiguous(const __grid_constant__ pointers<mapped_of<Lane, R, A>::count> data, const int64_t n) {
    mapped_of<Lane, R, A>::contiguous(data, n);
}

template <class Lane, class R, class A>
__global__ void __launch_bounds__(block_size) map_strided(const __grid_constant__ strided<mapped_of<Lane, R, A>::count> all) {
    mapped_of<Lane, R, A>::any_strides(all);
}

template <class Lane, class R, class A>
__global__ void __launch_bounds__(block_size)
    map_each(const __grid_constant__ grid about, const __grid_constant__ strided<mapped_of<Lane, R, A>::count> all) {
    mapped_of<Lane, R, A>::checked(about, all);
}

// Describes the operands; the number of elements, or a refusal.
template <int count>
inline int64_t describe(strided<count> &all, char *const *data, const int64_t *strides, const int64_t *sizes, int rank,
                        const int64_t *numbers) {
    if (rank > KS_CUDA_MOST_DIMENSIONS) {
        return KS_CUDA_RANK;
    }
    static_assert(count <= 32, "there is a bit for each operand");
    all.rank = rank;
    all.elements = 1;
    for (int dim = 0; dim < rank; ++dim) {
        all.sizes[dim] = sizes[dim];
        all.elements *= sizes[dim];
    }
    for (int dim = 0; dim < rank && all.elements > 0 && all.elements <= INT32_MAX; ++dim) {
        all.by[dim] = reciprocal::of(static_cast<uint32_t>(sizes[dim]));
    }
    all.data.shared = 0;
    for (int k = 0; k < count; ++k) {
        all.data.at[k] = data[k];
        all.data.numbers[k] = data[k] == nullptr ? numbers[k] : 0;
        bool shared = true;
        for (int dim = 0; dim < rank; ++dim) {
            all.strides[k][dim] = strides[k * rank + dim];
            shared = shared && (all.strides[k][dim] == 0 || all.sizes[dim] == 1);
        }
        all.data.shared |= shared ? 1u << k : 0u;
    }
    return all.elements;
}

// Whether the elements of each operand lie one after another, as packs do, or are all one.
template <int count> inline bool in_packs(const strided<count> &all, const size_t *sizes, int width) {
    for (int k = 0; k < count; ++k) {
        if ((all.data.shared >> k & 1u) != 0) {
            continue;
        }
        int64_t step = static_cast<int64_t>(sizes[k]);
        if (reinterpret_cast<uintptr_t>(all.data.at[k]) % (sizes[k] * static_cast<size_t>(width)) != 0) {
            return false;
        }
        for (int dim = 0; dim < all.rank; ++dim) {
            if (all.sizes[dim] != 1 && all.strides[k][dim] != step) {
                return false;
            }
            step *= all.sizes[dim];
        }
    }
    return true;
}

inline dim3 blocks_for(int64_t threads) {
    constexpr int64_t most = INT32_MAX;
    const int64_t blocks = (threads + block_size - 1) / block_size;
    return dim3(static_cast<unsigned>(blocks < 1 ? 1 : blocks < most ? blocks : most));
}

// Calls Lane()(argument..., result &...) for each element.
template <class Lane, class... R, class... A>
inline int map(const ks_cuda *device, results<R...>, arguments<A...>, char *const *data, const int64_t *strides,
               const int64_t *sizes, int rank, const int64_t *numbers) {
    using Results = results<R...>;
    using Arguments = arguments<A...>;
    using all_of = mapped_of<Lane, Results, Arguments>;
    strided<all_of::count> all;
    const int64_t n = describe(all, data, strides, sizes, rank, numbers);
    if (n <= 0) {
        return static_cast<int>(n);
    }
    const cudaStream_t stream = static_cast<cudaStream_t>(device->stream);
    const size_t bytes[] = {sizeof(R)..., sizeof(A)...};
    if (in_packs(all, bytes, all_of::width)) {
        void *given[] = {&all.data, const_cast<int64_t *>(&n)};
        const dim3 blocks = blocks_for((n + all_of::width * packs_in_flight - 1) / (all_of::width * packs_in_flight));
        return static_cast<int>(cudaLaunchKernel(map_contiguous<Lane, Results, Arguments>, blocks, dim3(block_size), given, 0, stream));
    }
    void *given[] = {&all};
    return static_cast<int>(cudaLaunchKernel(map_strided<Lane, Results, Arguments>, blocks_for(n), dim3(block_size), given, 0, stream));
}

// The same for Lane()(rt, argument..., result &...).
template <class Lane, class... R, class... A>
inline int map_checked(const ks_cuda *device, results<R...>, arguments<A...>, char *const *data, const int64_t *strides,
                       const int64_t *sizes, int rank, const int64_t *numbers) {
    using all_of = mapped_of<Lane, results<R...>, arguments<A...>>;
    strided<all_of::count> all;
    const int64_t n = describe(all, data, strides, sizes, rank, numbers);
    if (n <= 0) {
        return static_cast<int>(n);
    }
    grid about = grid_of(device);
    void *given[] = {&about, &all};
    const cudaStream_t stream = static_cast<cudaStream_t>(device->stream);
    int64_t most = int64_t{block_size} * (device->most_blocks > 0 ? device->most_blocks : INT32_MAX);
    if (Lane::needs == own_memory) {
        // More threads than have memory would only come and go.
        const int64_t each = about.scratch_per_thread > 16 ? about.scratch_per_thread : 16;
        const int64_t fed = about.scratch_bytes / each;
        most = fed < most ? fed : most;
    }
    const dim3 blocks = blocks_for(n < most ? n : most);
    return static_cast<int>(
        cudaLaunchKernel(map_each<Lane, results<R...>, arguments<A...>>, blocks, dim3(block_size), given, 0, stream));
}

}  // namespace ks

#endif

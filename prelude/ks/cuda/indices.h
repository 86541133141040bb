// Numbers of elements taken apart into indices.
#ifndef KS_CUDA_INDICES_H
#define KS_CUDA_INDICES_H

#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include "ks/macros.h"

namespace ks {

// a / b and a % b, for a of 0 or more and b above. A GPU divides numbers of 32 bits in a few steps, and those of 64 in a hundred.
KS_KERNEL_FN bool fits_32_bits(int64_t a, int64_t b) { return (static_cast<uint64_t>(a) | static_cast<uint64_t>(b)) >> 32 == 0; }
KS_KERNEL_FN int64_t quotient(int64_t a, int64_t b) {
    return fits_32_bits(a, b) ? static_cast<int64_t>(static_cast<uint32_t>(a) / static_cast<uint32_t>(b)) : a / b;
}
KS_KERNEL_FN int64_t remainder(int64_t a, int64_t b) {
    return fits_32_bits(a, b) ? static_cast<int64_t>(static_cast<uint32_t>(a) % static_cast<uint32_t>(b)) : a % b;
}

// The number of a size, of 1 to 2^31 - 1, by which numbers below 2^31 are divided: twice the number, multiplied with
// 2^(31 + shift) / size, rounded up, of which the upper half is shifted (Granlund and Montgomery, 1994).
struct reciprocal {
    uint32_t multiplier, shift;

    KS_FN static reciprocal of(uint32_t size) {
#ifdef __CUDA_ARCH__
        const auto shift = static_cast<uint32_t>(32 - __clz(static_cast<int>(size - 1)));
#else
        const auto shift = static_cast<uint32_t>(size > 1 ? 32 - __builtin_clz(size - 1) : 0);
#endif
        return {static_cast<uint32_t>(((uint64_t{1} << (31 + shift)) + size - 1) / size), shift};
    }
    KS_FN uint32_t quotient(uint32_t k) const {
#ifdef __CUDA_ARCH__
        return __umulhi(2 * k, multiplier) >> shift;
#else
        return static_cast<uint32_t>(uint64_t{2 * k} * multiplier >> 32) >> shift;
#endif
    }
};

template <int rank> struct indices {
    int64_t of[rank];
    KS_KERNEL_FN int64_t operator[](int dim) const { return of[dim]; }
};

// Loops in each other, as one over all their iterations. What divides their numbers is made ready once: a division takes twenty
// steps, and this three.
template <int rank> class nest {
  public:
    template <class... Size> KS_KERNEL_FN explicit nest(Size... sizes) {
        static_assert(sizeof...(Size) == rank, "one size per loop");
        int dim = 0;
        for (const int64_t size : {static_cast<int64_t>(sizes)...}) {
            count_ *= size > 0 ? size : 0;
            sizes_.of[dim++] = size;
        }
        is_short_ = count_ > 0 && count_ <= INT32_MAX;
        if (is_short_) {
            for (dim = 1; dim < rank; ++dim) {
                by_[dim] = reciprocal::of(static_cast<uint32_t>(sizes_[dim]));
            }
        }
    }

    KS_KERNEL_FN int64_t count() const { return count_; }

    // The indices of the k-th iteration.
    KS_KERNEL_FN indices<rank> at(int64_t k) const {
        if (is_short_) {
            indices<rank> found;
            auto left = static_cast<uint32_t>(k);
            KS_UNROLLED
            for (int dim = rank - 1; dim > 0; --dim) {
                const uint32_t next = by_[dim].quotient(left);
                found.of[dim] = left - next * static_cast<uint32_t>(sizes_[dim]);
                left = next;
            }
            found.of[0] = left;
            return found;
        }
        return divided(k, sizes_);
    }

  private:
    // It takes sizes by value: what is handed a pointer to may change, and would be read from the frame for each element.
    KS_NOINLINE static indices<rank> divided(int64_t k, indices<rank> sizes) {
        indices<rank> found;
        for (int dim = rank - 1; dim > 0; --dim) {
            found.of[dim] = k % sizes[dim];
            k /= sizes[dim];
        }
        found.of[0] = k;
        return found;
    }

    int64_t count_ = 1;
    indices<rank> sizes_;
    reciprocal by_[rank];
    bool is_short_;
};

}  // namespace ks

#endif

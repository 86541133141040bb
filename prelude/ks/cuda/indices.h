// Numbers of elements taken apart into indices.
#ifndef KS_CUDA_INDICES_H
#define KS_CUDA_INDICES_H

#include <cstdint>

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

}  // namespace ks

#endif

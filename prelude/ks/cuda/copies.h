// Copies to the memory of a block that go on while its threads compute.
#ifndef KS_CUDA_COPIES_H
#define KS_CUDA_COPIES_H

namespace ks {

// Begins to copy so many bytes, 4, 8 or 16, to the memory of the block. Only the first `valid` are read; the others become zero.
// Both places are aligned to them; `from` is in global memory, whatever is valid.
template <int bytes> __device__ inline void begin_copy(void *to, const void *from, int valid) {
#if defined(KS_BEGIN_COPY)
    KS_BEGIN_COPY(to, from, bytes, valid);
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    const auto place = static_cast<unsigned>(__cvta_generic_to_shared(to));
    if constexpr (bytes == 16) {
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(place), "l"(from), "r"(valid) : "memory");
    } else {
        asm volatile("cp.async.ca.shared.global [%0], [%1], %3, %2;" ::"r"(place), "l"(from), "r"(valid), "n"(bytes) : "memory");
    }
#else
    for (int k = 0; k < bytes / 4; ++k) {
        static_cast<unsigned *>(to)[k] = 4 * k < valid ? static_cast<const unsigned *>(from)[k] : 0u;
    }
#endif
}

// What a thread has begun to copy since it last said so is one group.
__device__ inline void end_group() {
#if defined(KS_END_GROUP)
    KS_END_GROUP();
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Waits until no more than the last `pending` of its groups are under way.
template <int pending> __device__ inline void await_groups() {
#if defined(KS_AWAIT_GROUPS)
    KS_AWAIT_GROUPS(pending);
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
#endif
}

}  // namespace ks

#endif

// Memory that a call is the first to write.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace ksc {

// Allocators give pieces of this size back to the system, so that each call finds theirs without pages.
constexpr size_t kAlwaysFresh = size_t{32} << 20;
constexpr uintptr_t kLargePage = uintptr_t{2} << 20;

// Asks the system for large pages where it gives them on request: writing 64 MB then costs 32 page faults, not 16,384,
// and less than half of the time.
inline void prefer_large_pages([[maybe_unused]] void* data, [[maybe_unused]] size_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    if (data == nullptr || bytes < kAlwaysFresh) {
        return;
    }
    const auto start = (reinterpret_cast<uintptr_t>(data) + kLargePage - 1) / kLargePage * kLargePage;
    const auto end = (reinterpret_cast<uintptr_t>(data) + bytes) / kLargePage * kLargePage;
    // It is a wish: a system that refuses gives small pages.
    static_cast<void>(madvise(reinterpret_cast<void*>(start), end - start, MADV_HUGEPAGE));
#endif
}

}  // namespace ksc

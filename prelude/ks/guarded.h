// Blocks of the arena under AddressSanitizer, which knows nothing of an arena: each has a margin on both sides that must
// not be touched, and a block that was given back must not be touched either. In any other build nothing is left of it.
#ifndef KS_GUARDED_H
#define KS_GUARDED_H

#include <cstddef>
#include <cstdint>

#if defined(__SANITIZE_ADDRESS__)
#define KS_GUARD_BLOCKS
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define KS_GUARD_BLOCKS
#endif
#endif

#ifdef KS_GUARD_BLOCKS
#include <sanitizer/asan_interface.h>
#endif

namespace ks {

#ifdef KS_GUARD_BLOCKS

// The blocks in use, the newest first, each described in the margin before it.
class guarded {
  public:
    static constexpr int64_t margin = 64;

    // The usable part of a block of `size` bytes and two margins.
    void *add(void *block, size_t size) {
        __asan_unpoison_memory_region(block, size + 2 * margin);
        description *const described = static_cast<description *>(block);
        *described = {newest_, size};
        newest_ = described;
        __asan_poison_memory_region(block, margin);
        char *const start = static_cast<char *>(block) + margin;
        // What is given out is uninitialised, and a number that is read all the same should be seen.
        __builtin_memset(start, 0xfb, size);
        __asan_poison_memory_region(start + size, margin);
        return start;
    }

    // Gives back what was added since `mark`.
    void release(const guarded &mark) {
        while (newest_ != mark.newest_) {
            description *const block = newest_;
            __asan_unpoison_memory_region(block, margin);
            newest_ = block->before;
            __asan_poison_memory_region(block, block->size + 2 * margin);
        }
    }

  private:
    struct description {
        description *before;
        size_t size;
    };

    description *newest_ = nullptr;
};

#else

struct guarded {
    static constexpr int64_t margin = 0;
    void *add(void *block, size_t) const { return block; }
    void release(const guarded &) const {}
};

#endif

}  // namespace ks

#endif

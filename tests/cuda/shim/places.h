// What a thread of the shim may touch: its own frame, the memory of its block, what it has allocated in scratch memory, and what
// the host has granted to the grid. Where the host has granted nothing, nobody looks.
#ifndef KS_SHIM_PLACES_H
#define KS_SHIM_PLACES_H

#include <link.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace shim {

struct Span {
    uintptr_t begin, end;
    bool holds(uintptr_t place, size_t bytes) const { return place >= begin && place < end && bytes <= end - place; }
};

inline bool any_holds(const std::vector<Span> &spans, uintptr_t place, size_t bytes) {
    return std::any_of(spans.begin(), spans.end(), [=](const Span &span) { return span.holds(place, bytes); });
}

// Pieces of scratch memory as one thread knows them, which come and go as on a stack.
class Pieces {
  public:
    void add(uintptr_t begin, size_t bytes) {
        release(begin);
        pieces_.push_back({begin, begin + bytes});
    }
    // Nothing from here on is allocated any more.
    void release(uintptr_t begin) {
        while (!pieces_.empty() && pieces_.back().begin >= begin) {
            pieces_.pop_back();
        }
    }
    bool hold(uintptr_t place, size_t bytes) const {
        const auto after = std::upper_bound(
            pieces_.begin(), pieces_.end(), place, [](uintptr_t at, const Span &piece) { return at < piece.begin; });
        return after != pieces_.begin() && std::prev(after)->holds(place, bytes);
    }

  private:
    std::vector<Span> pieces_;
};

// What the host lets grids touch.
enum class Use { read, write, change };
struct Granted {
    Span span;
    Use use;
};

// The constants of the library that this is linked to, of which there may be several in a process.
static const std::vector<Span> &constants() {
    static const std::vector<Span> found = [] {
        std::vector<Span> spans;
        dl_iterate_phdr(
            [](dl_phdr_info *info, size_t, void *into) {
                std::vector<Span> parts;
                for (int k = 0; k < info->dlpi_phnum; ++k) {
                    const auto &part = info->dlpi_phdr[k];
                    if (part.p_type == PT_LOAD) {
                        parts.push_back({info->dlpi_addr + part.p_vaddr, info->dlpi_addr + part.p_vaddr + part.p_memsz});
                    }
                }
                if (!any_holds(parts, reinterpret_cast<uintptr_t>(&constants), 1)) {
                    return 0;
                }
                *static_cast<std::vector<Span> *>(into) = parts;
                return 1;
            },
            &spans);
        return spans;
    }();
    return found;
}

}  // namespace shim

#endif

// The threads of the shim, what each knows of the others, and those that wait for each other.
#ifndef KS_SHIM_GROUPS_H
#define KS_SHIM_GROUPS_H

#include <ucontext.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "places.h"

namespace shim {

using Clock = std::vector<uint32_t>;

inline void join(Clock &into, const Clock &other) {
    for (size_t k = 0; k < into.size(); ++k) {
        into[k] = std::max(into[k], other[k]);
    }
}

struct Access {
    uint32_t thread, time;
};
struct Cell {
    Access write = {0, 0};
    std::vector<Access> atomics, reads;
};

struct Fiber;

// Threads that wait for each other; those that have left are not waited for.
struct Group {
    std::vector<Fiber *> members;
    size_t arrived = 0;
    uint64_t turn = 0;
    const void *place = nullptr;
    bool orders = false;
};

// The threads of a warp, and those of each mask that waited for each other.
struct Warp {
    std::vector<Fiber *> lanes;
    std::map<unsigned, Group> groups;

    Group &of(unsigned mask) {
        const auto [at, is_new] = groups.try_emplace(mask);
        for (size_t lane = 0; is_new && lane < lanes.size(); ++lane) {
            if ((mask >> lane & 1) != 0) {
                at->second.members.push_back(lanes[lane]);
            }
        }
        return at->second;
    }
};

struct Copy {
    char *to;
    const char *from;
    int bytes, valid, group;
};

struct Fiber {
    size_t number;
    unsigned block, thread;
    Group *of_block;
    Warp *warp;
    uintptr_t stack;
    Pieces pieces, near_pieces;
    Span near = {0, 0};
    ucontext_t context = {};
    bool done = false;
    uint64_t given = 0;
    Clock clock, published, pending;
    std::vector<Copy> copies;
    int groups = 0;
};

}  // namespace shim

#endif

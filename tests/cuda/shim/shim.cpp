// The grid behind cuda_runtime.h: fibers, what they wait for, and which accesses of theirs nothing orders.
//
// Threads carry vector clocks. Barriers of a block or a warp join those of its threads; a fence publishes what is known so far to the
// atomic operations that order, and makes known what they have brought. An access races with an earlier one of another
// thread that is not known, unless both are atomic or both read. Shuffles order nothing.
#include <ucontext.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "cuda_runtime.h"
#include "groups.h"
#include "places.h"
#include "undefined.h"

dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace {

using shim::Access, shim::Cell, shim::Clock, shim::Fiber, shim::Group, shim::Warp, shim::join;

struct Left {};

constexpr size_t stack_size = 256 << 10;

struct Shared {
    std::unique_ptr<char[]> memory;
    size_t bytes;
};

struct Grid {
    void (*body)(void *);
    void *argument;
    std::unique_ptr<char[]> stacks;
    std::vector<std::unique_ptr<Fiber>> fibers;
    std::vector<std::unique_ptr<Group>> groups;
    std::vector<std::unique_ptr<Warp>> warps;
    std::vector<std::map<const void *, Shared>> shared;
    std::unordered_map<uintptr_t, Cell> cells;
    std::unordered_map<const void *, Clock> ordered;
    ucontext_t scheduler = {};
    Fiber *running = nullptr;
    bool together = false;
    bool progress = false;
    bool stuck = false;
};

Grid *grid = nullptr;
std::string report;
std::vector<shim::Granted> granted;

void complain(const std::string &what) {
    if (report.size() < 2000 && report.find(what) == std::string::npos) {
        report += what + "\n";
    }
}

void yield() {
    Fiber *const self = grid->running;
    swapcontext(&self->context, &grid->scheduler);
    if (grid->stuck) {
        throw Left();
    }
}

size_t present(const Group &group) {
    return static_cast<size_t>(
        std::count_if(group.members.begin(), group.members.end(), [](const Fiber *member) { return !member->done; }));
}

void open(Group &group, bool orders) {
    group.arrived = 0;
    ++group.turn;
    grid->progress = true;
    if (!orders) {
        return;
    }
    Clock all = group.members.front()->clock;
    for (const Fiber *member : group.members) {
        join(all, member->clock);
    }
    for (Fiber *member : group.members) {
        member->clock = all;
        ++member->clock[member->number];
    }
}

// `place` is where the program waits.
void wait_for(Group &group, bool orders, const void *place) {
    if (group.arrived > 0 && group.place != place) {
        complain("threads wait for each other at different places");
    }
    group.place = place;
    group.orders = orders;
    const uint64_t turn = group.turn;
    ++group.arrived;
    if (group.arrived == present(group)) {
        open(group, orders);
    }
    while (group.turn == turn) {
        yield();
    }
}

void main_of_fiber() {
    Fiber *const self = grid->running;
    try {
        grid->body(grid->argument);
    } catch (const Left &) {
    }
    self->done = true;
    grid->progress = true;
    // Whoever waits for this thread has waited long enough.
    const auto let_go = [](Group &group) {
        const size_t left = present(group);
        if (left > 0 && group.arrived == left) {
            open(group, group.orders);
        }
    };
    let_go(*self->of_block);
    for (auto &[mask, group] : self->warp->groups) {
        let_go(group);
    }
    swapcontext(&self->context, &grid->scheduler);
}

bool is_known(const Fiber &self, const Access &access) {
    return access.time == 0 || access.thread == self.number || self.clock[access.thread] >= access.time;
}

enum class Kind { read, write, atomic };
const char *const names[] = {"read", "write", "atomic operation"};

std::string of_thread(Kind kind, const Fiber &fiber) {
    return std::string(names[static_cast<int>(kind)]) + " of thread " + std::to_string(fiber.number);
}

// Whether a place is in the frames of a thread; only the thread itself can know of it.
bool on_a_stack(Fiber &self, uintptr_t place, size_t bytes, Kind kind) {
    const uintptr_t base = reinterpret_cast<uintptr_t>(grid->stacks.get());
    if (place < base || place >= base + stack_size * grid->fibers.size()) {
        return false;
    }
    if (place < self.stack || place >= self.stack + stack_size) {
        complain("another thread's frame: " + of_thread(kind, self));
    } else if (self.near.holds(place, 1) && !self.near_pieces.hold(place, bytes)) {
        complain("outside of what was allocated: " + of_thread(kind, self));
    }
    return true;
}

// Whether the grid finds a value at a place that it may touch.
bool is_given(Fiber &self, uintptr_t place, size_t bytes, Kind kind) {
    for (const auto &[key, memory] : grid->shared[self.block]) {
        if (shim::Span{reinterpret_cast<uintptr_t>(memory.memory.get()),
                       reinterpret_cast<uintptr_t>(memory.memory.get()) + memory.bytes}
                .holds(place, bytes)) {
            return false;
        }
    }
    if (self.pieces.hold(place, bytes)) {
        return false;
    }
    for (const shim::Granted &grant : granted) {
        if (grant.span.holds(place, bytes)) {
            if (kind != Kind::read && grant.use == shim::Use::read) {
                complain("of what may only be read: " + of_thread(kind, self));
            }
            return grant.use != shim::Use::write;
        }
    }
    if (kind != Kind::read || !shim::any_holds(shim::constants(), place, bytes)) {
        complain("outside of what was allocated: " + of_thread(kind, self));
    }
    return true;
}

void check(Fiber &self, uintptr_t place, Kind kind) {
    Cell &cell = grid->cells[place];
    const Access now = {static_cast<uint32_t>(self.number), self.clock[self.number]};
    const auto races = [&](const Access &access, const char *earlier) {
        if (!is_known(self, access)) {
            complain("race: " + of_thread(kind, self) + " and " + earlier + " of thread " + std::to_string(access.thread));
        }
    };
    races(cell.write, "write");
    if (kind != Kind::atomic) {
        for (const Access &access : cell.atomics) {
            races(access, "atomic operation");
        }
    }
    if (kind != Kind::read) {
        for (const Access &access : cell.reads) {
            races(access, "read");
        }
    }
    const auto note = [&](std::vector<Access> &accesses) {
        for (Access &access : accesses) {
            if (access.thread == now.thread) {
                access = now;
                return;
            }
        }
        accesses.push_back(now);
    };
    switch (kind) {
        case Kind::read: note(cell.reads); break;
        case Kind::atomic: note(cell.atomics); break;
        case Kind::write:
            cell.write = now;
            cell.reads.clear();
            cell.atomics.clear();
    }
}

// Whether anything was written to a word, or to the whole of which it is a part.
bool is_written(uintptr_t place) {
    const auto written = [](uintptr_t at) {
        const auto found = grid->cells.find(at);
        return found != grid->cells.end() && (found->second.write.time != 0 || !found->second.atomics.empty());
    };
    return written(place) || written(place / 4 * 4);
}

// `whole`: one value, and not several, with bytes between them maybe.
void access(const void *address, size_t bytes, Kind kind, bool whole = false) {
    const uintptr_t place = reinterpret_cast<uintptr_t>(address);
    if (grid == nullptr || grid->running == nullptr || bytes == 0) {
        return;
    }
    Fiber &self = *grid->running;
    if (on_a_stack(self, place, bytes, kind)) {
        return;
    }
    const bool given = granted.empty() || is_given(self, place, bytes, kind);
    for (size_t k = 0; k < bytes; k += 4) {
        if (whole && !given && kind != Kind::write && !is_written(place + k)) {
            complain("of what nobody has written: " + of_thread(kind, self));
        }
        check(self, place + k, kind);
    }
}

}  // namespace

extern "C" __attribute__((weak)) void shim_device_assert(const char *message, const char *file, int line);
extern "C" __attribute__((weak)) void shim_launched(void *stream);

namespace shim {

void leave() { throw Left(); }

void launched(cudaStream_t stream) {
    if (shim_launched != nullptr) {
        shim_launched(stream);
    }
}

void trap(const char *message, const char *file, int line) {
    if (shim_device_assert != nullptr) {
        shim_device_assert(message, file, line);
    }
    leave();
}

void *shared(const void *key, size_t bytes) {
    auto &memory = grid->shared[blockIdx.x][key];
    if (memory.memory == nullptr) {
        memory = {std::unique_ptr<char[]>(new char[bytes + 64]), bytes};
        std::memset(memory.memory.get(), 0xA5, bytes);
    }
    return memory.memory.get();
}

void atomic(const void *place, size_t bytes, bool orders) {
    Fiber &self = *grid->running;
    grid->progress = true;
    if (!orders) {
        access(place, bytes, Kind::atomic, true);
        return;
    }
    Clock &known = grid->ordered[place];
    if (known.empty()) {
        known.resize(self.clock.size());
    }
    join(known, self.published);
    join(self.pending, known);
    if (!grid->together) {
        complain("blocks wait for each other in a grid that was not launched for it");
    }
}

void pause() { yield(); }

void piece(const void *place, size_t bytes) {
    Fiber &self = *grid->running;
    const uintptr_t begin = reinterpret_cast<uintptr_t>(place);
    (begin >= self.stack && begin < self.stack + stack_size ? self.near_pieces : self.pieces).add(begin, bytes);
}

Near::Near(const void *place, size_t bytes) {
    const uintptr_t begin = reinterpret_cast<uintptr_t>(place);
    grid->running->near = {begin, begin + bytes};
    grid->running->near_pieces = {};
}
Near::~Near() { grid->running->near = {0, 0}; }

void released(const void *place) {
    Fiber &self = *grid->running;
    const uintptr_t begin = reinterpret_cast<uintptr_t>(place);
    (begin >= self.stack && begin < self.stack + stack_size ? self.near_pieces : self.pieces).release(begin);
}

// The threads of this one's warp that are in a mask.
static Group &group_of(unsigned mask) {
    const Fiber &self = *grid->running;
    if ((mask >> self.thread % 32 & 1) == 0) {
        complain("a thread waits for others that do not wait for it");
    }
    return self.warp->of(mask);
}

static uint64_t exchange(unsigned mask, uint64_t bits, size_t lane, const void *place) {
    Fiber &self = *grid->running;
    Group &group = group_of(mask);
    self.given = bits;
    wait_for(group, false, place);
    if (lane < 32 && (mask >> lane & 1) == 0) {
        complain("a thread asks one that does not answer");
    }
    const uint64_t received = lane < self.warp->lanes.size() ? self.warp->lanes[lane]->given : bits;
    wait_for(group, false, nullptr);
    return received;
}

void begin_copy(void *to, const void *from, int bytes, int valid) {
    if (reinterpret_cast<uintptr_t>(to) % static_cast<uintptr_t>(bytes) != 0 || reinterpret_cast<uintptr_t>(from) % static_cast<uintptr_t>(bytes) != 0) {
        complain("a copy is not aligned");
    }
    access(to, static_cast<size_t>(bytes), Kind::write);
    std::memset(to, 0xA5, static_cast<size_t>(bytes));
    grid->running->copies.push_back({static_cast<char *>(to), static_cast<const char *>(from), bytes, valid, grid->running->groups});
}

void end_group() { ++grid->running->groups; }

void await_groups(int pending) {
    Fiber &self = *grid->running;
    const auto is_due = [&](const Copy &copy) { return copy.group < self.groups - pending; };
    for (const Copy &copy : self.copies) {
        if (is_due(copy)) {
            access(copy.from, static_cast<size_t>(copy.valid), Kind::read);
            access(copy.to, static_cast<size_t>(copy.bytes), Kind::write);
            std::memcpy(copy.to, copy.from, static_cast<size_t>(copy.valid));
            std::memset(copy.to + copy.valid, 0, static_cast<size_t>(copy.bytes - copy.valid));
        }
    }
    self.copies.erase(std::remove_if(self.copies.begin(), self.copies.end(), is_due), self.copies.end());
}

uint64_t from_below(unsigned mask, uint64_t bits, int lanes, int width) {
    const int own = static_cast<int>(grid->running->thread % 32), there = own + lanes;
    const int lane = own / width == there / width ? there : own;
    return exchange(mask, bits, static_cast<size_t>(lane), __builtin_return_address(0));
}

uint64_t from_lane(unsigned mask, uint64_t bits, int lane, int width) {
    const int own = static_cast<int>(grid->running->thread % 32);
    return exchange(mask, bits, static_cast<size_t>(own / width * width + lane % width), __builtin_return_address(0));
}

void run(dim3 blocks, dim3 threads, bool together, void (*body)(void *), void *argument) {
    // As on one stream: the threads of a host wait for each other's grids.
    static std::mutex one_at_a_time;
    const std::lock_guard<std::mutex> lock(one_at_a_time);
    Grid all;
    all.body = body;
    all.argument = argument;
    all.together = together;
    all.shared.resize(blocks.x);
    grid = &all;
    gridDim = blocks;
    blockDim = threads;
    const size_t count = size_t{blocks.x} * threads.x;
    all.stacks.reset(new char[count * stack_size]);
    for (unsigned block = 0; block < blocks.x; ++block) {
        all.groups.push_back(std::make_unique<Group>());
        Group *const of_block = all.groups.back().get();
        Warp *warp = nullptr;
        for (unsigned thread = 0; thread < threads.x; ++thread) {
            if (thread % 32 == 0) {
                all.warps.push_back(std::make_unique<Warp>());
                warp = all.warps.back().get();
            }
            auto fiber = std::make_unique<Fiber>();
            fiber->number = all.fibers.size();
            fiber->block = block;
            fiber->thread = thread;
            fiber->of_block = of_block;
            fiber->warp = warp;
            char *const stack = all.stacks.get() + fiber->number * stack_size;
            fiber->stack = reinterpret_cast<uintptr_t>(stack);
            fiber->clock.assign(count, 0);
            fiber->published = fiber->pending = fiber->clock;
            fiber->clock[fiber->number] = 1;
            getcontext(&fiber->context);
            fiber->context.uc_stack.ss_sp = stack;
            fiber->context.uc_stack.ss_size = stack_size;
            fiber->context.uc_link = nullptr;
            makecontext(&fiber->context, main_of_fiber, 0);
            of_block->members.push_back(fiber.get());
            warp->lanes.push_back(fiber.get());
            all.fibers.push_back(std::move(fiber));
        }
    }
    for (int idle = 0; idle < 3;) {
        all.progress = false;
        bool live = false;
        for (const auto &fiber : all.fibers) {
            if (fiber->done) {
                continue;
            }
            live = true;
            all.running = fiber.get();
            threadIdx = dim3(fiber->thread);
            blockIdx = dim3(fiber->block);
            swapcontext(&all.scheduler, &fiber->context);
            all.running = nullptr;
        }
        if (!live) {
            break;
        }
        idle = all.progress ? 0 : idle + 1;
        if (idle == 3 && !all.stuck) {
            complain("threads wait for ever");
            all.stuck = true;
            idle = 0;
        }
    }
    grid = nullptr;
}

}  // namespace shim

void __syncwarp(unsigned mask) { wait_for(shim::group_of(mask), true, __builtin_return_address(0)); }

void __syncthreads() { wait_for(*grid->running->of_block, true, __builtin_return_address(0)); }

void __threadfence() {
    Fiber &self = *grid->running;
    join(self.clock, self.pending);
    self.published = self.clock;
    ++self.clock[self.number];
}

// Grids may read so many bytes (0), write them before they read them (1), or both (2), until the next report.
extern "C" void shim_grant(const void *place, size_t bytes, int use) {
    const uintptr_t begin = reinterpret_cast<uintptr_t>(place);
    granted.push_back({{begin, begin + bytes}, static_cast<shim::Use>(use)});
}

// What was wrong since the last time.
extern "C" const char *shim_report() {
    static std::string last;
    last.swap(report);
    report.clear();
    granted.clear();
    return last.c_str();
}

#include "accesses.h"

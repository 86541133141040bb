#include "runtime.h"

#include "pages.h"
#include "threads.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include <ks/stack.h>

namespace ksc {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kFirstChunk = size_t{64} << 10;
constexpr size_t kLargestChunkKept = size_t{64} << 20;

Arena& thread_arena() {
    static thread_local Arena arena;
    return arena;
}

}  // namespace

Arena::~Arena() {
    for (const Chunk& chunk : chunks_) {
        std::free(chunk.data);
    }
}

void* Arena::alloc(size_t bytes) {
    if (bytes > SIZE_MAX / 4) {
        return nullptr;
    }
    const size_t rounded = std::max(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
    while (current_ < chunks_.size()) {
        const Chunk& chunk = chunks_[current_];
        const size_t used = std::max(top_, chunk.start) - chunk.start;
        if (chunk.size - used >= rounded) {
            top_ = chunk.start + used + rounded;
            return chunk.data + used;
        }
        if (current_ + 1 == chunks_.size()) {
            break;
        }
        ++current_;
        top_ = chunks_[current_].start;
    }
    const size_t start = chunks_.empty() ? 0 : chunks_.back().start + chunks_.back().size;
    const size_t size = std::max({rounded, kFirstChunk, start});
    auto* data = static_cast<char*>(std::aligned_alloc(kAlignment, size));
    if (data == nullptr) {
        return nullptr;
    }
    prefer_large_pages(data, size);
    chunks_.push_back({data, start, size});
    current_ = chunks_.size() - 1;
    top_ = start + rounded;
    return data;
}

void Arena::release(size_t mark) {
    top_ = mark;
    while (current_ > 0 && chunks_[current_].start >= mark) {
        --current_;
    }
    if (mark == 0 && chunks_.size() > 1) {
        trim();
    }
}

// The last chunk is the largest: a call like the one before finds its memory in one piece.
void Arena::trim() {
    Chunk last = chunks_.back();
    chunks_.pop_back();
    for (const Chunk& chunk : chunks_) {
        std::free(chunk.data);
    }
    chunks_.clear();
    if (last.size > kLargestChunkKept) {
        std::free(last.data);
    } else {
        last.start = 0;
        chunks_.push_back(last);
    }
    current_ = 0;
}

void Call::record(int code, int line, const char* message) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (failed_.load(std::memory_order_relaxed)) {
        return;
    }
    code_ = code;
    line_ = line;
    message_ = message;
    failed_.store(true, std::memory_order_release);
}

void Call::record(std::exception_ptr exception) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!failed_.load(std::memory_order_relaxed)) {
        code_ = KS_ERROR_CALLBACK;
        exception_ = std::move(exception);
        failed_.store(true, std::memory_order_release);
    }
}

void Call::record(const Call& other) {
    if (other.exception_ != nullptr) {
        record(other.exception_);
    } else {
        record(other.code_, other.line_, other.message_.c_str());
    }
}

ThreadRuntime::ThreadRuntime(Call& call) : context_{&call, &thread_arena()}, mark_(context_.arena->mark()) {
    runtime_.ctx = &context_;
    runtime_.alloc = [](const ks_runtime* runtime, size_t bytes) {
        void* memory = context(runtime).arena->alloc(bytes);
        if (memory == nullptr) {
            context(runtime).call->record(KS_ERROR_MEMORY, 0, "out of memory");
        }
        return memory;
    };
    runtime_.mark = [](const ks_runtime* runtime) { return context(runtime).arena->mark(); };
    runtime_.release = [](const ks_runtime* runtime, size_t mark) { context(runtime).arena->release(mark); };
    runtime_.error = [](const ks_runtime* runtime, int code, int line, const char* message) {
        context(runtime).call->record(code, line, message);
    };
    runtime_.stack_limit = ks::thread_stack_limit();
    runtime_.callback = kCallback;
    runtime_.threads = thread_count;
    runtime_.parallel = run_parts;
}

ThreadRuntime::~ThreadRuntime() { context_.arena->release(mark_); }

}  // namespace ksc

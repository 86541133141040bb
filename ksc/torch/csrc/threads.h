// Running parts of a kernel's loop on PyTorch's threads.
#pragma once

#include <ks/runtime.h>

namespace ksc {

// Whether this process was forked: the threads of a pool that its parent had are not there, and waiting for them would
// never end.
bool is_forked();

// The two functions of every ks_runtime of the core.
int thread_count(const ks_runtime* runtime);
int run_parts(const ks_runtime* runtime, int parts, ks_task task, void* context);

}  // namespace ksc

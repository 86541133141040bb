// Where the stack of the calling thread ends, for hosts. Not included by kernels.
#ifndef KS_STACK_H
#define KS_STACK_H

#include <cstddef>

#if defined(__linux__) || defined(__APPLE__)
#include <pthread.h>
#endif

namespace ks {

// The address that recursion stays above: what is left below serves the host's error path and library functions. A null
// pointer where the system does not say.
inline const char *stack_limit() {
    constexpr size_t reserve = size_t{128} << 10;
    const char *lowest = nullptr;
    size_t size = 0;
#if defined(__APPLE__)
    size = pthread_get_stacksize_np(pthread_self());
    lowest = static_cast<const char *>(pthread_get_stackaddr_np(pthread_self())) - size;
#elif defined(__linux__)
    pthread_attr_t attributes;
    if (pthread_getattr_np(pthread_self(), &attributes) != 0) {
        return nullptr;
    }
    void *start = nullptr;
    const int status = pthread_attr_getstack(&attributes, &start, &size);
    pthread_attr_destroy(&attributes);
    if (status != 0) {
        return nullptr;
    }
    lowest = static_cast<const char *>(start);
#endif
    return lowest == nullptr ? nullptr : lowest + (size / 4 < reserve ? size / 4 : reserve);
}

inline const char *thread_stack_limit() {
    static thread_local const char *const limit = stack_limit();
    return limit;
}

}  // namespace ks

#endif

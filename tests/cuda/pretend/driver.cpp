// CUDA's driver, as far as kernels that NVRTC compiled take it: an image is the path of a library that was compiled for the shim.
//
// One device, of compute capability 8.6, with three processors; threads have no context at first.
#include <dlfcn.h>

#include <cstddef>

namespace {

int a_context = 0, loaded_libraries = 0;
thread_local void *current = nullptr;

using Call = void (*)(unsigned blocks, unsigned threads, bool together, void **arguments, void *stream);

int launch(void *kernel, unsigned blocks, unsigned threads, bool together, void **arguments, void *stream) {
    reinterpret_cast<Call>(kernel)(blocks, threads, together, arguments, stream);
    return 0;
}

}  // namespace

extern "C" {

int cuInit(unsigned) { return 0; }
int cuGetErrorString(int status, const char **words) {
    *words = status == 209 ? "no image" : "refused";
    return 0;
}
int cuCtxGetCurrent(void **context) {
    *context = current;
    return 0;
}
int cuCtxSetCurrent(void *context) {
    current = context;
    return 0;
}
int cuCtxGetDevice(int *device) {
    *device = 0;
    return current != nullptr ? 0 : 201;
}
int cuDevicePrimaryCtxRetain(void **context, int) {
    *context = &a_context;
    return 0;
}
int cuDeviceGetAttribute(int *value, int what, int) {
    *value = what == 16 ? 3 : what == 39 ? 64 : what == 75 ? 8 : what == 76 ? 6 : 0;
    return *value != 0 ? 0 : 1;
}
int cuThreadExchangeStreamCaptureMode(int *) { return 0; }
int cuLibraryLoadData(void **library, const void *image, void *, void *, unsigned, void *, void *, unsigned) {
    ++loaded_libraries;
    *library = dlopen(static_cast<const char *>(image), RTLD_NOW | RTLD_LOCAL);
    return *library != nullptr ? 0 : 200;
}
int cuLibraryGetKernel(void **kernel, void *library, const char *name) {
    char symbol[256] = {};
    size_t end = 0;
    for (; name[end] != '\0' && end < 240; ++end) {
        symbol[end] = name[end];
    }
    for (const char *rest = "_call"; *rest != '\0'; ++rest) {
        symbol[end++] = *rest;
    }
    *kernel = dlsym(library, symbol);
    return *kernel != nullptr ? 0 : 500;
}
int cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, void *, int, size_t) {
    *blocks = 1;
    return 0;
}
int cuLaunchKernel(void *kernel, unsigned blocks, unsigned, unsigned, unsigned threads, unsigned, unsigned, unsigned, void *stream,
                   void **arguments, void **) {
    return launch(kernel, blocks, threads, false, arguments, stream);
}
int cuLaunchCooperativeKernel(void *kernel, unsigned blocks, unsigned, unsigned, unsigned threads, unsigned, unsigned, unsigned,
                              void *stream, void **arguments) {
    return launch(kernel, blocks, threads, true, arguments, stream);
}
int driver_loaded_libraries() { return loaded_libraries; }

}  // extern "C"

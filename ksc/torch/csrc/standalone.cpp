// What an exported library consists of beside its kernels and its registration: the core without Python.
#include "runtime.cpp"

#include "autograd.cpp"
#include "batching.cpp"
#include "device.cpp"
#include "device_memory.cpp"
#include "elementwise.cpp"
#include "exported.cpp"
#include "meta.cpp"
#include "operator.cpp"
#include "shapes.cpp"
#include "tensors.cpp"
#include "threads.cpp"

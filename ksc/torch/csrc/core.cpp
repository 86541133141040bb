// One translation unit: PyTorch's headers cost more to read than all of this does to compile.
#include "runtime.cpp"

#include "autograd.cpp"
#include "batching.cpp"
#include "callback.cpp"
#include "elementwise.cpp"
#include "fastcall.cpp"
#include "guards.cpp"
#include "meta.cpp"
#include "module.cpp"
#include "operator.cpp"
#include "shapes.cpp"
#include "tensors.cpp"

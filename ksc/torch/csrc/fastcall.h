// The vectorcall in front of an operator.
#pragma once

#include <Python.h>

namespace ksc {

// FastCall, the C type. A Python subclass defines __call__, the general way; after `vectorcall(cls)` a call goes first
// through the fast path, which takes it only where the outcome is the same, and to __call__ otherwise.
PyTypeObject* fast_call_type();

// vectorcall(cls) -> cls
PyObject* enable_vectorcall(PyObject* module, PyObject* cls);

}  // namespace ksc

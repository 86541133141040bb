// Callbacks of kernels into Python.
#pragma once

#include <Python.h>

namespace ksc {

// set_callback_host(host): what kernels call, with a name, a list of arguments and a list of places for the results.
PyObject* set_callback_host(PyObject* module, PyObject* host);

}  // namespace ksc

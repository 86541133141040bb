// A host in Python: kernels are compiled there when they are first wanted.
#pragma once

#include <Python.h>

#include "host.h"

namespace ksc {

class PythonHost final : public KernelHost {
  public:
    // `loader(derivation, dtype) -> address` and `error(code, line, message) -> exception` are kept.
    PythonHost(PyObject* loader, PyObject* error);

    void* load(const std::string& derivation, at::ScalarType dtype) override;
    [[noreturn]] void raise(int code, int line, const std::string& message) override;

  private:
    // Never released, as operators are not.
    PyObject* const loader_;
    PyObject* const error_;
};

}  // namespace ksc

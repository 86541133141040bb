// A host in Python: kernels are compiled there when they are first wanted.
#pragma once

#include <Python.h>

#include "host.h"

namespace ksc {

class PythonHost final : public KernelHost {
  public:
    // `loader(derivation, dtype, device) -> address`, `error(code, line, message) -> exception` and `declared(derivation)`
    // are kept, as is `handed() -> digits`, "" where no result is handed to the vjp.
    PythonHost(PyObject* loader, PyObject* error, PyObject* declared, PyObject* handed);

    void* load(const std::string& derivation, at::ScalarType dtype, c10::DeviceType device) override;
    std::vector<bool> handed_results() override;
    void declared(const std::string& derivation) override;
    [[noreturn]] void raise(int code, int line, const std::string& message) override;

  private:
    // Never released, as operators are not.
    PyObject* const loader_;
    PyObject* const error_;
    PyObject* const declared_;
    PyObject* const handed_;
};

}  // namespace ksc

// A host in Python: kernels are compiled there when they are first wanted.
#pragma once

#include <Python.h>

#include "host.h"

namespace ksc {

class PythonHost final : public KernelHost {
  public:
    // `loader(derivation, dtype, device, wide) -> address`, `error(code, line, message) -> exception` and `declared(derivation)`
    // are kept, as is `handed() -> digits`, "" where no result is handed to the vjp; `cut(derivation)` gives what parse_cut
    // reads, or None, and `parts(derivation, dtype, device, wide)` the addresses of its kernels.
    PythonHost(PyObject* loader, PyObject* error, PyObject* declared, PyObject* handed, PyObject* cut, PyObject* parts);

    void* load(const std::string& derivation, at::ScalarType dtype, c10::DeviceType device, bool wide) override;
    std::vector<bool> handed_results() override;
    std::shared_ptr<const Cut> cut(const std::string& derivation) override;
    std::vector<void*> load_parts(
        const std::string& derivation, at::ScalarType dtype, c10::DeviceType device, bool wide) override;
    void declared(const std::string& derivation) override;
    [[noreturn]] void raise(int code, int line, const std::string& message) override;

  private:
    // A new reference to what callable(derivation, dtype, device, wide) gives. Needs the GIL.
    PyObject* ask(
        PyObject* callable, const std::string& derivation, at::ScalarType dtype, c10::DeviceType device, bool wide) const;

    // Never released, as operators are not.
    PyObject* const loader_;
    PyObject* const error_;
    PyObject* const declared_;
    PyObject* const handed_;
    PyObject* const cut_;
    PyObject* const parts_;
};

}  // namespace ksc

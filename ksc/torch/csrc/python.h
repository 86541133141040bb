// The GIL and Python errors, for code that runs on any thread.
#pragma once

#include <Python.h>

#include <torch/csrc/Exceptions.h>

namespace ksc {

class WithGil {
  public:
    WithGil() : state_(PyGILState_Ensure()) {}
    WithGil(const WithGil&) = delete;
    WithGil& operator=(const WithGil&) = delete;
    ~WithGil() { PyGILState_Release(state_); }

  private:
    PyGILState_STATE state_;
};

class WithoutGil {
  public:
    explicit WithoutGil(bool release) : state_(release ? PyEval_SaveThread() : nullptr) {}
    WithoutGil(const WithoutGil&) = delete;
    WithoutGil& operator=(const WithoutGil&) = delete;
    ~WithoutGil() {
        if (state_ != nullptr) {
            PyEval_RestoreThread(state_);
        }
    }

  private:
    PyThreadState* state_;
};

// Carries the Python error that is set to the frame that handles C++ exceptions, on whatever thread. Needs the GIL.
[[noreturn]] inline void throw_python_error() {
    python_error error;
    error.persist();
    throw error;
}

}  // namespace ksc

"""``backend="interpret"``: a kernel as Python code that a debugger steps through, derivatives included."""

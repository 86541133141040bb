"""IR to readable C++ (and CUDA) text."""

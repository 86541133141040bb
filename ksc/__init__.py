"""Knossos: ahead-of-time, source-to-source automatic differentiation for PyTorch programmers."""

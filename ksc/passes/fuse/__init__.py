"""Fusion of tensor programs: one loop for a chain of elementwise steps and reductions, and no tensor in between."""

from ksc.passes.fuse.chain import fuse, has_tensors

__all__ = ["fuse", "has_tensors"]

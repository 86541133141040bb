"""Fusion of tensor programs: one loop for a chain of elementwise steps and reductions, and no tensor in between."""

from ksc.passes.fuse.chain import fuse, has_tensors
from ksc.passes.fuse.horizontal import fuse_neighbours

__all__ = ["fuse", "fuse_neighbours", "has_tensors"]

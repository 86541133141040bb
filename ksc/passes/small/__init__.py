"""Small tensors of known sizes live in scalars."""

from ksc.passes.small.rewrite import hold_small_tensors

__all__ = ["hold_small_tensors"]

"""Lanes by pieces, in which products of matrices take the place of sums; ``strip_mine`` is the entry."""

from ksc.passes.strips.mine import strip_mine

__all__ = ["strip_mine"]

"""Local simplification: constants, identities, and structured ops that say less than they seem to."""

from ksc.passes.simplify.simplifier import simplify

__all__ = ["simplify"]

"""One page that shows a kernel at every stage of the compiler, side by side: ``kernel.explore()``, ``ksc explore``."""

from ksc.explore.exploration import Exploration, explore

__all__ = ["Exploration", "explore"]

"""What the text of a kernel depends on beyond its program: where it runs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """A kind of processor, for the printers that all targets share.

    Attributes:
        template: that of a whole file, in ``templates/``.
        function: what stands before a function's result type.
        checks: the same for a function that only says which check of an index failed.
        in_lanes: whether loops are marked, and choices written, for vectors.
        is_grid: whether the threads of a grid walk through a kernel together, see docs/design/0017.
    """

    template: str
    function: str
    checks: str
    in_lanes: bool
    is_grid: bool


CPU = Target("kernel.cpp.jinja", "static inline", "KS_COLD static", in_lanes=True, is_grid=False)
GPU = Target("kernel.cu.jinja", "__device__ static inline", "__device__ static inline", in_lanes=False, is_grid=True)

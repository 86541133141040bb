"""Images read at places that a grid tells, between pixels and beyond the borders: spatial transformers.

Coordinates from -1 to 1 span an image; what is computed is what torch does, see ATen/native/GridSampler.h.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ksc.frontend.tensors.interpolation import Taps, cubic_weights, weighted
from ksc.frontend.tensors.op import Op, Tensor
from ksc.frontend.tensors.scalars import Scalar
from ksc.frontend.tensors.table import torch_function
from ksc.frontend.values import FALSE, NONE, Static, Value

PADDINGS = ("zeros", "border", "reflection")


@dataclass(frozen=True, slots=True)
class Sampler:
    """How an image is read: its last dimensions, what lies beyond the borders, and whether -1 and 1 are pixels."""

    op: Op
    x: Tensor
    outer: Sequence[Scalar]
    padding: str
    aligned: bool

    @property
    def sizes(self) -> Sequence[Scalar]:
        return self.x.sizes[2:]

    def coordinate(self, at: Scalar, size: Scalar) -> Scalar:
        """A coordinate of the grid in pixels."""
        if self.aligned:
            return (at + 1.0) / 2.0 * (size - 1).float
        return ((at + 1.0) * size.float - 1.0) / 2.0

    def inside(self, at: Scalar, size: Scalar) -> Scalar:
        """A coordinate moved into the image as the padding says."""
        match self.padding:
            case "border":
                return self._clipped(at, size)
            case "reflection":
                return self._clipped(self._reflected(at, size), size)
            case _:
                return at

    def _clipped(self, at: Scalar, size: Scalar) -> Scalar:
        """A coordinate at most at a border, where it has no derivative; NaN is at the last pixel."""
        last = (size - 1).float
        return (at <= 0.0).select(0.0, (at < last).select(at, last))

    def _reflected(self, at: Scalar, size: Scalar) -> Scalar:
        """A coordinate reflected at the borders: the outermost pixels where aligned, else their outer edges."""
        op = self.op
        low = op.number(0.0 if self.aligned else -0.5)
        span = (size - 1).float if self.aligned else size.float
        away = at - low
        distance = (away < 0.0).select(-away, away)
        turns = op.apply("floor", distance / span)
        rest = distance - op.apply("stop_gradient", turns) * span
        odd = (turns * 0.5).ne(op.apply("floor", turns * 0.5))
        return span.eq(0.0).select(0.0, odd.select(span - rest, rest) + low)

    def whole(self, at: Scalar, size: Scalar) -> Scalar:
        """A whole coordinate as an index; of one that is beyond the borders, or NaN, so is the index."""
        near = (at >= -1.0).select(self.op.apply("min", at, size.float), -2.0)
        return self.op.apply("to_int", near)

    def nearest(self, at: Scalar, size: Scalar) -> Taps:
        """The pixel next to a coordinate; halfway between two the one at an even place."""
        return [(self.whole(self.op.apply("round", self.inside(at, size)), size), self.op.number(1.0))]

    def linear(self, at: Scalar, size: Scalar) -> Taps:
        """The two pixels around a coordinate, the nearer one with a larger weight."""
        moved = self.inside(at, size)
        floor = self.op.apply("floor", moved)
        first, weight = self.whole(floor, size), moved - floor
        return [(first, self.op.number(1.0) - weight), (first + 1, weight)]

    def cubic(self, at: Scalar, size: Scalar) -> Taps:
        """The four pixels around a coordinate; those beyond the borders are moved each by itself."""
        floor = self.op.apply("floor", at)
        taps = []
        for k, weight in enumerate(cubic_weights(self.op, at - floor)):
            moved = self.op.apply("trunc", self.inside(floor + float(k - 1), size))
            taps.append((self.whole(moved, size), weight))
        return taps

    def pixel(self, index: Sequence[Scalar]) -> Scalar:
        """The pixel at an index, 0 beyond the borders."""
        within = self.op.number(True)
        for i, size in zip(index, self.sizes, strict=True):
            within = within & (i >= 0) & (i < size)
        return self.op.if_(within, lambda: self.x[[*self.outer, *index]], lambda: self.op.number(0.0))


WAYS: Mapping[str, Callable[[Sampler, Scalar, Scalar], Taps]] = {
    "bilinear": Sampler.linear,
    "nearest": Sampler.nearest,
    "bicubic": Sampler.cubic,
}


@torch_function("F.grid_sample")
def grid_sample(
    op: Op,
    input: Value,
    grid: Value,
    mode: Value = Static("bilinear"),
    padding_mode: Value = Static("zeros"),
    align_corners: Value = NONE,
) -> Value:
    """The images read at the coordinates in the last dimension of the grid, the last coordinate first."""
    x, places = op.float_tensor(input), op.float_tensor(grid)
    how = op.choice(mode, "mode", tuple(WAYS))
    padding = op.choice(padding_mode, "padding_mode", PADDINGS)
    n = x.rank - 2
    if n not in (2, 3) or places.rank != x.rank:
        op.refuse(f"needs an input and a grid of 4 or of 5 dimensions, not {x.rank} and {places.rank}", "reshape them")
    if how == "bicubic" and n == 3:
        op.refuse("with mode='bicubic' of an input of 5 dimensions", "use 'bilinear' or 'nearest'")
    op.require(places.sizes[-1].eq(n), f"grid_sample(): the last dimension of the grid has not size {n}")
    for size in x.sizes[2:]:
        op.require(size > 0, "grid_sample(): the input has no pixels")
    lanes = op.same(x.sizes[0], places.sizes[0])
    aligned = op.flag(align_corners, "align_corners")

    def body(index: list[Scalar]) -> Scalar:
        lane, channel, *at = index
        sampler = Sampler(op, x, (lane, channel), padding, aligned)
        given = [places[[lane, *at, op.number(n - 1 - k)]] for k in range(n)]
        pairs = zip(given, sampler.sizes, strict=True)
        taps = [WAYS[how](sampler, sampler.coordinate(place, size), size) for place, size in pairs]
        return weighted(op, taps, sampler.pixel)

    return op.result(op.build([lanes, x.sizes[1], *places.sizes[1:-1]], body))


@torch_function("F.affine_grid")
def affine_grid(op: Op, theta: Value, size: Value, align_corners: Value = FALSE) -> Value:
    """The grid of coordinates that an affine map takes those of an image of ``size`` to, for grid_sample()."""
    maps, sizes = op.float_tensor(theta), op.integers(size, "size")
    n = len(sizes) - 2
    if maps.rank != 3 or n not in (2, 3):
        op.refuse("needs maps of 3 dimensions, and 4 or 5 sizes", f"give theta the sizes (N, {n}, {n + 1})")
    fits = maps.sizes[1].eq(n) & maps.sizes[2].eq(n + 1)
    op.require(fits, f"affine_grid(): theta has not the sizes (N, {n}, {n + 1})")
    lanes = op.same(maps.sizes[0], sizes[0])
    for extent in sizes:
        op.require(extent > 0, "affine_grid(): a size is zero")
    aligned = op.flag(align_corners, "align_corners")

    def body(index: list[Scalar]) -> Scalar:
        lane, *at, row = index
        total = maps[[lane, row, op.number(n)]]
        for k in range(n):
            place = _even(op, at[n - 1 - k], sizes[-1 - k], aligned=aligned)
            total = total + maps[[lane, row, op.number(k)]] * place
        return total

    return op.result(op.build([lanes, *sizes[2:], op.number(n)], body))


def _even(op: Op, i: Scalar, count: Scalar, *, aligned: bool) -> Scalar:
    """The coordinate of a pixel, from -1 to 1: of centres where aligned, else of outer edges; 0 for one pixel."""
    if not aligned:
        return (i * 2 + 1).float / count.float - 1.0
    gaps = op.apply("max", count - 1, 1)
    return count.eq(1).select(0.0, i.float * (op.number(2.0) / gaps.float) - 1.0)

"""Windows that move over the last dimensions of a tensor: what convolutions and pooling functions have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ksc.frontend.tensors.op import Op
from ksc.frontend.tensors.scalars import Scalar
from ksc.frontend.values import Value


@dataclass(frozen=True, slots=True)
class Window:
    """A window with ``widths`` elements, ``dilations`` apart, that moves on by ``strides``: a number per dimension."""

    op: Op
    widths: Sequence[Scalar]
    strides: Sequence[Scalar]
    dilations: Sequence[Scalar]

    @staticmethod
    def read(op: Op, widths: Sequence[Scalar], stride: Value, dilation: Value) -> Window:
        """The window of a call, of which a number may stand for all dimensions; all numbers must be 1 or more."""
        n = len(widths)
        strides, dilations = op.integers(stride, "stride", count=n), op.integers(dilation, "dilation", count=n)
        for number in (*widths, *strides, *dilations):
            op.require(number > 0, f"{op.name}(): widths, strides and dilations are 1 or more")
        return Window(op, widths, strides, dilations)

    @property
    def spans(self) -> list[Scalar]:
        """From the first element to the last one, how many places less one."""
        return [gap * (width - 1) for gap, width in zip(self.dilations, self.widths, strict=True)]

    def counts(
        self, sizes: Sequence[Scalar], ends: Sequence[tuple[Scalar, Scalar]], *, ceil: bool = False
    ) -> list[Scalar]:
        """How many windows there are in dimensions that have elements added in front and behind.

        With ``ceil`` a window may stick out behind, as long as it begins before what is added there.
        """
        return [
            self._count(size, before, after, span, stride, ceil)
            for size, (before, after), span, stride in zip(sizes, ends, self.spans, self.strides, strict=True)
        ]

    def _count(self, size: Scalar, before: Scalar, after: Scalar, span: Scalar, stride: Scalar, ceil: bool) -> Scalar:
        op = self.op
        room = size + before + after - span - 1
        count = (room + stride - 1 if ceil else room) // stride + 1
        if ceil:
            count = op.apply("min", count, (size + before + stride - 1) // stride)
        op.require(op.require_size(count, "the size of the result") > 0, f"{op.name}(): no window fits into the tensor")
        return count

    def places(self, at: Sequence[Scalar], inner: Sequence[Scalar]) -> list[Scalar]:
        """The index, from the beginning of what is added in front, of the element ``inner`` of the window ``at``."""
        parts = zip(at, inner, self.strides, self.dilations, strict=True)
        return [i * stride + k * gap for i, k, stride, gap in parts]

"""Means and maxima of windows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ksc.frontend.tensors.convolutions import fitting, window_count
from ksc.frontend.tensors.extrema import Extremum, ravelled, search
from ksc.frontend.tensors.op import Op, Tensor
from ksc.frontend.tensors.scalars import Scalar
from ksc.frontend.tensors.table import torch_function
from ksc.frontend.values import FALSE, NONE, TRUE, Static, Struct, Value


class Windows:
    """The windows of a pooling function over the last ``n`` dimensions of a tensor."""

    def __init__(
        self, op: Op, x: Tensor, n: int, kernel: Value, stride: Value, padding: Value, dilation: Value, ceil: Value
    ) -> None:
        if x.rank not in (n + 1, n + 2):
            op.refuse(f"needs {n + 1} or {n + 2} dimensions, not {x.rank}", "reshape the tensor")
        op.require(op.product(x.sizes[x.rank - n - 1 :]) > 0, f"{op.name}() of no elements")
        if op.flag(ceil, "ceil_mode"):
            op.refuse("with ceil_mode", "pad the tensor with F.pad()")
        self.op, self.x, self.n = op, x, n
        self.widths = op.integers(kernel, "kernel_size", count=n)
        same = not stride.items if isinstance(stride, Struct) else isinstance(stride, Static) and stride.value is None
        self.strides = self.widths if same else op.integers(stride, "stride", count=n)
        self.ends = op.integers(padding, "padding", count=n)
        self.gaps = op.integers(dilation, "dilation", count=n)
        for pace in (*self.widths, *self.strides, *self.gaps):
            op.require(pace > 0, f"{op.name}(): widths, strides and dilations are 1 or more")
        for end, width in zip(self.ends, self.widths, strict=True):
            op.require((end >= 0) & (end * 2 <= width), f"{op.name}(): the padding is more than half of the window")
        self.counts = [
            fitting(op, window_count(size + end * 2, width, pace, gap))
            for size, end, width, pace, gap in zip(
                x.sizes[-n:], self.ends, self.widths, self.strides, self.gaps, strict=True
            )
        ]

    @property
    def sizes(self) -> list[Scalar]:
        """The sizes of the result."""
        return [*self.x.sizes[: -self.n], *self.counts]

    def place(self, at: Sequence[Scalar], inner: Sequence[Scalar]) -> tuple[list[Scalar], Scalar]:
        """The index of an element of the window ``at``, and whether it lies in the tensor."""
        places, inside = [], self.op.number(True)
        parts = zip(at, inner, self.strides, self.gaps, self.ends, self.widths, self.x.sizes[-self.n :], strict=True)
        for i, k, pace, gap, end, _, size in parts:
            j = i * pace + k * gap - end
            if not end.is_(0):
                inside = inside & (j >= 0) & (j < size)
            places.append(j)
        return places, inside


def _mean_pool(n: int) -> Callable[..., Value]:
    def function(
        op: Op,
        input: Value,
        kernel_size: Value,
        stride: Value = NONE,
        padding: Value = Static(0),
        ceil_mode: Value = FALSE,
        count_include_pad: Value = TRUE,
        divisor_override: Value = NONE,
    ) -> Value:
        x = op.float_tensor(input)
        windows = Windows(op, x, n, kernel_size, stride, padding, Static(1), ceil_mode)
        with_padding = op.flag(count_include_pad, "count_include_pad")
        fixed = None if op.static(divisor_override, "divisor_override") is None else op.integer(divisor_override, "it")
        if fixed is not None:
            op.require(fixed.ne(0), f"{op.name}(): divisor_override is zero")

        def body(index: list[Scalar]) -> Scalar:
            outer, at = index[:-n], index[-n:]

            def term(inner: list[Scalar]) -> Scalar:
                places, inside = windows.place(at, inner)
                return op.if_(inside, lambda: x[[*outer, *places]], lambda: op.number(0.0))

            total = op.reduce("add", windows.widths, term)
            if fixed is not None:
                return total / fixed.float
            if with_padding:
                return total / op.product(windows.widths).float
            count = op.number(1)
            for i, pace, end, width, size in zip(
                at, windows.strides, windows.ends, windows.widths, x.sizes[-n:], strict=True
            ):
                start = i * pace - end
                count = count * (op.apply("min", start + width, size) - op.apply("max", start, 0))
            return total / count.float

        return op.result(op.build(windows.sizes, body))

    return function


avg_pool1d = torch_function("torch.avg_pool1d", "F.avg_pool1d")(_mean_pool(1))
avg_pool2d = torch_function("F.avg_pool2d")(_mean_pool(2))


def _max_pool(n: int) -> Callable[..., Value]:
    def function(
        op: Op,
        input: Value,
        kernel_size: Value,
        stride: Value = NONE,
        padding: Value = Static(0),
        dilation: Value = Static(1),
        ceil_mode: Value = FALSE,
        return_indices: Value = FALSE,
    ) -> Value:
        x = op.float_tensor(input)
        windows = Windows(op, x, n, kernel_size, stride, padding, dilation, ceil_mode)

        def body(index: list[Scalar]) -> list[Scalar]:
            outer, at = index[:-n], index[-n:]

            def element(inner: Sequence[Scalar]) -> Scalar:
                places, inside = windows.place(at, inner)
                return op.if_(inside, lambda: x[[*outer, *places]], lambda: op.number(float("-inf")))

            best, _ = search(op, windows.widths, element, largest=True)
            places, _ = windows.place(at, best)
            return [element(best), ravelled(op, places, x.sizes[-n:])]

        made = op.build_many(windows.sizes, body)
        if op.flag(return_indices, "return_indices"):
            return op.results(Extremum, made, keys=("values", "indices"))
        return op.result(made[0])

    return function


max_pool1d = torch_function("torch.max_pool1d", "F.max_pool1d")(_max_pool(1))
max_pool2d = torch_function("torch.max_pool2d", "F.max_pool2d")(_max_pool(2))


def _adaptive_mean(n: int) -> Callable[..., Value]:
    def function(op: Op, input: Value, output_size: Value) -> Value:
        x = op.float_tensor(input)
        if x.rank not in (n + 1, n + 2):
            op.refuse(f"needs {n + 1} or {n + 2} dimensions, not {x.rank}", "reshape the tensor")
        counts = op.integers(output_size, "output_size", count=n)

        def body(index: list[Scalar]) -> Scalar:
            starts, widths = [], []
            for i, count, size in zip(index[-n:], counts, x.sizes[-n:], strict=True):
                start = i * size // count
                starts.append(start)
                widths.append(((i + 1) * size + count - 1) // count - start)

            def term(inner: list[Scalar]) -> Scalar:
                return x[[*index[:-n], *(start + k for start, k in zip(starts, inner, strict=True))]]

            return op.reduce("add", widths, term) / op.product(widths).float

        return op.result(op.build([*x.sizes[:-n], *map(op.require_size, counts)], body))

    return function


adaptive_avg_pool1d = torch_function("torch.adaptive_avg_pool1d", "F.adaptive_avg_pool1d")(_adaptive_mean(1))
adaptive_avg_pool2d = torch_function("F.adaptive_avg_pool2d")(_adaptive_mean(2))

"""Means and maxima of windows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ksc.frontend.tensors.extrema import ravelled, search
from ksc.frontend.tensors.op import Op, Tensor
from ksc.frontend.tensors.scalars import Scalar
from ksc.frontend.tensors.table import torch_function
from ksc.frontend.tensors.windows import Window
from ksc.frontend.values import FALSE, NONE, TRUE, Static, Struct, Value, is_none
from ksc.ir.types import Float
from ksc.ir.values import INTEGER_MIN

Parts = Callable[[Sequence[Scalar]], tuple[list[Scalar], list[Scalar]]]
"""Of a window its beginnings and its widths."""


class Pool:
    """The windows of a pooling function over the last ``n`` dimensions of a tensor.

    A window may reach into what is added at both ends of a dimension, and with ``ceil_mode`` beyond it.
    """

    def __init__(
        self, op: Op, x: Tensor, n: int, kernel: Value, stride: Value, padding: Value, dilation: Value, ceil: Value
    ) -> None:
        _require_dimensions(op, x, n)
        op.require(op.product(x.sizes[x.rank - n - 1 :]) > 0, f"{op.name}() of no elements")
        self.op, self.n = op, n
        self.inputs = x.sizes[-n:]
        absent = not stride.items if isinstance(stride, Struct) else is_none(stride)
        widths = op.integers(kernel, "kernel_size", count=n)
        self.window = Window.read(op, widths, kernel if absent else stride, dilation)
        self.ends = op.integers(padding, "padding", count=n)
        for end, width in zip(self.ends, widths, strict=True):
            op.require((end >= 0) & (end * 2 <= width), f"{op.name}(): the padding is more than half of the window")
        self.beyond = op.flag(ceil, "ceil_mode")
        counts = self.window.counts(self.inputs, [(end, end) for end in self.ends], ceil=self.beyond)
        self.sizes = [*x.sizes[:-n], *counts]

    def place(self, at: Sequence[Scalar], inner: Sequence[Scalar]) -> tuple[list[Scalar], Scalar]:
        """The index of the element ``inner`` of the window ``at``, and whether it lies in the tensor."""
        places, inside = [], self.op.number(True)
        for padded, end, size in zip(self.window.places(at, inner), self.ends, self.inputs, strict=True):
            j = padded - end
            if not end.is_(0):
                inside = inside & (j >= 0)
            if self.beyond or not end.is_(0):
                inside = inside & (j < size)
            places.append(j)
        return places, inside

    def first(self, at: Sequence[Scalar]) -> list[Scalar]:
        """The first element of the window ``at`` that does not lie in front of the tensor."""
        zero = self.op.number(0)
        begins = self.window.places(at, [zero] * self.n)
        parts = zip(begins, self.ends, self.window.dilations, strict=True)
        return [
            zero if end.is_(0) else self.op.apply("max", (end - begin + gap - 1) // gap, 0) for begin, end, gap in parts
        ]

    def elements(self, at: Sequence[Scalar], *, with_padding: bool) -> Scalar:
        """How many elements the window ``at`` has, what is added at the ends counted or not."""
        zero = self.op.number(0)
        begins = self.window.places(at, [zero] * self.n)
        count = self.op.number(1)
        for begin, width, end, size in zip(begins, self.window.widths, self.ends, self.inputs, strict=True):
            start, limit = begin - end, size + end if with_padding else size
            stop = self.op.apply("min", start + width, limit)
            count = count * (stop - (start if with_padding else self.op.apply("max", start, 0)))
        return count


def _require_dimensions(op: Op, x: Tensor, n: int) -> None:
    if x.rank not in (n + 1, n + 2):
        op.refuse(f"needs {n + 1} or {n + 2} dimensions, not {x.rank}", "reshape the tensor")


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
        pool = Pool(op, x, n, kernel_size, stride, padding, Static(1), ceil_mode)
        with_padding = op.flag(count_include_pad, "count_include_pad")
        fixed = None if op.static(divisor_override, "divisor_override") is None else op.integer(divisor_override, "it")
        if fixed is not None:
            op.require(fixed.ne(0), f"{op.name}(): divisor_override is zero")

        def body(index: list[Scalar]) -> Scalar:
            outer, at = index[:-n], index[-n:]

            def term(inner: list[Scalar]) -> Scalar:
                places, inside = pool.place(at, inner)
                return op.if_(inside, lambda: x[[*outer, *places]], lambda: op.number(0.0))

            total = op.reduce("add", pool.window.widths, term)
            if fixed is not None:
                return total / fixed.float
            if with_padding and not pool.beyond:
                return total / op.product(pool.window.widths).float
            return total / pool.elements(at, with_padding=with_padding).float

        return op.result(op.build(pool.sizes, body))

    return function


avg_pool1d = torch_function("torch.avg_pool1d", "F.avg_pool1d")(_mean_pool(1))
avg_pool2d = torch_function("F.avg_pool2d")(_mean_pool(2))
avg_pool3d = torch_function("F.avg_pool3d")(_mean_pool(3))


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
        x = op.numeric_tensor(input)
        pool = Pool(op, x, n, kernel_size, stride, padding, dilation, ceil_mode)
        lowest = op.number(float("-inf") if x.type == Float else INTEGER_MIN)

        def body(index: list[Scalar]) -> list[Scalar]:
            outer, at = index[:-n], index[-n:]

            def element(inner: Sequence[Scalar]) -> Scalar:
                places, inside = pool.place(at, inner)
                return op.if_(inside, lambda: x[[*outer, *places]], lambda: lowest)

            best, _ = search(op, pool.window.widths, element, largest=True, first=pool.first(at))
            places, _ = pool.place(at, best)
            return [element(best), ravelled(op, places, pool.inputs)]

        return _with_places(op, op.build_many(pool.sizes, body), return_indices)

    return function


def _with_places(op: Op, made: Sequence[Tensor], wanted: Value) -> Value:
    if op.flag(wanted, "return_indices"):
        return op.results(tuple, made)
    return op.result(made[0])


max_pool1d = torch_function("torch.max_pool1d", "F.max_pool1d")(_max_pool(1))
max_pool2d = torch_function("torch.max_pool2d", "F.max_pool2d")(_max_pool(2))
max_pool3d = torch_function("torch.max_pool3d", "F.max_pool3d")(_max_pool(3))


def _adaptive_sizes(op: Op, x: Tensor, n: int, output_size: Value) -> list[Scalar]:
    """The sizes of the result in the last ``n`` dimensions."""
    _require_dimensions(op, x, n)
    given = output_size.items if isinstance(output_size, Struct) else [output_size] * n
    if len(given) == 1:
        given = [*given] * n
    if len(given) != n:
        op.refuse(f"needs {n} numbers as output_size, not {len(given)}", f"give {n}")
    return [
        size if is_none(value) else op.require_size(op.integer(value, "output_size"))
        for value, size in zip(given, x.sizes[-n:], strict=True)
    ]


def _parts(inputs: Sequence[Scalar], counts: Sequence[Scalar]) -> Parts:
    """Of a window where it begins and how wide it is, for each dimension."""

    def parts(at: Sequence[Scalar]) -> tuple[list[Scalar], list[Scalar]]:
        starts = [i * size // count for i, count, size in zip(at, counts, inputs, strict=True)]
        stops = [((i + 1) * size + count - 1) // count for i, count, size in zip(at, counts, inputs, strict=True)]
        return starts, [stop - start for start, stop in zip(starts, stops, strict=True)]

    return parts


def adaptive_mean(op: Op, x: Tensor, counts: Sequence[Scalar]) -> Tensor:
    """The means of as many parts of the last dimensions, which overlap where the numbers do not divide the sizes."""
    n = len(counts)
    parts = _parts(x.sizes[-n:], counts)

    def body(index: list[Scalar]) -> Scalar:
        starts, widths = parts(index[-n:])

        def term(inner: list[Scalar]) -> Scalar:
            return x[[*index[:-n], *(start + k for start, k in zip(starts, inner, strict=True))]]

        return op.reduce("add", widths, term) / op.product(widths).float

    return op.build([*x.sizes[:-n], *counts], body)


def _adaptive_mean(n: int) -> Callable[..., Value]:
    def function(op: Op, input: Value, output_size: Value) -> Value:
        x = op.float_tensor(input)
        return op.result(adaptive_mean(op, x, _adaptive_sizes(op, x, n, output_size)))

    return function


adaptive_avg_pool1d = torch_function("torch.adaptive_avg_pool1d", "F.adaptive_avg_pool1d")(_adaptive_mean(1))
adaptive_avg_pool2d = torch_function("F.adaptive_avg_pool2d")(_adaptive_mean(2))
adaptive_avg_pool3d = torch_function("F.adaptive_avg_pool3d")(_adaptive_mean(3))


def _adaptive_max(n: int) -> Callable[..., Value]:
    def function(op: Op, input: Value, output_size: Value, return_indices: Value = FALSE) -> Value:
        x = op.float_tensor(input)
        counts = _adaptive_sizes(op, x, n, output_size)
        parts = _parts(x.sizes[-n:], counts)

        def body(index: list[Scalar]) -> list[Scalar]:
            starts, widths = parts(index[-n:])

            def place(inner: Sequence[Scalar]) -> list[Scalar]:
                return [start + k for start, k in zip(starts, inner, strict=True)]

            def element(inner: Sequence[Scalar]) -> Scalar:
                return x[[*index[:-n], *place(inner)]]

            best, _ = search(op, widths, element, largest=True)
            return [element(best), ravelled(op, place(best), x.sizes[-n:])]

        return _with_places(op, op.build_many([*x.sizes[:-n], *counts], body), return_indices)

    return function


adaptive_max_pool1d = torch_function("torch.adaptive_max_pool1d", "F.adaptive_max_pool1d")(_adaptive_max(1))
adaptive_max_pool2d = torch_function("F.adaptive_max_pool2d")(_adaptive_max(2))
adaptive_max_pool3d = torch_function("F.adaptive_max_pool3d")(_adaptive_max(3))

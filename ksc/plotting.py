"""Drawing a function of one number and its derivative."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from ksc.errors import ArgumentError, KernelRuntimeError, MissingExtraError

if TYPE_CHECKING:
    from ksc.kernel import Kernel

VALUE_COLOUR, SLOPE_COLOUR = "#1b6ca8", "#e07b39"

Samples = tuple[list[float], list[float], list[float]]
"""Arguments, values and derivatives."""


def plot(kernel: Kernel, lo: float, hi: float, *, count: int = 401, axes: Any = None) -> Any:
    """Draw a kernel of one number and its derivative over [lo, hi] with matplotlib.

    Args:
        kernel: takes one float, or a tensor of them, and gives one.
        lo, hi: the range of arguments.
        count: how many samples are drawn; computed in float64.
        axes: matplotlib's axes to draw into; new ones, of a new figure, where it is None.

    Returns:
        The axes.

    Raises:
        ArgumentError: the kernel is no function of one number, or the range is empty.
        MissingExtraError: matplotlib is not installed.
    """
    xs, values, slopes = samples(kernel, lo, hi, count=count)
    if axes is None:
        try:
            from matplotlib import pyplot
        except ImportError as missing:
            raise MissingExtraError("plot needs matplotlib", remedy="pip install 'ksc[plot]'") from missing
        axes = pyplot.subplots(layout="constrained")[1]
    axes.plot(xs, values, color=VALUE_COLOUR, linewidth=2.2, label=kernel.__name__)
    axes.plot(xs, slopes, color=SLOPE_COLOUR, linewidth=1.8, linestyle=(0, (5, 3)), label="derivative")
    axes.set_xlabel(next(iter(kernel.parameter_names), "x"))
    axes.grid(alpha=0.25)
    axes.margins(x=0)
    axes.legend(frameon=False)
    return axes


def samples(kernel: Kernel, lo: float, hi: float, *, count: int) -> Samples:
    """Arguments from lo to hi, the values of a kernel there, and its derivatives; NaN where it stops with an error.

    Raises ArgumentError where the kernel is no function of one number, or the range is empty.
    """
    if not (lo < hi and math.isfinite(lo) and math.isfinite(hi)) or count < 2:
        raise ArgumentError(f"there is nothing to draw between {lo} and {hi}", remedy="give lo < hi, both finite")
    if len(kernel.parameter_names) != 1:
        raise ArgumentError(
            f"{kernel.__name__} takes {len(kernel.parameter_names)} arguments, and one can be drawn",
            remedy="draw a function of one number that calls it",
        )
    xs = torch.linspace(lo, hi, count, dtype=torch.float64)
    if kernel.mapping.lift != "scalar":
        try:
            return _checked(kernel, xs, kernel(xs), kernel.vjp(xs, torch.ones_like(xs)))
        except KernelRuntimeError:
            pass
    values, slopes = zip(*(_sample(kernel, x) for x in xs), strict=True)
    return _checked(kernel, xs, torch.stack(values), torch.stack(slopes))


def _sample(kernel: Kernel, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    try:
        value = kernel(x)
        return _one(kernel, value), _one(kernel, kernel.vjp(x, torch.ones_like(x)))
    except KernelRuntimeError:
        nan = torch.tensor(math.nan, dtype=torch.float64)
        return nan, nan


def _one(kernel: Kernel, value: Any) -> torch.Tensor:
    if not isinstance(value, torch.Tensor) or value.dim() or not value.is_floating_point():
        raise ArgumentError(f"{kernel.__name__} gives no single float, and nothing else can be drawn")
    return value


def _checked(kernel: Kernel, xs: torch.Tensor, values: Any, slopes: Any) -> Samples:
    for found in (values, slopes):
        if not isinstance(found, torch.Tensor) or found.shape != xs.shape or not found.is_floating_point():
            raise ArgumentError(f"{kernel.__name__} gives no single float, and nothing else can be drawn")
    return xs.tolist(), values.tolist(), slopes.tolist()

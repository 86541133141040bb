"""A random tensor program with what its stages are checked against: the very same Python, run by PyTorch."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from types import TracebackType
from typing import Any

import numpy as np
import torch
from torch.autograd import forward_ad

from ksc.errors import KnossosError
from ksc.frontend import Abstract, trace
from ksc.ir.interpret import interpret
from ksc.ir.nodes import Program
from ksc.ir.types import Float, Integer, TensorType, is_differentiable
from tests.strategies.modules import SourceModule
from tests.strategies.tensors import Argument, TensorProgram

Numbers = list[Any]
Shape = tuple[int, int, int]


@contextmanager
def double_precision() -> Iterator[None]:
    """``torch.zeros(n)`` is float64, as a kernel's is of the width of its arguments."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


class TensorCase:
    """A random program, loaded; to be used as a context."""

    def __init__(self, program: TensorProgram) -> None:
        self.random = program
        self._module = SourceModule(program.source)
        self._traced: dict[tuple[Abstract, ...], Program] = {}

    def __enter__(self) -> TensorCase:
        self.function: Callable[..., Any] = getattr(self._module.__enter__(), self.random.entry)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._module.__exit__()

    def points(self) -> list[TensorPoint]:
        """The points where PyTorch runs the program."""
        found = [TensorPoint(self, shape) for shape in self.random.points]
        return [point for point in found if point.values is not None]

    def traced(self, args: Sequence[Argument]) -> Program:
        """What the frontend makes of the program for arguments like these."""
        described = tuple(map(description, args))
        if described not in self._traced:
            self._traced[described] = trace(self.function, described).program
        return self._traced[described]


def description(value: Argument) -> Abstract:
    """How the frontend sees an argument: sizes of 1 are known, all others depend on the call."""
    if isinstance(value, torch.Tensor):
        return Abstract(TensorType(value.ndim, Float, tuple(1 if size == 1 else None for size in value.shape)))
    return Abstract(Float if isinstance(value, float) else Integer)


def flat(result: Any) -> list[torch.Tensor]:
    """The tensors of a result, depth first; a number is one too."""
    if isinstance(result, tuple):
        return [leaf for part in result for leaf in flat(part)]
    return [result if isinstance(result, torch.Tensor) else torch.tensor(float(result))]


def arrays(values: Sequence[Any]) -> Numbers:
    """Tensors as the interpreter takes them."""
    return [
        v.detach().numpy() if isinstance(v, torch.Tensor) and v.ndim else float(v) if isinstance(v, torch.Tensor) else v
        for v in values
    ]


class TensorPoint:
    """A case at one point; ``bars`` are cotangents of all results, ``dots`` tangents of all arguments with derivatives."""

    def __init__(self, case: TensorCase, shape: Shape) -> None:
        self.case = case
        self.shape = shape
        self.args = case.random.arguments(shape)

    def copies(self) -> list[Any]:
        return [arg.clone() if isinstance(arg, torch.Tensor) else arg for arg in self.args]

    @cached_property
    def active(self) -> list[int]:
        return [k for k, arg in enumerate(self.args) if not isinstance(arg, int)]

    @cached_property
    def values(self) -> list[torch.Tensor] | None:
        """The results by PyTorch; None where it raises an exception, as it does for memory that overlaps itself."""
        try:
            with double_precision(), torch.no_grad():
                return [value.clone() for value in flat(self.case.function(*self.copies()))]
        except (RuntimeError, TypeError, IndexError):
            return None

    @property
    def ir(self) -> Program:
        return self.case.traced(self.args)

    @cached_property
    def bars(self) -> list[torch.Tensor]:
        assert self.values is not None
        generator = torch.Generator().manual_seed(self.shape[2])
        return [torch.randn(v.shape, generator=generator, dtype=torch.float64) for v in self.values]

    @cached_property
    def dots(self) -> list[torch.Tensor]:
        generator = torch.Generator().manual_seed(self.shape[2] + 1)
        shapes = [torch.as_tensor(self.args[k]).shape for k in self.active]
        return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]

    def _moving(self) -> list[Any]:
        return [torch.as_tensor(v, dtype=torch.float64) if k in self.active else v for k, v in enumerate(self.copies())]

    @cached_property
    def gradient(self) -> list[torch.Tensor] | None:
        """The transposed Jacobian times ``bars`` by autograd; None where it does not take what was changed in place."""
        args = self._moving()
        inputs = [args[k].requires_grad_() for k in self.active]
        try:
            with double_precision():
                results = flat(self.case.function(*args))
                pairs = [(r, bar) for r, bar in zip(results, self.bars, strict=True) if r.requires_grad]
                total = sum(((r * bar).sum() for r, bar in pairs), torch.zeros(()))
                if not total.requires_grad:
                    return [torch.zeros_like(i) for i in inputs]
                found = torch.autograd.grad(total, inputs, allow_unused=True)
        except RuntimeError:
            return None
        return [torch.zeros_like(i) if g is None else g for i, g in zip(inputs, found, strict=True)]

    @cached_property
    def slope(self) -> list[torch.Tensor] | None:
        """The Jacobian times ``dots`` by PyTorch's forward mode."""
        args = self._moving()
        try:
            with double_precision(), forward_ad.dual_level():
                for k, dot in zip(self.active, self.dots, strict=True):
                    args[k] = forward_ad.make_dual(args[k], dot)
                duals = [forward_ad.unpack_dual(result) for result in flat(self.case.function(*args))]
                return [torch.zeros_like(d.primal) if d.tangent is None else d.tangent.clone() for d in duals]
        except (RuntimeError, NotImplementedError):
            return None

    def moved(self, step: float) -> list[Any]:
        """The arguments, ``step`` along ``dots``."""
        args = self.copies()
        for k, dot in zip(self.active, self.dots, strict=True):
            args[k] = args[k] + step * dot if isinstance(args[k], torch.Tensor) else args[k] + step * dot.item()
        return args

    def along(self, step: float) -> np.ndarray[Any, Any]:
        """The results by PyTorch ``step`` along ``dots``, as one vector."""
        with double_precision(), torch.no_grad():
            return joined(flat(self.case.function(*self.moved(step))))

    @property
    def tame(self) -> bool:
        """Whether rounding is not magnified so much that digits mean nothing."""
        known = [*(self.values or ()), *(self.gradient or ()), *(self.slope or ())]
        return all(bool(torch.isfinite(v).all()) and bool((abs(v) < 1e5).all()) for v in known)

    def run(self, program: Program, *more: Sequence[torch.Tensor]) -> Numbers:
        """The results by the reference interpreter, given the arguments and ``more``."""
        return list(interpret(program, tuple(arrays([*self.args, *(v for part in more for v in part)])), width="f64"))


def joined(values: Sequence[Any]) -> np.ndarray[Any, Any]:
    """Tensors or arrays as one vector."""
    parts = [np.ravel(np.asarray(v.detach() if isinstance(v, torch.Tensor) else v, float)) for v in values]
    return np.concatenate(parts) if parts else np.zeros(0)


def assert_near(found: Sequence[Any], wanted: Sequence[Any], tolerance: float, what: str) -> None:
    """Results agree in number, sizes and value."""
    assert len(found) == len(wanted), what
    for mine, theirs in zip(found, wanted, strict=True):
        want = theirs.detach().numpy() if isinstance(theirs, torch.Tensor) else np.asarray(theirs)
        assert np.shape(mine) == want.shape, f"{what}: sizes {np.shape(mine)}, not {want.shape}"
        np.testing.assert_allclose(np.asarray(mine), want, rtol=tolerance, atol=tolerance, err_msg=what)


def differentiable(program: Program) -> list[int]:
    """The positions of the results that have derivatives."""
    return [k for k, type_ in enumerate(program.main.result_types) if is_differentiable(type_)]


def kind_of(error: Exception | None) -> object:
    """What two failures of the same cause have in common."""
    if error is None:
        return None
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "/ksc/" in frame.filename or "/tests/" in frame.filename
    ]
    last = own[-1] if own else None
    code = error.code if isinstance(error, KnossosError) else None
    return type(error), code, (last.filename, last.name) if last else None

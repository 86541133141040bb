"""What becomes of one call: it agrees with PyTorch in value and derivatives, or is refused, or is wrong."""

from __future__ import annotations

import re
import traceback
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

import numpy as np
import torch
from torch.autograd import forward_ad

from ksc.errors import InvalidIRError, KernelRuntimeError, KnossosError
from ksc.frontend import Abstract, trace
from ksc.ir.interpret import interpret
from ksc.ir.nodes import Program
from ksc.ir.types import Bool, Float, Integer, TensorType
from ksc.ir.verify import verify
from ksc.transforms import jvp, vjp
from ksc.transforms.shapes import shapes
from tests.ops.opinfo.spelling import WIDENED, Call
from tests.ops.tensor_oracle import data, flat, pulled

MOST_DIMENSIONS = 64
"""How many dimensions an array of numpy may have."""

TOLERANCE: Mapping[torch.dtype, float] = {torch.float64: 1e-7, torch.float32: 1e-3}
_ELEMENTS = {torch.float64: Float, torch.float32: Float, torch.int64: Integer, torch.bool: Bool}


_NUMBER_FOR_TENSOR = re.compile(r"must be Tensor, not (int|float|bool)|arguments - got \((int|Tensor, int)\b")
"""How PyTorch refuses a number in place of a tensor, which kernels take for a tensor of rank 0."""


UNKNOWN = "KS106"
"""The code of the error that refuses a function which kernels do not know."""


class Status(Enum):
    PASSED = "passed"
    ANNOTATED = "passed with sizes known"
    REFUSED = "refused"
    STOPPED = "stopped"
    BIG = "too big"
    INVALID = "torch refuses"
    UNSPELLED = "unsupported arguments"
    WRONG = "wrong"


@dataclass(frozen=True)
class Outcome:
    status: Status
    message: str = ""
    code: str = ""


@dataclass(frozen=True)
class Question:
    """What is asked of a call.

    Attributes:
        order: up to which order derivatives are compared, 0 for values alone.
        largest: how many elements the arguments, and the results, may have to be interpreted.
        values: whether values can be compared at all; sizes and dtypes always are.
        tolerance: how far values and derivatives may be off, absolutely and in proportion.
        places: whether the Integers of the result are determined where elements are equal.
        tangents: whether PyTorch has them.
    """

    order: int = 1
    largest: int = 300
    values: bool = True
    places: bool = True
    tangents: bool = True
    tolerance: Mapping[torch.dtype, float] = field(default_factory=lambda: TOLERANCE)


class WrongError(Exception):
    """A result is not what PyTorch has."""


def outcome(call: Call, question: Question) -> Outcome:
    """Check the value of a call and its derivatives, interpreted, against PyTorch."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if sum(arg.numel() for arg in call.args) > question.largest:
            return Outcome(Status.BIG)
        try:
            truth = _Truth(call)
        except (RuntimeError, TypeError, ValueError, IndexError, NotImplementedError) as error:
            return Outcome(Status.INVALID, str(error))
        if sum(value.numel() for value in truth.values) > question.largest:
            return Outcome(Status.BIG)
        found = _compared(call, truth, question, sizes_known=False)
        if found.status is Status.REFUSED and found.code != UNKNOWN and call.args:
            annotated = _compared(call, truth, question, sizes_known=True)
            if annotated.status is not Status.REFUSED:
                return replace(annotated, status=Status.ANNOTATED) if annotated.status is Status.PASSED else annotated
        return found


def refusal(call: Call) -> Outcome:
    """Check that a call which PyTorch refuses is refused, when it is traced or when it runs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if any(arg.dim() > MOST_DIMENSIONS for arg in call.args):
            return Outcome(Status.BIG)
        try:
            call.function(*call.args)
        except Exception as error:
            if _NUMBER_FOR_TENSOR.search(str(error)):
                return Outcome(Status.INVALID, "a number where torch wants a tensor")
        else:
            return Outcome(Status.INVALID, "torch gives a result")
        try:
            program = _traced(call)
            found = _run(program, call.args, _sizes(program, call.args))
        except InvalidIRError:
            return Outcome(Status.WRONG, traceback.format_exc(limit=-4))
        except KnossosError as error:
            return Outcome(Status.REFUSED, error.message)
        except Exception:
            return Outcome(Status.WRONG, traceback.format_exc(limit=-4))
        return Outcome(Status.WRONG, f"torch refuses this, kernels give {found}")


class _Truth:
    """PyTorch's values and derivatives of a call, in directions drawn at random."""

    def __init__(self, call: Call) -> None:
        g = torch.Generator().manual_seed(7)
        self.function = call.function
        self.args = [arg.clone().requires_grad_(arg.is_floating_point()) for arg in call.args]
        self.ins = [arg for arg in self.args if arg.is_floating_point()]
        self.values = flat(call.function(*self.args))
        self.outs = [value for value in self.values if value.is_floating_point()]
        self.dots = [torch.randn(x.shape, generator=g, dtype=x.dtype) for x in self.ins]
        self.bars = [torch.randn(y.shape, generator=g, dtype=y.dtype) for y in self.outs]
        self.differentiable = bool(self.ins) and any(out.requires_grad for out in self.outs)

    def cotangents(self) -> list[torch.Tensor] | None:
        """The cotangents of the float arguments, or None where PyTorch has none for the function."""
        try:
            return pulled(self.outs, self.ins, self.bars)
        except (RuntimeError, NotImplementedError):
            return None

    def tangents(self) -> list[torch.Tensor] | None:
        """The tangents of the float results, None as above."""
        dots = iter(self.dots)
        try:
            with forward_ad.dual_level():
                duals = [
                    forward_ad.make_dual(arg.detach(), next(dots)) if arg.is_floating_point() else arg
                    for arg in self.args
                ]
                parts = [forward_ad.unpack_dual(value) for value in flat(self.function(*duals))]
        except (RuntimeError, NotImplementedError):
            return None
        floats = [part for part in parts if part.primal.is_floating_point()]
        return [torch.zeros_like(p.primal) if p.tangent is None else p.tangent for p in floats]

    def second(self) -> list[torch.Tensor] | None:
        """The cotangents of the arguments of the reverse derivative along the tangents, None as above."""
        try:
            back = pulled(self.outs, self.ins, self.bars, graph=True)
            return pulled(back, self.ins, self.dots)
        except (RuntimeError, NotImplementedError):
            return None


def _traced(call: Call, *, sizes_known: bool = False) -> Program:
    program = trace(call.function, [_description(arg, sizes_known) for arg in call.args]).program
    verify(program)
    return program


def _description(tensor: torch.Tensor, sizes_known: bool) -> Abstract:
    """A tensor with all sizes known, or only which of them are 1."""
    elem = _ELEMENTS[tensor.dtype]
    if not tensor.dim():
        return Abstract(elem, tensor=True)
    return Abstract(
        TensorType(tensor.dim(), elem, tuple(size if sizes_known or size == 1 else None for size in tensor.shape))
    )


def _run(program: Program, args: Sequence[torch.Tensor], sizes: Sequence[Sequence[int]]) -> list[torch.Tensor]:
    """The results of a program, which have these sizes."""
    single = torch.get_default_dtype() == torch.float32
    found = interpret(program, [data(arg) for arg in args], width="f32" if single else "f64")
    dtypes = {Float: torch.float32 if single else torch.float64, Integer: torch.int64, Bool: torch.bool}
    made = []
    for value, result in zip(found, program.main.body.results, strict=True):
        elem = result.type.elem if isinstance(result.type, TensorType) else result.type
        made.append(torch.as_tensor(np.asarray(value)).to(dtypes[elem]))
    # The interpreter learns the inner sizes of a stack from its rows, of which there may be none.
    return [tensor if tensor.numel() else tensor.reshape(shape) for tensor, shape in zip(made, sizes, strict=True)]


def _sizes(program: Program, args: Sequence[torch.Tensor]) -> list[tuple[int, ...]]:
    """The sizes of the results as they are stated before the call."""
    numbers = {k: arg.item() for k, arg in enumerate(args) if not arg.dim()}
    return shapes(program).evaluate([arg.shape for arg in args], numbers)


def _compared(call: Call, truth: _Truth, question: Question, *, sizes_known: bool) -> Outcome:
    try:
        _compare(_traced(call, sizes_known=sizes_known), call, truth, question)
    except InvalidIRError:
        return Outcome(Status.WRONG, traceback.format_exc(limit=-4))
    except KernelRuntimeError as error:
        return Outcome(Status.STOPPED, error.message, error.code)
    except KnossosError as error:
        return Outcome(Status.REFUSED, error.message, error.code)
    except WrongError as error:
        return Outcome(Status.WRONG, str(error))
    except Exception:
        return Outcome(Status.WRONG, traceback.format_exc(limit=-4))
    return Outcome(Status.PASSED)


def _compare(program: Program, call: Call, truth: _Truth, question: Question) -> None:
    stated, sizes = _sizes(program, call.args), [tuple(value.shape) for value in truth.values]
    found = _run(program, call.args, stated)
    if stated != sizes:
        raise WrongError(f"sizes {stated} are stated, but torch has {sizes}")
    _alike(found, truth.values, "value", question)
    if not truth.differentiable or question.order == 0:
        return
    reverse, forward = vjp(program), jvp(program)
    verify(reverse)
    verify(forward)
    back = _run(reverse, [*call.args, *truth.bars], [x.shape for x in truth.ins])
    along = _run(forward, [*call.args, *truth.dots], [y.shape for y in truth.outs])
    if (cotangents := truth.cotangents()) is not None:
        _alike(back, cotangents, "cotangent", question)
    if question.tangents and (tangents := truth.tangents()) is not None:
        _alike(along, tangents, "tangent", question)
    if question.order > 1 and (second := truth.second()) is not None:
        again = vjp(forward)
        verify(again)
        found = _run(again, [*call.args, *truth.dots, *truth.bars], [x.shape for x in (*truth.ins, *truth.ins)])
        _alike(found[: len(second)], second, "second order", question, slack=10)


def _alike(
    found: Sequence[torch.Tensor],
    expected: Sequence[torch.Tensor],
    what: str,
    question: Question,
    slack: float = 1,
) -> None:
    if len(found) != len(expected):
        raise WrongError(f"{what}: {len(found)} results, not {len(expected)}")
    for k, (have, want) in enumerate(zip(found, expected, strict=True)):
        want = want.detach().long() if want.dtype in WIDENED else want.detach()
        if have.shape != want.shape or have.dtype != want.dtype:
            kinds = f"{have.dtype} {list(have.shape)}, but torch has {want.dtype} {list(want.shape)}"
            raise WrongError(f"{what} {k}: {kinds}")
        tolerance = slack * question.tolerance.get(want.dtype, 0.0)
        if question.values and (question.places or want.dtype != torch.int64):
            same = torch.isclose(have, want, rtol=tolerance, atol=tolerance, equal_nan=True)
            for at in (~same).nonzero().tolist()[:1]:
                count = int((~same).sum())
                raise WrongError(
                    f"{what} {k}: {have[tuple(at)].item()!r} at {at}, but torch has {want[tuple(at)].item()!r}"
                    f" ({count} of {same.numel()} elements differ)"
                )

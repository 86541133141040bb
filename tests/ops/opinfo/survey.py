"""All samples of one operator that are asked for, and what became of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch

from tests.ops.opinfo.checks import TOLERANCE, UNKNOWN, Outcome, Question, Status, outcome, refusal
from tests.ops.opinfo.database import calls, title, wrong_calls
from tests.ops.opinfo.spelling import Call, forms


@dataclass(frozen=True)
class Finding:
    """What became of one sample: the source of the call, of which tensors, and the outcome.

    ``error`` holds for a call that PyTorch must refuse.
    """

    what: str
    source: str
    shapes: str
    outcome: Outcome
    error: bool = False


@dataclass(frozen=True)
class Extent:
    """How many samples are tried: of floats, of each other dtype and form, to second order; None is all.

    ``forms`` is how many ways of a call are tried, ``largest`` how many elements floats have at most.
    """

    forms: int | None
    floats: int | None
    others: int | None
    second: int
    largest: int


FULL = Extent(forms=None, floats=None, others=12, second=4, largest=450)
SHORT = Extent(forms=1, floats=2, others=1, second=1, largest=60)

_UNINITIALISED = {"empty", "empty_like", "empty_permuted", "new_empty", "new_empty_strided"}
_UNDERIVED = {"logical_and_", "logical_or_", "logical_xor_", "logical_not_"}
"""In place, PyTorch lets cotangents pass these functions, which are constant wherever they have a derivative."""
_FIRST_ORDER = {"linalg.norm.subgradients_at_zero"}
"""Samples at which PyTorch's second derivative is NaN."""
_SINGLE = {"float"}
"""Functions that give float32 whatever new tensors have: what they make of integers has that width in kernels of it."""
_ANY_PLACE = {"topk", "kthvalue", "median", "nanmedian"}
"""Functions that may give any place of equal elements."""
_LOOSE = {
    "logcumsumexp": {torch.float64: 1e-4, torch.float32: 1e-2},
    "matrix_exp": {torch.float64: 1e-7, torch.float32: 1e-2},
}
"""Functions that lose digits: the derivatives of PyTorch's first, small elements beside large ones in the second."""


def survey(op: Any, extent: Extent) -> Iterator[Finding]:
    """Try the samples of an operator in every form and dtype, and the calls that must be refused.

    A function that kernels do not know is tried once.
    """
    for k, form in enumerate(islice(forms(op), extent.forms)):
        first = k == 0
        dtypes = (torch.float64, torch.int64, torch.bool, torch.float32) if first else (torch.float64,)
        for dtype in dtypes:
            single = dtype == torch.float32 or title(op) in _SINGLE
            torch.set_default_dtype(torch.float32 if single else torch.float64)
            limit = extent.floats if first and dtype == torch.float64 else extent.others
            for n, call in enumerate(calls(op, form, dtype, limit)):
                twice = first and n < extent.second and dtype == torch.float64 and title(op) not in _FIRST_ORDER
                question = Question(
                    order=0 if form.method in _UNDERIVED else 2 if twice else 1,
                    largest=extent.largest if dtype.is_floating_point else FULL.largest,
                    values=op.name not in _UNINITIALISED,
                    tolerance=_LOOSE.get(op.name, TOLERANCE),
                    places=op.name not in _ANY_PLACE,
                    tangents=op.supports_forward_ad,
                )
                found = _finding(f"{form}, {dtype}", call, question)
                yield found
                if found.outcome.code == UNKNOWN:
                    return
        torch.set_default_dtype(torch.float64)
        if first:
            for call in wrong_calls(op, form):
                yield _finding(f"{form}, an error", call, None)


def _finding(what: str, call: Call | Exception, question: Question | None) -> Finding:
    if isinstance(call, Exception):
        return Finding(what, "", "", Outcome(Status.UNSPELLED, str(call)))
    if question is not None and any(
        arg.dtype not in (torch.get_default_dtype(), torch.int64, torch.bool) for arg in call.args
    ):
        return Finding(what, call.source, "", Outcome(Status.UNSPELLED, "floats of another width than new tensors"))
    shapes = ", ".join(f"{str(arg.dtype).removeprefix('torch.')}{list(arg.shape)}" for arg in call.args)
    result = refusal(call) if question is None else outcome(call, question)
    return Finding(what, call.source, shapes, result, error=question is None)

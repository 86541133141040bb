"""The functions of torch that take or make tensors, by identity, with their parameters.

A function is written as ``def name(op: Op, input: Value, dim: Value = NONE, *, keepdim: Value = FALSE) -> Value`` with
the parameters of the torch function that it is, and entered in the table by ``@torch_function("name")``.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.nn import functional

from ksc.frontend.frame import Frame
from ksc.frontend.tensors.dtypes import is_left_to_caller
from ksc.frontend.tensors.op import Op
from ksc.frontend.values import Static, Value
from ksc.originals import has_original, original

Handler = Callable[[Frame, Sequence[Value], Mapping[str, Value], ast.AST], Value]
TensorFunction = Callable[..., Value]

OWNERS: Mapping[str, Any] = {
    "torch": torch,
    "Tensor": torch.Tensor,
    "F": functional,
    "special": torch.special,
    "linalg": torch.linalg,
}

TABLE: dict[object, Handler] = {}
"""How a call of a function with tensors is traced, by the function itself."""

_SYNONYMS = {"axis": "dim", "axes": "dims", "keepdims": "keepdim", "x": "input", "x1": "input", "x2": "other"}
"""The names of numpy that torch takes for its own."""


def torch_function(*paths: str) -> Callable[[TensorFunction], TensorFunction]:
    """Enter a function under each of ``paths``: ``"F.pad"``, or ``"sum"`` for both torch.sum and the method."""

    def enter(function: TensorFunction) -> TensorFunction:
        for path in paths:
            for obj in objects(path):
                TABLE[obj] = _handler(path.rpartition(".")[2], function)
        return function

    return enter


def objects(path: str) -> Iterator[object]:
    """The callables that a path names, those of torch alone. Raises LookupError where torch has none."""
    owner, _, name = path.rpartition(".")
    owners = [OWNERS[owner]] if owner else [torch, torch.Tensor]
    if not any(hasattr(where, name) for where in owners):
        raise LookupError(path)
    yield from (original(where, name) for where in owners if has_original(where, name))


def _handler(name: str, function: TensorFunction) -> Handler:
    parameters = list(inspect.signature(function).parameters.values())[1:]

    def handler(frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
        op = Op(frame, name, node)
        positional, named = bind(op, parameters, args, kwargs)
        return function(op, *positional, **named)

    return handler


def bind(
    op: Op, parameters: Sequence[inspect.Parameter], args: Sequence[Value], kwargs: Mapping[str, Value]
) -> tuple[list[Value], dict[str, Value]]:
    """The arguments as the parameters take them.

    Raises TypeMismatchError (KS204) where they do not fit, UnsupportedError (KS107) for ``out=``.
    """
    if "out" in kwargs:
        if not (isinstance(kwargs["out"], Static) and kwargs["out"].value is None):
            op.refuse("with out=", f"bind the result: `y = {op.name}(…)`", code="KS107")
        kwargs = {key: value for key, value in kwargs.items() if key != "out"}
    by_position = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    rest = next((p for p in parameters if p.kind is p.VAR_POSITIONAL), None)
    known = {p.name: p for p in parameters}
    signature = f"it is {op.name}({', '.join(known)})"
    if rest is None and len(args) > len(by_position):
        op.refuse(f"takes {len(by_position)} positional arguments, not {len(args)}", signature, code="KS204")
    bound = {p.name: value for p, value in zip(by_position, args, strict=False)}
    more = list(args[len(by_position) :])
    for given, value in kwargs.items():
        key = given if given in known else _SYNONYMS.get(given, given)
        if key not in known or key in bound:
            what = "twice" if key in bound else "that kernels do not know"
            op.refuse(f"is given the argument {given!r} {what}", signature, code="KS204")
        if rest is not None and key == rest.name:
            more = [value]
        else:
            bound[key] = value
    _require_callers_device(op, bound.get("device"))
    positional = []
    for p in by_position:
        if p.name not in bound and p.default is p.empty:
            op.refuse(f"is not given its argument {p.name!r}", signature, code="KS204")
        positional.append(bound.pop(p.name, p.default))
    return [*positional, *more], bound


def _require_callers_device(op: Op, device: Value | None) -> None:
    """Refuse (KS200) a device of the kernel's choice."""
    if not isinstance(device, Static) or device.value is None or is_left_to_caller(device.value):
        return
    if str(device.value) != "cpu":
        reason = f"with device={str(device.value)!r}: a kernel computes where its arguments are"
        op.refuse(reason, "leave it out, or write `device=x.device`")

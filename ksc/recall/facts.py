"""What calls need to know of a traced function, as data that a file can keep: JSON, so that reading it runs nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ksc.frontend.guards import Guard
from ksc.frontend.values import Abstract, Static, Struct, Value
from ksc.ir.nodes import Span
from ksc.ir.types import Bool, Float, Integer, TensorType, Type
from ksc.torch.spec import ArgSpec, OpSpec, ResultSpec

_SCALARS = {str(type_): type_ for type_ in (Float, Integer, Bool)}
_KEPT_OF_ABSTRACT = frozenset({"type", "weak", "tensor", "sizes", "cell", "narrow"})


class NotPlainError(Exception):
    """Something has no place in a file."""


@dataclass(frozen=True, slots=True, eq=False)
class Facts:
    """What calls need to know of a traced function.

    Attributes:
        spec: what is declared to PyTorch.
        result: the structure of a lane's results.
        lane_ranks: the rank of each result in a lane.
        exact: a hash that tells apart programs that differ in anything.
        guards: what was read from outside the function.
        generator: a hash of the code that makes a source of the program; "" for that of this process.
        calls_back: whether the program calls functions of Python.
        handed: which results backward is handed, see ``ksc.handing``; None where that was not asked yet.
        whole: the derivations that are known not to be cut at products of matrices, see ``ksc.codegen.cuda.cut``.
    """

    spec: OpSpec
    result: Value
    lane_ranks: tuple[int, ...]
    exact: str
    guards: tuple[Guard, ...] = ()
    generator: str = ""
    calls_back: bool = False
    handed: str | None = None
    whole: tuple[str, ...] = ()


def to_json(facts: Facts, classes: Sequence[type]) -> dict[str, Any]:
    """The facts without their guards; a class of the user by its place in ``classes``. Raises NotPlainError."""
    spec = facts.spec
    return {
        "name": spec.name,
        "args": [_fields(arg) for arg in spec.args],
        "results": [_fields(result) for result in spec.results],
        "lift": spec.lift,
        "partial_seeds": spec.partial_seeds,
        "shapes": _shapes(spec),
        "doc": spec.doc,
        "span": _fields(spec.span) if spec.span is not None else None,
        "result": _value(facts.result, classes),
        "lane_ranks": list(facts.lane_ranks),
        "exact": facts.exact,
        "generator": facts.generator,
        "handed": facts.handed,
        "whole": list(facts.whole),
    }


def from_json(data: dict[str, Any], classes: Sequence[type], guards: tuple[Guard, ...]) -> Facts:
    """The facts that ``to_json`` wrote. Raises ValueError, KeyError, TypeError or IndexError where it did not."""
    spec = OpSpec(
        name=data["name"],
        args=tuple(ArgSpec(**_tuples(arg)) for arg in data["args"]),
        results=tuple(ResultSpec(**_tuples(result)) for result in data["results"]),
        lift=data["lift"],
        partial_seeds=data["partial_seeds"],
        shapes=_read_shapes(data["shapes"]),
        doc=data["doc"],
        span=Span(**data["span"]) if data["span"] is not None else None,
    )
    result = _read_value(data["result"], classes)
    ranks = tuple(data["lane_ranks"])
    return Facts(
        spec, result, ranks, data["exact"], guards, data["generator"], handed=data["handed"], whole=tuple(data["whole"])
    )


def _fields(obj: Any) -> dict[str, Any]:
    return {name: _plain(getattr(obj, name)) for name in obj.__dataclass_fields__}


def _plain(value: Any) -> Any:
    if value is None or type(value) in (bool, int, str):
        return value
    if type(value) is tuple:
        return [_plain(item) for item in value]
    raise NotPlainError(type(value).__name__)


def _tuples(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}


def _shapes(spec: OpSpec) -> Any:
    if spec.shapes is None:
        return None
    ops = [[op.code, op.a, op.b, op.c] for op in spec.shapes.ops]
    return {"ops": ops, "results": _plain(spec.shapes.results), "lines": _plain(spec.shapes.lines)}


def _read_shapes(data: Any) -> Any:
    if data is None:
        return None
    from ksc.ir.sizes import ShapeProgram, SizeOp

    ops = tuple(SizeOp(*op) for op in data["ops"])
    return ShapeProgram(ops, tuple(map(tuple, data["results"])), tuple(map(tuple, data["lines"])))


def _value(value: Value, classes: Sequence[type]) -> Any:
    match value:
        case Abstract():
            if not _KEPT_OF_ABSTRACT.issuperset(value.__dataclass_fields__):
                raise NotPlainError("Abstract")
            narrow = getattr(value, "narrow", None)
            kept = {"type": _type(value.type), "weak": value.weak, "tensor": value.tensor}
            return kept if narrow is None else {**kept, "narrow": str(narrow).removeprefix("torch.")}
        case Static(obj):
            if type(obj) is float:
                return {"float": obj.hex() if obj == obj else "nan"}
            return {"static": _plain(obj) if type(obj) is not tuple else _refused(obj)}
        case Struct(cls=cls, items=items, keys=keys):
            named = cls.__name__ if cls in _CONTAINERS.values() else _place(cls, classes)
            return {"struct": named, "items": [_value(item, classes) for item in items], "keys": _plain(tuple(keys))}
        case _:
            return _refused(value)


_CONTAINERS: dict[str, type] = {"tuple": tuple, "list": list, "dict": dict}


def _refused(obj: object) -> Any:
    raise NotPlainError(type(obj).__name__)


def _place(cls: type, classes: Sequence[type]) -> int:
    if cls not in classes:
        raise NotPlainError(cls.__name__)
    return classes.index(cls)


def _read_value(data: dict[str, Any], classes: Sequence[type]) -> Value:
    if "type" in data:
        narrow = {"narrow": getattr(torch, data["narrow"])} if "narrow" in data else {}
        return Abstract(_read_type(data["type"]), data["weak"], data["tensor"], **narrow)
    if "float" in data:
        return Static(float.fromhex(data["float"]))
    if "static" in data:
        return Static(data["static"])
    named = data["struct"]
    cls = _CONTAINERS[named] if isinstance(named, str) else classes[named]
    return Struct(cls, tuple(_read_value(item, classes) for item in data["items"]), tuple(data["keys"]))


def _type(type_: Type) -> Any:
    if isinstance(type_, TensorType):
        return [_type(type_.elem), *type_.sizes]
    return str(type_) if str(type_) in _SCALARS else _refused(type_)


def _read_type(data: Any) -> Type:
    if isinstance(data, str):
        return _SCALARS[data]
    elem, *sizes = data
    return TensorType(len(sizes), _read_type(elem), tuple(sizes))

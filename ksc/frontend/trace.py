"""The entry point of the frontend."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Any

from ksc.errors import ArgumentError
from ksc.frontend.capture import capture, is_namedtuple_class
from ksc.frontend.functions import FunctionTable, locate, parameters
from ksc.frontend.guards import Guard, GuardSet
from ksc.frontend.refuse import LoopTypeError, NeedsStaticError, refuse
from ksc.frontend.rules import trace_root
from ksc.frontend.source import plain_function
from ksc.frontend.special import special_callable
from ksc.frontend.tensors.dtypes import is_left_to_caller
from ksc.frontend.values import Abstract, Static, Struct, Value, as_slice, leaves
from ksc.ir.nodes import Program, Span
from ksc.ir.types import Integer, TensorType, Type

Description = Any
"""Abstract, Static, Struct, or a tuple, list, dict or namedtuple of descriptions."""


@dataclass(frozen=True, slots=True, eq=False)
class Traced:
    """What tracing a function gives.

    Attributes:
        program: the IR; the entry's parameters are the Abstract leaves of ``params`` in order.
        params: the description of each Python parameter, by name and in order.
        result: the template of the Python result; the entry's results are its Abstract leaves in order.
        guards: what was read from outside the function; where one no longer holds, the trace is stale.
        span: where the function stands.
    """

    program: Program
    params: Mapping[str, Value]
    result: Value
    guards: tuple[Guard, ...]
    span: Span

    def rebuild(self, results: Iterable[Any]) -> Any:
        """The Python value of the entry's flat ``results``, which may be numbers or tensors."""
        return rebuild_python(self.result, iter(results))


def rebuild_python(template: Value, results: Iterator[Any]) -> Any:
    """The Python value of a template, the next of ``results`` standing in for each Abstract leaf."""
    match template:
        case Struct(cls=cls, items=items, keys=keys):
            parts = [rebuild_python(item, results) for item in items]
            if cls is dict:
                return dict(zip(keys, parts, strict=True))
            return cls(**dict(zip(keys, parts, strict=True))) if keys else cls(parts)
        case Abstract():
            return next(results)
        case Static(value):
            return value
        case _:
            raise TypeError(f"no Python value stands for {template!r}")


def trace(
    fn: object,
    params: Sequence[Description] | Mapping[str, Description],
    *,
    name: str | None = None,
) -> Traced:
    """Translate a Python function into the IR.

    Args:
        fn: a Python function, or a kernel made of one.
        params: a description per Python parameter, in order or by name: ``Abstract(type)`` for a value that depends on
            the call, ``Static(value)`` for one known at compile time, a ``Struct``, tuple, list, dict or namedtuple of
            these. A parameter that is not described takes its default.
        name: the name of the entry function; by default that of ``fn``.

    Raises:
        UnsupportedError: the function uses Python that has no meaning in a kernel.
        TypeMismatchError: types inside the function do not fit.
        ArgumentError: ``params`` does not fit the parameters of ``fn``.
    """
    function = plain_function(fn)
    if function is None:
        title = getattr(fn, "__qualname__", repr(fn))
        refuse(None, f"{title} has no Python source", "write it with `def` and math or torch functions", code="KS109")
    source, node, _ = locate(function)
    span = source.span(node, head=True)
    guards = GuardSet()
    described = _describe(function, [arg.arg for arg in parameters(node)], params, span, guards)
    guards.record_function(function)
    table = FunctionTable(guards)
    try:
        special = special_callable(fn)
        if special is None:
            entry = table.trace(function, tuple(described.values()), root=True, name=name)
        else:
            entry = trace_root(table, special, tuple(described.values()), name)
    except RecursionError:
        refuse(span, "the function nests too deep to be translated", "split it into several functions", code="KS114")
    except (NeedsStaticError, LoopTypeError) as error:
        raise error.published() from None
    assert entry.result is not None
    if _holds_slice(entry.result) or not all(map(_has_meaning, leaves(entry.result))):
        what = "a function, a method, a range, a slice, or a dtype or device that only the caller knows"
        instead = "return numbers, tensors, tuples and dataclasses of them"
        refuse(span, f"the kernel returns {what}", instead, code="KS118")
    _require_wide(described.values(), entry.result, span)
    return Traced(table.program(entry), described, entry.result, guards.freeze(), span)


def _has_meaning(leaf: Value) -> bool:
    """Whether a part of a result has a meaning outside the trace."""
    if not isinstance(leaf, Static):
        return isinstance(leaf, Abstract)
    internal = type(leaf.value).__module__.startswith("ksc.frontend.")
    return not (internal or is_left_to_caller(leaf.value) or isinstance(leaf.value, range))


def _holds_slice(value: Value) -> bool:
    parts = value.items if isinstance(value, Struct) else ()
    return as_slice(value) is not None or any(map(_holds_slice, parts))


def _require_wide(params: Iterable[Value], result: Value, span: Span) -> None:
    """Refuse (KS210) an Integer as a result where a narrow tensor is mapped over, or passed as a number."""
    given = (leaf for param in params for leaf in leaves(param) if isinstance(leaf, Abstract))
    narrow = next((leaf.narrow for leaf in given if leaf.narrow is not None and not leaf.is_tensor), None)
    integers = any(isinstance(leaf, Abstract) and _element(leaf.type) == Integer for leaf in leaves(result))
    if narrow is not None and integers:
        reason = f"a result is of integers where an argument is of {narrow}: a kernel gives them as torch.int64"
        refuse(span, reason, "convert the argument before the call, with .long()", code="KS210")


def _element(type_: Type) -> Type:
    return type_.elem if isinstance(type_, TensorType) else type_


def _describe(
    function: FunctionType,
    names: list[str],
    params: Sequence[Description] | Mapping[str, Description],
    span: Span,
    guards: GuardSet,
) -> dict[str, Value]:
    given = dict(params) if isinstance(params, Mapping) else dict(zip(names, params, strict=False))
    extra = set(given) - set(names)
    if extra or (not isinstance(params, Mapping) and len(params) > len(names)):
        raise ArgumentError(f"{function.__name__} has the parameters ({', '.join(names)})", span=span)
    code = function.__code__
    values = function.__defaults__ or ()
    defaults = dict(zip(code.co_varnames[code.co_argcount - len(values) : code.co_argcount], values, strict=True))
    defaults.update(function.__kwdefaults__ or {})
    found: dict[str, Value] = {}
    for name in names:
        if name in given:
            found[name] = describe_value(given[name])
        elif name in defaults:
            found[name] = capture(defaults[name], f"the default of {name}", span, guards)
        else:
            raise ArgumentError(f"{function.__name__} is not given its argument {name!r}", span=span)
    return found


def describe_value(description: Description) -> Value:
    """A description as a template: containers of descriptions become Structs."""
    if isinstance(description, Value):
        return description
    if isinstance(description, tuple):
        items = tuple(map(describe_value, description))
        keys = description._fields if is_namedtuple_class(type(description)) else ()  # type: ignore[attr-defined]
        return Struct(type(description), items, keys)
    if isinstance(description, list):
        return Struct(list, tuple(map(describe_value, description)))
    if isinstance(description, dict):
        return Struct(dict, tuple(map(describe_value, description.values())), tuple(description))
    raise TypeError(f"a description is Abstract, Static, Struct or a container of these, not {description!r}")

"""Objects that a call of is traced by a rule of their own: derivatives, users' rules, callbacks, ``stop_gradient``."""

from __future__ import annotations

import ast
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from ksc.frontend.frame import Frame
    from ksc.frontend.values import Value
    from ksc.ir.nodes import Program

    Step = Callable[[Program, Sequence[Value], Value], tuple[Program, Value]]
    Handler = Callable[[Frame, Sequence[Value], Mapping[str, Value], ast.AST], Value]

F = TypeVar("F", bound=Callable[..., object])


@dataclass(frozen=True, slots=True)
class Derived:
    """What a kernel names as ``__knossos_derived__``: the function it is made of, and what is done to its program.

    A step takes a program, the templates of its parameters and that of its result, and gives a program of the same
    parameters and the template of its result.
    """

    function: Callable[..., object]
    steps: tuple[Step, ...]


class Special(ABC):
    """A callable that says how a call of it is traced."""

    @property
    @abstractmethod
    def __knossos_function__(self) -> Callable[..., object]:
        """The Python function behind it, whose signature it has."""

    @abstractmethod
    def trace_call(self, frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
        """The value of a call."""


_FUNCTIONS: dict[object, Handler] = {}


def traced_by(handler: Handler) -> Callable[[F], F]:
    """A decorator: calls of the function are traced by ``handler``."""

    def decorate(function: F) -> F:
        _FUNCTIONS[function] = handler
        return function

    return decorate


def special_callable(obj: object) -> Special | None:
    """``obj``, or what the kernel ``obj`` is made of, where that says how a call of it is traced."""
    found = _innermost(obj)
    return found if isinstance(found, Special) else None


def special_call(obj: object) -> Handler | None:
    """How a call of ``obj``, or of the kernel made of it, is traced where there is a rule of its own, else None."""
    found = _innermost(obj)
    if isinstance(found, Special):
        return found.trace_call
    return _FUNCTIONS.get(found) if isinstance(found, FunctionType) else None


def _innermost(obj: object) -> object:
    """The special callable or Python function that a call of ``obj`` means, None where it means neither."""
    for _ in range(100):
        if isinstance(obj, Special | FunctionType):
            return obj
        obj = getattr(obj, "__knossos_function__", None)
        if obj is None:
            return None
    return None


def derived_function(obj: object) -> Derived | None:
    """The derivative that a call of ``obj`` means, None where it means none."""
    found = None if isinstance(obj, type) else getattr(obj, "__knossos_derived__", None)
    return found if isinstance(found, Derived) else None

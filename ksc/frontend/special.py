"""Objects that a call of is traced by a rule of their own: derivatives, users' rules, callbacks, ``stop_gradient``."""

from __future__ import annotations

import ast
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import TYPE_CHECKING, NoReturn, TypeVar

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


class TracedCallable:
    """A function that exists while a kernel is traced only, as what makes kernels of functions takes it.

    Attributes:
        value: the local function, partial function or method.
        __signature__: the names of its parameters.
    """

    def __init__(self, value: Value, name: str, parameters: Sequence[str]) -> None:
        self.value = value
        self.__name__ = name
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        self.__signature__ = inspect.Signature([inspect.Parameter(parameter, kind) for parameter in parameters])

    def __call__(self, *args: object, **kwargs: object) -> NoReturn:
        raise TypeError(f"{self.__name__} is a function inside a kernel")


@dataclass(frozen=True, slots=True)
class Directional:
    """What a callable names as ``__knossos_directional__``: the ``"vjp"`` or ``"jvp"`` of a kernel."""

    kernel: Callable[..., object]
    kind: str


_FUNCTIONS: dict[object, Handler] = {}


def traced_by(handler: Handler) -> Callable[[F], F]:
    """A decorator: calls of the function are traced by ``handler``."""

    def decorate(function: F) -> F:
        _FUNCTIONS[function] = handler
        return function

    return decorate


def made_of_constants(function: F) -> F:
    """A decorator for functions that make kernels: inside a kernel they are called while it is traced."""

    def handler(frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
        from ksc.frontend.derived import call_with_constants

        return call_with_constants(function, frame, args, kwargs, node)

    return traced_by(handler)(function)


def special_callable(obj: object) -> Special | None:
    """``obj``, or what the kernel ``obj`` is made of, where that says how a call of it is traced."""
    found = innermost(obj)
    return found if isinstance(found, Special) else None


def special_call(obj: object) -> Handler | None:
    """How a call of ``obj``, or of the kernel made of it, is traced where there is a rule of its own, else None."""
    found = innermost(obj)
    if isinstance(found, Special):
        return found.trace_call
    return _FUNCTIONS.get(found) if isinstance(found, FunctionType) else None


def innermost(obj: object) -> object:
    """The special callable or function that a call of ``obj`` means, None where it means neither."""
    for _ in range(100):
        if isinstance(obj, Special | FunctionType | TracedCallable):
            return obj
        obj = getattr(obj, "__knossos_function__", None)
        if obj is None:
            return None
    return None


def derived_function(obj: object) -> Derived | None:
    """The derivative that a call of ``obj`` means, None where it means none."""
    found = None if isinstance(obj, type) else getattr(obj, "__knossos_derived__", None)
    return found if isinstance(found, Derived) else None


def directional_function(obj: object) -> Directional | None:
    """The vjp or jvp of a kernel that a call of ``obj`` means, None where it means none."""
    found = None if isinstance(obj, type) else getattr(obj, "__knossos_directional__", None)
    return found if isinstance(found, Directional) else None

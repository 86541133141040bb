"""A user's own derivatives: ``custom_vjp``, ``custom_jvp`` and ``stop_gradient``, spelt as in JAX."""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from types import FunctionType
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from ksc.errors import ArgumentError
from ksc.frontend.rules import call_with_rule, trace_stop_gradient
from ksc.frontend.source import plain_function
from ksc.frontend.special import Special, traced_by

if TYPE_CHECKING:
    from ksc.frontend.frame import Frame
    from ksc.frontend.values import Value
    from ksc.kernel import Kernel

T = TypeVar("T")


class CustomRule(Special):
    """A function with a derivative of its own; it is called inside kernels, or as a kernel itself.

    Attributes:
        nondiff_argnums: the positions of arguments that have no derivative, or a derivative declared to be zero; they
            may be functions and other objects known at compile time.
    """

    kind: str
    defining: str

    def __init__(self, fun: Callable[..., Any], nondiff_argnums: Sequence[int] = ()) -> None:
        function = plain_function(fun)
        if function is None:
            raise ArgumentError(f"{type(self).__name__} is made of a function, not of a {type(fun).__name__}")
        functools.update_wrapper(self, function)
        self.__wrapped__: FunctionType = function
        self.__name__ = function.__name__
        self.__qualname__ = function.__qualname__
        self.rule: tuple[FunctionType, ...] | None = None
        names = list(inspect.signature(function).parameters)
        for k in nondiff_argnums:
            if not 0 <= k < len(names):
                raise ArgumentError(
                    f"nondiff_argnums names argument {k} of {function.__name__}, which has {len(names)}"
                )
        self.nondiff_argnums = frozenset(nondiff_argnums)

    @property
    def __knossos_function__(self) -> FunctionType:
        return self.__wrapped__

    @functools.cached_property
    def kernel(self) -> Kernel:
        """The kernel that a call from plain Python runs."""
        from ksc.decorators import register

        return register(self)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The function's results, from the kernel that ``register`` makes of it."""
        return self.kernel(*args, **kwargs)

    def trace_call(self, frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
        """The value of a call inside a kernel."""
        return call_with_rule(frame, self, args, kwargs, node)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.__qualname__}>"

    def __reduce__(self) -> str:
        return self.__qualname__

    def _define(self, *functions: Callable[..., Any]) -> None:
        found = tuple(map(plain_function, functions))
        if any(function is None for function in found):
            raise ArgumentError(f"{self.defining} takes Python functions")
        self.rule = tuple(function for function in found if function is not None)


class custom_vjp(CustomRule):  # noqa: N801  the spelling that JAX's users know
    """A function whose reverse derivative is given by two functions, both in the language of kernels.

    >>> import ksc as knossos
    >>> @knossos.custom_vjp
    ... def clipped(x: float) -> float:
    ...     return x
    >>> def forward(x: float):
    ...     return x, None
    >>> def backward(residuals, y_bar: float):
    ...     return (min(max(y_bar, -1.0), 1.0),)
    >>> clipped.defvjp(forward, backward)
    >>> knossos.grad(clipped)(2.0)
    1.0

    ``forward`` takes the arguments and gives the results and what ``backward`` is to know. ``backward`` takes the
    arguments at ``nondiff_argnums``, what ``forward`` left, and a cotangent in the structure of the results (None for
    what is no float). It gives a tuple with a cotangent for each of the other arguments; None there is zero.

    Forward mode is the transpose of ``backward``, which must be linear in the cotangent for that;
    DifferentiationError is raised where it is not, or where there is no rule yet.
    """

    kind = "rev"
    defining = "defvjp(forward, backward)"

    def defvjp(self, fwd: Callable[..., Any], bwd: Callable[..., Any]) -> None:
        """Give the rule. Raises ArgumentError for what is no Python function."""
        self._define(fwd, bwd)


class custom_jvp(CustomRule):  # noqa: N801  the spelling that JAX's users know
    """A function whose forward derivative is given by a function in the language of kernels.

    >>> import ksc as knossos
    >>> @knossos.custom_jvp
    ... def log1pexp(x: float) -> float:
    ...     return math.log1p(math.exp(x))
    >>> @log1pexp.defjvp
    ... def rule(primals, tangents):
    ...     (x,), (x_dot,) = primals, tangents
    ...     return log1pexp(x), x_dot * (1.0 - 1.0 / (1.0 + math.exp(x)))
    >>> knossos.grad(log1pexp)(0.0)
    0.5

    The rule takes the arguments at ``nondiff_argnums``, then a tuple of the other ones and a tuple of their tangents
    (None for what is no float). It gives the results and their tangents; None there is zero. Reverse mode is its
    transpose, so it must be linear in the tangents; DifferentiationError is raised where it is not.
    """

    kind = "fwd"
    defining = "defjvp(rule)"

    def defjvp(self, rule: T) -> T:
        """Give the rule; usable as a decorator. Raises ArgumentError for what is no Python function."""
        assert callable(rule)
        self._define(rule)
        return rule


@traced_by(trace_stop_gradient)
def stop_gradient(x: T) -> T:
    """``x`` taken as a constant by every derivative.

    >>> def straight_through(x: float) -> float:
    ...     return x + knossos.stop_gradient(round(x) - x)
    >>> knossos.value_and_grad(straight_through)(2.3)
    (2.0, 1.0)

    Inside kernels numbers, tensors and structures of them; outside, tensors are detached, and what else there is is
    given back as it is.
    """
    value: Any = x
    if isinstance(value, torch.Tensor):
        value = value.detach()
    elif isinstance(value, dict):
        value = {key: stop_gradient(item) for key, item in value.items()}
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        value = type(value)(*map(stop_gradient, value))
    elif isinstance(value, tuple | list):
        value = type(value)(map(stop_gradient, value))
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: stop_gradient(getattr(value, field.name)) for field in dataclasses.fields(value)}
        value = dataclasses.replace(value, **fields)
    return value  # type: ignore[no-any-return]

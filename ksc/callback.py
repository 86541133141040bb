"""``callback``: a Python function called from inside a kernel, for what the compiler cannot express."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from ksc.errors import ArgumentError
from ksc.frontend.callbacks import call_callback
from ksc.frontend.special import Special
from ksc.ir.host import HostFunction, host_function, offer
from ksc.ir.types import Bool, Float, Integer, TensorType, Type
from ksc.torch.operator import core

if TYPE_CHECKING:
    from ksc.frontend.frame import Frame
    from ksc.frontend.values import Value

_NUMBERS: dict[Any, Type] = {float: Float, int: Integer, bool: Bool}


class Callback(Special):
    """A Python function as a part of kernels; made by ``callback``."""

    def __init__(self, function: Callable[..., Any], result_type: Any, vjp: Callable[..., Any] | None) -> None:
        if not callable(function):
            raise ArgumentError(f"a callback is made of a function, not of a {type(function).__name__}")
        self.__wrapped__ = function
        self.__name__: str = getattr(function, "__name__", type(function).__name__)
        self.__doc__ = function.__doc__
        self.signature = inspect.signature(function)
        self.is_tuple = isinstance(result_type, tuple)
        self.results = [self._spec(spec) for spec in (result_type if self.is_tuple else (result_type,))]
        title = f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', self.__name__)}"
        self.host_name = offer(title, _as_host(self.__name__, function))
        self.host_vjp = offer(f"{title}[vjp]", _as_host(f"the vjp of {self.__name__}", vjp)) if vjp else None

    @property
    def __knossos_function__(self) -> Callable[..., Any]:
        return self.__wrapped__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the Python function itself."""
        return self.__wrapped__(*args, **kwargs)

    def trace_call(self, frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
        """The value of a call inside a kernel."""
        return call_callback(frame, self, args, kwargs, node)

    def __repr__(self) -> str:
        return f"<callback {self.__name__}>"

    def _spec(self, spec: Any) -> Type | int:
        if isinstance(spec, type) and spec in _NUMBERS:
            return _NUMBERS[spec]
        if isinstance(spec, str) and spec in self.signature.parameters:
            return list(self.signature.parameters).index(spec)
        if isinstance(spec, torch.Tensor) and spec.dim() > 0:
            elem = Float if spec.is_floating_point() else {torch.int64: Integer, torch.bool: Bool}.get(spec.dtype)
            if elem is not None:
                return TensorType(spec.dim(), elem, tuple(spec.shape))
        raise ArgumentError(
            f"{spec!r} is no result type of the callback {self.__name__}",
            remedy="give float, int, bool, an example tensor, the name of a parameter of the same type, or a tuple",
        )


def callback(function: Callable[..., Any], result_type: Any, *, vjp: Callable[..., Any] | None = None) -> Callback:
    """A function that kernels can call: they stop, and Python runs.

    >>> table = knossos.callback(lambda x: {1.0: 10.0}[x], float)
    >>> @knossos.register
    ... def scaled(x: float) -> float:
    ...     return 2 * table(x)
    >>> scaled(1.0)
    20.0

    Args:
        function: any function of numbers and tensors. It must give the same for the same arguments: it may be called
            again in a derivative, or not at all where its result is not used. What it raises leaves the kernel's call.
        result_type: what it gives: float, int or bool; a tensor of the same sizes, of a floating dtype, int64 or bool;
            the name of a parameter, for a result like that argument; or a tuple of these.
        vjp: a function that takes the arguments and then a cotangent for each float result and gives a cotangent for
            each float argument, None for zero. Without it the callback cannot be differentiated.

    Returns:
        A callable: inside a kernel the callback, outside of kernels the function itself. A float is a Python float and
        a tensor has the dtype that the kernel computes in.

    Raises:
        ArgumentError: the result type is none of these; when the kernel runs, the function gave something else.
    """
    return Callback(function, result_type, vjp)


def _as_host(name: str, function: Callable[..., Any]) -> HostFunction:
    def run(given: Sequence[torch.Tensor], places: Sequence[torch.Tensor]) -> None:
        found = function(*(value.clone() if value.dim() else value.item() for value in given))
        values = tuple(found) if isinstance(found, tuple | list) and len(places) != 1 else (found,)
        if len(places) == 1 and isinstance(found, tuple | list) and len(found) == 1:
            values = tuple(found)
        if len(values) != len(places):
            raise ArgumentError(f"{name} gave {len(values)} results, and {len(places)} were declared")
        for value, place in zip(values, places, strict=True):
            _put(name, value, place)

    return run


def _put(name: str, value: Any, place: torch.Tensor) -> None:
    # A Python float is a double, which torch's default dtype would round.
    dtype = torch.float64 if isinstance(value, float) else None
    made = torch.zeros_like(place) if value is None else torch.as_tensor(value, dtype=dtype)
    widens = made.dtype == place.dtype or place.is_floating_point() or made.dtype == torch.bool
    if made.shape != place.shape or not widens or made.is_complex():
        raise ArgumentError(
            f"{name} gave {made.dtype} of shape {list(made.shape)}, "
            f"and {place.dtype} of shape {list(place.shape)} was declared"
        )
    place.copy_(made.detach())


def _run(name: str, given: Sequence[torch.Tensor], places: Sequence[torch.Tensor]) -> None:
    host_function(name)(given, places)


core.set_callback_host(_run)

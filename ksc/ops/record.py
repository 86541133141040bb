"""A primitive is one record: type rule, evaluation, partial derivatives, C++ and sample inputs."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ksc.errors import DifferentiationError, KernelRuntimeError, TypeMismatchError
from ksc.ir.builder import Expr
from ksc.ir.types import Bool, Float, Integer, Type
from ksc.ops.cpp import CppForm

Value = float | int | bool
Width = Literal["f32", "f64"]
Evaluate = Callable[..., Value]

PartialValue = Expr | Callable[[Expr], Expr] | None
Partial = Callable[..., PartialValue]
"""Called with the arguments and then the result, all as Expr, and gives one of

* an Expr of type Float: the factor by which a tangent or cotangent is multiplied;
* an Expr of type Bool: a mask, the derivative passes where it holds and is exactly zero elsewhere;
* a function of the incoming tangent or cotangent, linear and its own transpose;
* None: the derivative is zero.
"""


@dataclass(frozen=True, slots=True)
class NonDifferentiable:
    """Stands for the partial derivative with respect to an argument where there is none, and says why."""

    why: str


@dataclass(frozen=True, slots=True)
class Failure:
    """When a primitive stops the kernel: a C++ condition over the operands, the same in Python, the message and code.

    The compiled function itself is harmless there and gives some number, so the test may come before or after it.
    """

    message: str
    cpp: CppForm
    fails: Callable[..., bool]
    code: Literal["KS_ERROR_ZERO_DIVISION", "KS_ERROR_DOMAIN"] = "KS_ERROR_DOMAIN"


@dataclass(frozen=True, slots=True)
class Overload:
    """The primitive at one choice of argument types.

    ``evaluate`` takes and gives Python numbers; it never raises where IEEE arithmetic gives an infinity or a NaN, and
    Integers wrap at 64 bits. Where ``by_width`` is set the result depends on the float format itself, and ``evaluate``
    takes the keyword ``width``.
    """

    args: tuple[Type, ...]
    result: Type
    evaluate: Evaluate
    cpp: CppForm
    by_width: bool = False


Domain = tuple[float, float] | tuple[int, int] | tuple[bool, bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Primitive:
    """Everything that is known about one scalar operation.

    Attributes:
        name: the name of the op in the IR.
        doc: one sentence.
        overloads: the type rule, most usual first.
        partials: for each argument its partial derivative in the overloads whose result is Float; None where the
            argument is not a Float. Empty where no result is Float.
        domain: for each argument the range that tests draw random values from; there it is smooth.
        edges: argument tuples at kinks, poles and other places that deserve a test of value and derivative.
        reference: the same function in torch, as a dotted name or as a function of the module and the tensors.
        cost: whether recomputing is cheaper than keeping the value.
        failure: how it can stop the kernel, if it can.
        commutative: whether the two arguments may be exchanged.
        ulp: the error bound of the compiled function over its domain, in units in the last place, for f32 and f64.
    """

    name: str
    doc: str
    overloads: tuple[Overload, ...]
    partials: tuple[Partial | NonDifferentiable | None, ...] = ()
    domain: tuple[Domain, ...] = ()
    edges: tuple[tuple[Value, ...], ...] = ()
    reference: str | Callable[..., Any] | None = None
    cost: Literal["cheap", "expensive"] = "cheap"
    failure: Failure | None = None
    commutative: bool = False
    ulp: tuple[float, float] = (1, 1)

    @property
    def arity(self) -> int:
        """The number of arguments."""
        return len(self.overloads[0].args)

    @property
    def can_fail(self) -> bool:
        """Whether evaluating it can stop the kernel with an error."""
        return self.failure is not None

    @property
    def speculatable(self) -> bool:
        """Whether it may be evaluated where the program would not have evaluated it."""
        return self.failure is None

    def overload(self, types: Sequence[Type]) -> Overload:
        """The overload for these argument types. Raises TypeMismatchError where there is none."""
        wanted = tuple(types)
        for overload in self.overloads:
            if overload.args == wanted:
                return overload
        known = " or ".join(_signature(overload.args) for overload in self.overloads)
        raise TypeMismatchError(f"{self.name} takes {known}, not {_signature(wanted)}")

    def result_types(self, types: Sequence[Type]) -> tuple[Type, ...]:
        """The types of the results, always one, for these argument types. Raises TypeMismatchError."""
        return (self.overload(types).result,)

    def evaluate(self, *values: Value, width: Width = "f64") -> Value:
        """The value for Python numbers: a float is a Float, an int an Integer, a bool a Bool.

        In ``width`` f32 a Float result is rounded to float32. Raises KernelRuntimeError where the primitive fails.
        """
        overload = self.overload([type_of(value) for value in values])
        if self.failure is not None and self.failure.fails(*values):
            raise KernelRuntimeError(self.failure.message)
        result = overload.evaluate(*values, width=width) if overload.by_width else overload.evaluate(*values)
        if overload.result == Float:
            return round_to(float(result), width)
        return result

    def is_differentiable(self, k: int) -> bool:
        """Whether a derivative with respect to argument ``k`` is known (it may be zero)."""
        return k < len(self.partials) and callable(self.partials[k])

    def partial(self, k: int, args: Sequence[Expr], result: Expr) -> PartialValue:
        """Build the partial derivative for argument ``k``, see ``Partial``.

        Raises DifferentiationError where there is none.
        """
        partial = self.partials[k] if k < len(self.partials) else None
        match partial:
            case None:
                raise DifferentiationError(f"argument {k + 1} of {self.name} is not a Float")
            case NonDifferentiable(why):
                raise DifferentiationError(f"{self.name} has no derivative: {why}")
            case _:
                return partial(*args, result)

    def apply_partial(self, k: int, args: Sequence[Expr], result: Expr, incoming: Expr) -> Expr | None:
        """The contribution of ``incoming``, a tangent of argument ``k`` or a cotangent of the result.

        None is a zero. Raises DifferentiationError where there is no derivative.
        """
        value = self.partial(k, args, result)
        if value is None:
            return None
        if not isinstance(value, Expr):
            return value(incoming)
        if value.atom.type == Bool:
            return value.select(incoming, 0.0)
        return incoming * value


def zero(*_: Expr) -> PartialValue:
    """The partial of a function that is constant almost everywhere."""
    return None


def identity(*_: Expr) -> PartialValue:
    """The partial of a function that passes a tangent as it is."""
    return lambda incoming: incoming


def negated(*_: Expr) -> PartialValue:
    """The partial of a function that passes a tangent with its sign changed."""
    return lambda incoming: -incoming


def type_of(value: Value) -> Type:
    """The IR type of a Python number."""
    if isinstance(value, bool):
        return Bool
    return Integer if isinstance(value, int) else Float


def round_to(value: float, width: Width) -> float:
    """The nearest number of the given width."""
    return ctypes.c_float(value).value if width == "f32" else value


def wrap64(value: int) -> int:
    """The signed 64-bit integer congruent to ``value``."""
    return ((value + (1 << 63)) & ((1 << 64) - 1)) - (1 << 63)


def _signature(types: Sequence[Type]) -> str:
    return f"({', '.join(map(str, types))})"

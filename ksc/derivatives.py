"""The derivatives of a kernel as callables: what ``kernel.vjp``, ``jvp``, ``grad`` and ``value_and_grad`` are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch

from ksc.frontend.values import NONE, Abstract, Value
from ksc.ir.types import is_differentiable
from ksc.torch.operator import FastCallable, core
from ksc.traced import TracedCalls, describe

if TYPE_CHECKING:
    from ksc.frontend.special import Derived, Directional
    from ksc.kernel import Kernel


def tangent_of(leaf: Abstract) -> Value:
    """The place of a leaf's tangent or cotangent in the structure of such: None where the leaf is no float."""
    return leaf if is_differentiable(leaf.type) else NONE


@core.vectorcall
class Derivative(FastCallable):
    """The vjp or jvp of a kernel as a callable."""

    def __init__(self, kernel: Kernel, kind: Literal["vjp", "jvp"]) -> None:
        self.kernel = kernel
        self.kind: Literal["vjp", "jvp"] = kind
        self._traced = TracedCalls(lambda args: kernel._flat_call(args, kind))

    def __call__(self, *args: Any) -> Any:
        """Call the derivative with the arguments, then the seeds."""
        if torch.compiler.is_dynamo_compiling():
            index = self._traced.find(describe(args))
            if index >= 0:
                return self._traced.run(index, args)
        return self.kernel._call_derivative(self.kind, args)

    @property
    def __knossos_directional__(self) -> Directional:
        """What a call inside another kernel means."""
        from ksc.frontend.special import Directional

        return Directional(self.kernel, self.kind)

    def __repr__(self) -> str:
        return f"<{self.kind} of {self.kernel!r}>"

    def __deepcopy__(self, memo: dict[int, Any]) -> Derivative:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (self.kernel, self.kind)


@core.vectorcall
class Gradient(FastCallable):
    """The ``grad`` or ``value_and_grad`` of a kernel as a callable."""

    def __init__(self, kernel: Kernel, *, with_value: bool) -> None:
        self.kernel = kernel
        self.with_value = with_value
        self._traced = TracedCalls(lambda args: kernel.gradient(with_value=with_value)._flat_call(args))

    def __call__(self, *args: Any, argnums: int | str | tuple[int | str, ...] = 0, **kwargs: Any) -> Any:
        """Call the gradient with the arguments of the kernel."""
        if torch.compiler.is_dynamo_compiling() and argnums == 0 and not kwargs:
            index = self._traced.find(describe(args))
            if index >= 0:
                return self._traced.run(index, args)
        gradient = self.kernel.gradient(argnums, with_value=self.with_value)
        result = gradient(*args, **kwargs)
        # The fast path is for calls that name no argnums.
        if argnums == 0 and gradient._latest is not None:
            gradient._arm(self, gradient._latest, "primal", reserved=("argnums",))
        return result

    def __knossos_kernel__(self, argnums: int | str | tuple[int | str, ...] = 0) -> Kernel:
        """What a call with this option means inside another kernel."""
        return self.kernel.gradient(argnums, with_value=self.with_value)

    @property
    def __knossos_maps__(self) -> bool:
        """As for the kernel."""
        return self.kernel.__knossos_maps__

    @property
    def __knossos_derived__(self) -> Derived | None:
        """The derivative that a call inside another kernel means."""
        return self.kernel.gradient(with_value=self.with_value).__knossos_derived__

    def __repr__(self) -> str:
        return f"<{'value_and_grad' if self.with_value else 'grad'} of {self.kernel!r}>"

    def __deepcopy__(self, memo: dict[int, Any]) -> Gradient:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (self.kernel, "value_and_grad" if self.with_value else "grad")

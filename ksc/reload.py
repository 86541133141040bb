"""Finding the kernel of an operator that a saved program names.

A kernel becomes an operator when it is first traced, not when its module is imported. A program saved by
``torch.export`` names operators; so ``torch.ops.knossos`` looks a name that is not declared yet up among the kernels of
this process, and traces those that the annotations of their functions tell enough of.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import torch
from torch._ops import _OpNamespace

from ksc.errors import ArgumentError, KnossosError

if TYPE_CHECKING:
    from ksc.kernel import Kernel

_OPERATOR = re.compile(r"(\w+)_[0-9a-f]{12}_[a-z]+")
"""How ``Specialisation`` spells the name of an operator: the function, a hash of its program, how it is lifted."""

_kernels: WeakSet[Kernel] = WeakSet()


class Operators(_OpNamespace):
    """The namespace ``torch.ops.knossos``."""

    # Saved programs spell an operator with the module of its namespace's class in front.
    __module__ = _OpNamespace.__module__

    def __getattr__(self, name: str) -> Any:
        """The operator of that name.

        Raises AttributeError where the name cannot be that of an operator; ArgumentError, which ``hasattr`` lets
        through, where no kernel of this process is this operator.
        """
        try:
            return super().__getattr__(name)
        except AttributeError:
            written = _OPERATOR.fullmatch(name)
            if written is None:
                raise
        _declare(name, written[1])
        return super().__getattr__(name)


def remember(kernel: Kernel) -> None:
    """Let programs that are loaded later find this kernel."""
    _kernels.add(kernel)


def _declare(operator: str, function: str) -> None:
    """Declare the operator of that name, which is a kernel of a function of that name."""
    named = [kernel for kernel in list(_kernels) if kernel.__name__ == function]
    gradients = (kernel.gradient(with_value=both) for kernel in list(named) for both in (False, True))
    unknown: KnossosError | None = None
    for candidates in (named, gradients):
        for kernel in candidates:
            try:
                if kernel.op.name() == f"knossos::{operator}":
                    return
            except KnossosError as error:
                unknown = unknown or error
    if not named:
        remedy = f"import the module that makes a kernel of {function} before"
    elif unknown is not None:
        remedy = f"call the kernel {function} once before, as its operator is not known otherwise: {unknown.message}"
    else:
        remedy = f"{function} is another function now: save the program again"
    raise ArgumentError(f"no kernel of this process is the operator knossos::{operator}", remedy=remedy) from unknown


def install() -> None:
    """Make ``torch.ops.knossos`` find kernels; what was looked up before stays."""
    torch.ops.knossos.__class__ = Operators

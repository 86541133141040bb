"""Kernels for the tests of the torch side: compiled from torch_kernels.cpp, each with a reference in torch."""

from __future__ import annotations

import ctypes
import hashlib
import os
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import compiled_kernels
import torch

from ksc.ir.nodes import Span
from ksc.kernel import Kernel
from ksc.small import SMALL_SIZE
from ksc.torch import ArgSpec, LoadedEntry, Operator, OpSpec, ResultSpec, declare, declared

_SOURCE = Path(__file__).with_suffix(".cpp")
_ROOT = _SOURCE.parents[2]
X = ArgSpec("x")


@cache
def library() -> ctypes.CDLL:
    prelude = _ROOT / "prelude"
    key = hashlib.sha256(_SOURCE.read_bytes() + (prelude / "ks" / "runtime.h").read_bytes()).hexdigest()[:16]
    folder = _ROOT / "build" / "test-kernels"
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{key}.so"
    if not target.exists():
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            output = Path(scratch) / target.name
            command = ["g++", "-std=c++17", "-O1", "-fPIC", "-shared", f"-I{prelude}", str(_SOURCE), "-o", str(output)]
            subprocess.run(command, check=True)
            os.replace(output, target)
    return ctypes.CDLL(str(target))


def loader(name: str) -> Callable[[str, torch.dtype], LoadedEntry]:
    def load(derivation: str, dtype: torch.dtype) -> LoadedEntry:
        symbol = f"{name}_{derivation}_{str(dtype).removeprefix('torch.')}"
        address = ctypes.cast(getattr(library(), symbol), ctypes.c_void_p).value
        assert address is not None
        return LoadedEntry(address, library())

    return load


_operators: dict[str, Operator] = {}


def get(name: str) -> Operator:
    """The test operator of that name: what it pickles by."""
    return _operators[name]


def _declare(name: str, args: tuple[ArgSpec, ...] = (X,), results: int = 1, **more: Any) -> Operator:
    kinds = more.pop("result_kinds", ("float",) * results)
    spec = OpSpec(f"test_{name}", args, tuple(ResultSpec(kind) for kind in kinds), **more)
    operator = declare(spec, loader(more.get("source", name)))
    operator.references[name] = lambda: (get, (name,))
    _operators[name] = operator
    return operator


AB = (ArgSpec("a"), ArgSpec("b"))
square = _declare("square", lift="same")
relu3 = _declare("relu3", lift="same", doc="Like ReLU, but smoother.")
pair = _declare("pair", AB, 2)
quotient = _declare("quotient", AB, 2, partial_seeds=True)
failing = _declare("failing", span=Span("model.py", 5, 0, 8, 0))
scratch = _declare("scratch")
counting = _declare("counting")
mixed = _declare("mixed", (X, ArgSpec("n", "int"), ArgSpec("up", "bool")), result_kinds=("float", "int", "bool"))


def relu3_reference(x: torch.Tensor) -> torch.Tensor:
    return torch.where(x < 0, torch.zeros_like(x), torch.where(x < 1, 1 / 3 * x**3, x - 2 / 3))


def pair_reference(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return a * b, a / b + torch.sin(a)


def rows(x: torch.Tensor) -> torch.Tensor:
    """The lanes of a batch, each as one row; a number is its own lane."""
    return x.flatten(1) if x.dim() > 1 else x.reshape(-1, 1)


def vsqrl_reference(x: torch.Tensor) -> torch.Tensor:
    lanes = rows(x)
    t = torch.where(lanes.sum(1, keepdim=True) < 0, -0.125 * lanes, 0.5 * lanes**2)
    return torch.mean(torch.sin(t) * t, 1).reshape(x.shape[:1])


def coupled_reference(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    s = (rows(a) * rows(b)).sum(1, keepdim=True)
    first = torch.sin(rows(a)) * s + rows(b)
    second = s / (1.0 + (rows(b) ** 2).mean(1, keepdim=True))
    return first.reshape(a.shape), second.reshape(a.shape[:1])


@dataclass(frozen=True)
class Plugged:
    """A kernel under test, its reference, and inputs: ``inputs(shape, dtype, seed)``.

    ``call`` is what a user calls; ``op`` the operator; the rest as ksc.torch.Operator has them.
    """

    name: str
    call: Callable[..., Any]
    op: Any
    vjp: Callable[..., Any]
    jvp: Callable[..., Any]
    value_and_vjp: Callable[..., Any]
    module: Callable[[], torch.nn.Module]
    autograd_function: type[torch.autograd.Function]
    reference: Callable[..., Any]
    arity: int
    elementwise: bool = True

    @property
    def shape(self) -> tuple[int, ...]:
        """A small shape to transform functions of; the lanes of a kernel of tensors are tensors under vmap too."""
        return (2, 3) if self.elementwise else (2, 3, 2)

    def inputs(self, *shape: int, dtype: torch.dtype = torch.float64, grad: bool = False, seed: int = 0) -> list[Any]:
        """Random arguments, clear of the kinks of relu3 and of division by small numbers."""
        generator = torch.Generator().manual_seed(seed)
        values = []
        for _ in range(self.arity):
            x = torch.randint(-3, 3, shape, generator=generator, dtype=torch.float64)
            x = x + 0.2 + 0.6 * torch.rand(shape, generator=generator, dtype=torch.float64)
            values.append(x.to(dtype).requires_grad_(grad))
        return values


def plugged(name: str, operator: Operator, reference: Callable[..., Any]) -> Plugged:
    return Plugged(
        name,
        operator.call,
        operator.op,
        operator.vjp,
        operator.jvp,
        operator.value_and_vjp,
        operator.module,
        operator.autograd_function,
        reference,
        len(operator.spec.args),
    )


def plugged_kernel(name: str, reference: Callable[..., Any], arity: int, *, elementwise: bool = True) -> Plugged:
    kernel: Kernel = getattr(compiled_kernels, name)
    if not elementwise:
        # The operator is that of tensors of two dimensions, of lanes too long for a program of their own.
        kernel.compile([torch.rand(2, SMALL_SIZE + 1)] * arity, derivations=())
    operator = declared(kernel.op.name().removeprefix("knossos::"))
    assert operator is not None
    return Plugged(
        f"compiled-{name}",
        kernel,
        kernel.op,
        kernel.vjp,
        kernel.jvp,
        operator.value_and_vjp,
        lambda: kernel.nnModule,
        kernel.autogradFunction,
        reference,
        arity,
        elementwise,
    )


PLUGGED = [
    plugged("relu3", relu3, relu3_reference),
    plugged("pair", pair, pair_reference),
    plugged_kernel("relu3", relu3_reference, 1),
    plugged_kernel("pair", pair_reference, 2),
    plugged_kernel("vsqrl", vsqrl_reference, 1, elementwise=False),
    plugged_kernel("coupled", coupled_reference, 2, elementwise=False),
]

# One of numbers with several results and one of tensors: what starts processes or Dynamo takes seconds for each.
COMPILED = [kernel for kernel in PLUGGED if kernel.name in ("compiled-pair", "compiled-vsqrl")]


def as_tuple(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (value,)


def total(value: Any) -> torch.Tensor:
    """A scalar that depends on every result, each in its own way."""
    return sum(((i + 1.5) * (result * result.cos()).sum() for i, result in enumerate(as_tuple(value))), torch.zeros(()))

"""One program of a kernel: traced for one structure of arguments, then differentiated and built on demand."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from ksc.arguments import KINDS, abstract_leaves
from ksc.codegen import GeneratedSource, Unit, cpp
from ksc.codegen.unit import Dtype
from ksc.compiler import BuiltKernel, build, load
from ksc.derive import derive, unit_of
from ksc.frontend import trace
from ksc.frontend.values import Value
from ksc.ir.nodes import Program
from ksc.ir.text import fingerprint
from ksc.passes import optimise
from ksc.steps import Grad
from ksc.torch import ArgSpec, LoadedEntry, Operator, OpSpec, ResultSpec, declare, declared
from ksc.torch.spec import Lift

DTYPES: dict[torch.dtype, Dtype] = {
    torch.float32: "float32",
    torch.float64: "float64",
    torch.float16: "float16",
    torch.bfloat16: "bfloat16",
}


class Specialisation:
    """A kernel for one structure of arguments.

    Args:
        fn: the user's function.
        params: the abstract value of each parameter.
        names: the names of the parameters.
        steps: what is done to the traced program before all else.
        lift: how the scalar function meets tensors.
        shared: for each parameter, whether all lanes share it.
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        params: Sequence[Value],
        names: Sequence[str],
        steps: Sequence[Grad],
        lift: Lift,
        shared: Sequence[bool],
    ) -> None:
        traced = trace(fn, params)
        program, result = traced.program, traced.result
        for step in steps:
            program, result = step(program, params, result)
        self.traced = traced
        self.params = tuple(params)
        self.result = result
        self.program = optimise(program)
        self.guards = traced.guards
        self.name = _identifier(fn)
        self._doc = inspect.cleandoc(fn.__doc__ or "")
        self._lock = threading.RLock()
        self._programs: dict[str, Program] = {"": self.program}
        self._built: dict[tuple[str, Dtype], BuiltKernel] = {}
        self.owners = [k for k, param in enumerate(params) for _ in abstract_leaves(param)]
        args = [
            ArgSpec(path, KINDS[type_], flag)
            for param, name, flag in zip(params, names, shared, strict=True)
            for path, type_ in abstract_leaves(param, name)
        ]
        self.spec = OpSpec(
            name=f"{self.name}_{fingerprint(self.program)[:12]}_{lift}",
            args=tuple(ArgSpec(arg.name.replace(".", "_"), arg.kind, arg.shared) for arg in args),
            results=tuple(ResultSpec(KINDS[type_]) for type_ in self.program.main.result_types),
            lift=lift,
            doc=self._doc,
            span=traced.span,
        )

    @cached_property
    def operator(self) -> Operator:
        """The declared operator; functions that are the same program share one."""
        return declared(self.spec.name) or declare(self.spec, self._load)

    def holds(self) -> bool:
        """Whether everything that the trace read from outside the function is still the same."""
        return all(guard.holds() for guard in self.guards)

    def program_of(self, derivation: str) -> Program:
        """The optimised program of a derivation, see ``ksc.derive``."""
        if derivation not in self._programs:
            self._programs[derivation] = optimise(derive(self.program, derivation))
        return self._programs[derivation]

    def source(self, derivation: str, dtype: torch.dtype) -> GeneratedSource:
        """The generated C++ of the unit that contains the derivation."""
        differentiable = self.spec.float_args and self.spec.float_results
        wanted = unit_of(derivation) if differentiable else ("",)
        where = f"{Path(self.traced.span.file).name}:{self.traced.span.line}"
        programs = [(d, self.program_of(d)) for d in wanted]
        return cpp.generate(Unit(self.name, programs, DTYPES[dtype], doc=self._doc, source=where))

    def built(self, derivation: str, dtype: torch.dtype) -> BuiltKernel:
        """The built unit that contains the derivation; builds it where the cache does not have it."""
        key = unit_of(derivation)[0], DTYPES[dtype]
        with self._lock:
            if key not in self._built:
                self._built[key] = build(self.source(derivation, dtype))
            return self._built[key]

    def _load(self, derivation: str, dtype: torch.dtype) -> LoadedEntry:
        built = self.built(derivation, dtype)
        loaded = load(built)
        return LoadedEntry(loaded.addresses[built.entry.entries[derivation]], loaded)


def _identifier(fn: Callable[..., Any]) -> str:
    name = getattr(fn, "__name__", "")
    return name if name.isidentifier() else "kernel"

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
from ksc.codegen.unit import Dtype, GeneratedSource, Unit
from ksc.compiler import BuiltKernel, find_or_build, load
from ksc.compiler.toolchain import generator_digest
from ksc.frontend import trace
from ksc.frontend.values import Value
from ksc.ir.nodes import Program
from ksc.ir.text import exact_fingerprint, fingerprint
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
        reference: gives what the operator is pickled as.
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        params: Sequence[Value],
        names: Sequence[str],
        steps: Sequence[Grad],
        lift: Lift,
        shared: Sequence[bool],
        reference: Callable[[], tuple[Any, ...]],
    ) -> None:
        traced = trace(fn, params)
        program, result = traced.program, traced.result
        for step in steps:
            program, result = step(program, params, result)
        self.traced = traced
        self.params = tuple(params)
        self.result = result
        self._program = program
        self._reference = reference
        self.guards = traced.guards
        self.name = _identifier(fn)
        self._doc = inspect.cleandoc(fn.__doc__ or "")
        self._lock = threading.RLock()
        self._programs: dict[str, Program] = {}
        self._built: dict[tuple[str, Dtype], BuiltKernel] = {}
        self.owners = [k for k, param in enumerate(params) for _ in abstract_leaves(param)]
        args = [
            ArgSpec(path, KINDS[type_], flag)
            for param, name, flag in zip(params, names, shared, strict=True)
            for path, type_ in abstract_leaves(param, name)
        ]
        self.spec = OpSpec(
            name=f"{self.name}_{fingerprint(program)[:12]}_{lift}",
            args=tuple(ArgSpec(arg.name.replace(".", "_"), arg.kind, arg.shared) for arg in args),
            results=tuple(ResultSpec(KINDS[type_]) for type_ in program.main.result_types),
            lift=lift,
            partial_seeds=True,
            doc=self._doc,
            span=traced.span,
        )

    @cached_property
    def operator(self) -> Operator:
        """The declared operator; functions that are the same program share one."""
        operator = declared(self.spec.name) or declare(self.spec, self._load)
        operator.reference = operator.reference or self._reference
        return operator

    def holds(self) -> bool:
        """Whether everything that the trace read from outside the function is still the same."""
        return all(guard.holds() for guard in self.guards)

    def program_of(self, derivation: str) -> Program:
        """The optimised program of a derivation, see ``ksc.derive``."""
        from ksc.derive import derive
        from ksc.passes import optimise
        from ksc.passes.forget_rules import forget_rules

        if derivation not in self._programs:
            # Derivatives are taken of the program as it was written: the passes turn powers into products.
            self._programs[derivation] = optimise(forget_rules(derive(self._program, derivation)))
        return self._programs[derivation]

    def source(self, derivation: str, dtype: torch.dtype) -> GeneratedSource:
        """The generated C++ of the unit that contains the derivation."""
        from ksc.codegen import cpp

        programs = [(d, self.program_of(d)) for d in self._unit(derivation)]
        return cpp.generate(Unit(self.name, programs, DTYPES[dtype], doc=self._doc, source=self._where))

    def built(self, derivation: str, dtype: torch.dtype) -> BuiltKernel:
        """The built unit that contains the derivation; builds it where the cache does not have it."""
        unit, storage = self._unit(derivation), DTYPES[dtype]
        with self._lock:
            if (unit[0], storage) not in self._built:
                # Said without generating the source, so that a kernel built before starts at once.
                parts = (self._exact, *unit, storage, self._doc, self._where, generator_digest())
                identity = "\0".join(parts)
                self._built[unit[0], storage] = find_or_build(
                    self.name, identity, lambda: self.source(derivation, dtype)
                )
            return self._built[unit[0], storage]

    @cached_property
    def _exact(self) -> str:
        return exact_fingerprint(self._program)

    @property
    def _where(self) -> str:
        return f"{Path(self.traced.span.file).name}:{self.traced.span.line}"

    def _unit(self, derivation: str) -> tuple[str, ...]:
        """The derivations compiled together: value and vjp are wanted in one breath, others alone."""
        together = ("", "v", "b") if self.spec.float_args and self.spec.float_results else ("",)
        return together if derivation in together else (derivation,)

    def _load(self, derivation: str, dtype: torch.dtype) -> LoadedEntry:
        built = self.built(derivation, dtype)
        loaded = load(built)
        return LoadedEntry(loaded.addresses[built.entry.entries[derivation]], loaded)


def _identifier(fn: Callable[..., Any]) -> str:
    name = getattr(fn, "__name__", "")
    return name if name.isidentifier() else "kernel"

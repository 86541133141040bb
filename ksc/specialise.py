"""One program of a kernel: traced for one structure of arguments, then differentiated and built on demand.

A function of numbers becomes an elementwise operator, mapped by the core. A function that takes or gives a tensor
becomes a tensor operator of its own, and where it is mapped, of its vmap.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any, Literal

import torch

from ksc.arguments import KINDS, Leaf, abstract_leaves, element
from ksc.codegen.unit import Dtype, GeneratedSource, Unit
from ksc.compiler import BuiltKernel, find_or_build, load
from ksc.compiler.toolchain import generator_digest
from ksc.errors import ArgumentError, UnsupportedError
from ksc.frontend.trace import trace
from ksc.frontend.values import Abstract, Value
from ksc.ir.nodes import Program, walk
from ksc.ir.sizes import ShapeProgram
from ksc.ir.text import exact_fingerprint, fingerprint
from ksc.ir.types import TensorType, Type
from ksc.mapping import Flags, Mapping
from ksc.steps import Step
from ksc.torch import ArgSpec, LoadedEntry, Operator, OperatorCall, OpSpec, ResultSpec, declare, declared

DTYPES: dict[torch.dtype, Dtype] = {
    torch.float32: "float32",
    torch.float64: "float64",
    torch.float16: "float16",
    torch.bfloat16: "bfloat16",
}


@dataclass(frozen=True, slots=True)
class Lanes:
    """How a leaf is mapped: at which levels, and whether it is declared to be shared by all lanes."""

    mapped: Flags = ()
    shared: bool = False

    @staticmethod
    def of(leaf: Leaf) -> Lanes:
        """Those of a call's leaf."""
        return Lanes(leaf.mapped, leaf.shared)


class Specialisation:
    """A kernel for one structure of arguments.

    Args:
        fn: the user's function.
        params: the abstract value of each parameter.
        names: the names of the parameters.
        steps: what is done to the traced program before all else.
        mapping: how the function meets tensors.
        lanes: for each leaf of the parameters how it is mapped.
        reference: gives what the operator is pickled as.
        added: the abstract values of the parameters that the last step adds, each of one leaf.

    Attributes:
        result: the structure of a lane's results.
        takes_tensors: whether this is a tensor operator.
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        params: Sequence[Value],
        names: Sequence[str],
        steps: Sequence[Step],
        mapping: Mapping,
        lanes: Sequence[Lanes],
        reference: Callable[[], tuple[Any, ...]],
        added: Sequence[Abstract] = (),
    ) -> None:
        traced = trace(fn, params)
        program, result = traced.program, traced.result
        sizes = _shapes(program) if steps and (added or _has_tensors(program)) else None
        for step in steps:
            before = program
            program, result = step(before, params, result)
            sizes = step.sizes(params, before, sizes) if sizes is not None else None
        self.traced = traced
        self.params = tuple(params)
        self.lanes = tuple(lanes)
        self.result = result
        self.lane_ranks = [_rank(type_) for type_ in program.main.result_types]
        for level in mapping.levels:
            level.of_results(len(self.lane_ranks))
        lanes = (*lanes, *(Lanes() for _ in added))
        self.takes_tensors = _has_tensors(program) or not _is_one_map(mapping, lanes)
        if self.takes_tensors and mapping.lift == "broadcast":
            raise UnsupportedError(
                f"elementwise maps functions of numbers, and {program.main.name} takes or gives a tensor",
                remedy="use vmap, which maps over a leading dimension, or register",
                span=traced.span,
            )
        shapes: ShapeProgram | None = None
        if self.takes_tensors:
            program, shapes = _mapped(program, sizes, mapping, lanes)
        self._program = program
        self._reference = reference
        self.guards = traced.guards
        self.name = _identifier(fn)
        self._doc = inspect.cleandoc(fn.__doc__ or "")
        self._lock = threading.RLock()
        self._programs: dict[str, Program] = {}
        self._built: dict[tuple[str, Dtype], BuiltKernel] = {}
        paths = [path for param, name in zip(params, names, strict=True) for path, _ in abstract_leaves(param, name)]
        prefixes = ("seeds" + "_" * n for n in count(1))
        seeds = next(prefix for prefix in prefixes if not any(path.startswith(prefix) for path in paths))
        paths += [f"{seeds}{k}" for k in range(len(added))]
        lift = "tensor" if self.takes_tensors else mapping.lift
        numbers = shapes.values_used if shapes is not None else ()
        self.spec = OpSpec(
            name=f"{self.name}_{fingerprint(program)[:12]}_{lift}",
            args=tuple(
                ArgSpec(
                    path.replace(".", "_"),
                    KINDS[element(param.type)],
                    lane.shared,
                    _sizes(param.type),
                    sum(lane.mapped),
                    k in numbers,
                )
                for k, (path, lane, param) in enumerate(zip(paths, lanes, program.main.params, strict=True))
            ),
            results=tuple(ResultSpec(KINDS[element(type_)], rank=_rank(type_)) for type_ in program.main.result_types),
            lift=lift,
            partial_seeds=True,
            shapes=shapes,
            doc=self._doc,
            span=traced.span,
        )

    @cached_property
    def operator(self) -> Operator:
        """The declared operator; functions that are the same program share one."""
        operator = declared(self.spec.name) or declare(self.spec, self._load)
        operator.reference = operator.reference or self._reference
        return operator

    def call(self, kind: Literal["primal", "vjp", "jvp"]) -> OperatorCall:
        """The operator, its vjp or its jvp as a callable."""
        calls = {"primal": self.operator.call, "vjp": self.operator.vjp, "jvp": self.operator.jvp}
        return calls[kind]

    def holds(self) -> bool:
        """Whether everything that the trace read from outside the function is still the same."""
        return all(guard.holds() for guard in self.guards)

    @property
    def usual(self) -> tuple[str, ...]:
        """The derivations that calls are likely to need: the value, and the vjp where there is one."""
        if not (self.spec.float_args and self.spec.float_results) or self._calls_back:
            return ("",)
        return ("", "v")

    @property
    def program(self) -> Program:
        """The program before any pass: what derivatives are taken of, see ``ksc.derive.stages``."""
        return self._program

    def program_of(self, derivation: str) -> Program:
        """The optimised program of a derivation, see ``ksc.derive``."""
        from ksc.derive import derive
        from ksc.passes import optimise
        from ksc.passes.forget_rules import forget_rules

        if derivation not in self._programs:
            # Derivatives are taken of the program as it was written: the passes turn powers into products.
            with self._nest_refused():
                self._programs[derivation] = optimise(forget_rules(derive(self._program, derivation)))
        return self._programs[derivation]

    def source(self, derivation: str, dtype: torch.dtype) -> GeneratedSource:
        """The generated C++ of the unit that contains the derivation."""
        from ksc.codegen import cpp

        programs = [(d, self.program_of(d)) for d in self._unit(derivation)]
        kind: Literal["tensor", "elementwise"] = "tensor" if self.takes_tensors else "elementwise"
        with self._nest_refused():
            return cpp.generate(Unit(self.name, programs, DTYPES[dtype], kind, self._doc, self._where))

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

    @contextmanager
    def _nest_refused(self) -> Iterator[None]:
        """Raise UnsupportedError where blocks inside blocks nest deeper than Python's stack."""
        try:
            yield
        except RecursionError:
            raise UnsupportedError(
                f"{self.name} nests too deep to be compiled",
                remedy="split it into several functions",
                span=self.traced.span,
                code="KS114",
            ) from None

    @cached_property
    def _exact(self) -> str:
        return exact_fingerprint(self._program)

    @cached_property
    def _calls_back(self) -> bool:
        return any(eqn.op == "callback" for f in self._program.functions.values() for eqn in walk(f.body))

    @property
    def _where(self) -> str:
        return f"{Path(self.traced.span.file).name}:{self.traced.span.line}"

    def _unit(self, derivation: str) -> tuple[str, ...]:
        """The derivations compiled together: value and vjp are wanted in one breath, others alone.

        Those of a tensor operator take longer to compile, and each is compiled when it is wanted; those of a program
        with callbacks may not exist.
        """
        if self.takes_tensors or self._calls_back:
            return (derivation,)
        together = ("", "v", "b") if self.spec.float_args and self.spec.float_results else ("",)
        return together if derivation in together else (derivation,)

    def _load(self, derivation: str, dtype: torch.dtype) -> LoadedEntry:
        built = self.built(derivation, dtype)
        loaded = load(built)
        return LoadedEntry(loaded.addresses[built.entry.entries[derivation]], loaded)


def _rank(type_: Type) -> int:
    return type_.rank if isinstance(type_, TensorType) else 0


def _sizes(type_: Type) -> tuple[int | None, ...]:
    return type_.sizes if isinstance(type_, TensorType) else ()


def _has_tensors(program: Program) -> bool:
    types = [*(param.type for param in program.main.params), *program.main.result_types]
    return any(isinstance(type_, TensorType) for type_ in types)


def _is_one_map(mapping: Mapping, lanes: Sequence[Lanes]) -> bool:
    """Whether a function of numbers, mapped like this, is applied to each element of tensors of one shape."""
    if len(mapping.levels) <= 1:
        return True
    return mapping.is_plain and all(all(lane.mapped) or not any(lane.mapped) for lane in lanes)


def _mapped(
    program: Program, sizes: ShapeProgram | None, mapping: Mapping, lanes: Sequence[Lanes]
) -> tuple[Program, ShapeProgram]:
    """The program of a tensor operator, the mapped dimensions being the first ones, and the sizes of its results."""
    from ksc.transforms import vmap

    found = sizes if sizes is not None else _shapes(program)
    for depth in range(len(mapping.levels) - 1, -1, -1):
        flags = [lane.mapped[depth] for lane in lanes]
        if not any(flags):
            raise ArgumentError("vmap has no tensor to map over", remedy="pass one tensor at least; a number is shared")
        try:
            found = found.mapped(flags)
        except ValueError:
            raise ArgumentError(
                "a size depends on an int that differs between the lanes of vmap",
                remedy="share it with in_dims=None",
            ) from None
        program = vmap(program, [0 if flag else None for flag in flags])
    return program, found


def _shapes(program: Program) -> ShapeProgram:
    from ksc.transforms.shapes import shapes

    return shapes(program)


def _identifier(fn: Callable[..., Any]) -> str:
    name = getattr(fn, "__name__", "")
    return name if name.isidentifier() else "kernel"

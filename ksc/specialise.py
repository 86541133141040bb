"""One program of a kernel: for one structure of arguments, differentiated and built on demand.

A function of numbers becomes an elementwise operator, mapped by the core. A function that takes or gives a tensor
becomes a tensor operator of its own, and where it is mapped, of its vmap.

Where an earlier process left what calls need to know (see ``ksc.recall``), the function is traced only when its program
is wanted.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from ksc.arguments import Leaf
from ksc.compiler.cached_build import BuiltKernel, find_or_build
from ksc.compiler.library import load
from ksc.compiler.toolchain import generator_digest
from ksc.diagnostics import without_own_frames
from ksc.errors import ArgumentError, DifferentiationError, UnsupportedError
from ksc.frontend.values import Abstract, Value
from ksc.mapping import Flags, Mapping
from ksc.recall.memory import Memory
from ksc.timings import is_recording, timed
from ksc.torch.devices import ACCELERATORS
from ksc.torch.operator import Operator, OperatorCall, declare, declared, look_for_dtensors
from ksc.torch.spec import LoadedEntry, backward_derivation
from ksc.uncollected import uncollected

if TYPE_CHECKING:
    from ksc.codegen.cuda.cut import Cut
    from ksc.codegen.unit import Dtype, GeneratedSource, Unit
    from ksc.ir.nodes import Program
    from ksc.layout import Layout
    from ksc.lowering import Lowered
    from ksc.passes import Pass
    from ksc.recall.facts import Facts
    from ksc.steps import Step

logger = logging.getLogger("ksc")

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
        spec: what is declared to PyTorch.
        result: the structure of a lane's results.
        takes_tensors: whether this is a tensor operator.
        layouts: the layouts of calls that take the fast path, see ``ksc.layout``.
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
        self.params = tuple(params)
        self.lanes = tuple(lanes)
        self._lock = threading.RLock()
        self._lowered: Lowered | None = None
        self._programs: dict[str, Program] = {}
        self._cuts: dict[str, Cut | None] = {}
        self._built: dict[tuple[str, Dtype, str], BuiltKernel] = {}
        self._building: defaultdict[str, threading.RLock] = defaultdict(threading.RLock)
        self._reference = reference
        self._owner = f"{getattr(fn, '__module__', '')}.{getattr(fn, '__qualname__', '')}"
        self._mapping = mapping

        def lowered() -> Lowered:
            from ksc.lowering import lower

            logger.debug("tracing %s", getattr(fn, "__qualname__", fn))
            with uncollected():
                return lower(fn, self.params, names, steps, mapping, self.lanes, [Lanes() for _ in added])

        self._lower = lowered
        # What a step adds depends on more than the function.
        self._memory = None if added else Memory(fn, self.params, steps, mapping, self.lanes)
        recalled = self._memory.recall() if self._memory is not None and not is_recording() else None
        if recalled is None:
            self._lowered = lowered()
            self._facts: Facts = self._lowered.facts
        else:
            self._facts = recalled
        self._is_kept = recalled is not None or self._memory is None
        self.spec = self._facts.spec
        self.result = self._facts.result
        self.lane_ranks = self._facts.lane_ranks
        self.guards = self._facts.guards
        self.name = self.spec.title
        self.takes_tensors = self.spec.lift == "tensor"
        self.layouts: dict[Hashable, Layout] = {}

    @cached_property
    def operator(self) -> Operator:
        """The declared operator; functions that are the same program share one."""
        operator = declared(self.spec.name)
        if operator is None:
            operator = declare(self.spec, self.loaded, self.loaded_on, self.handed_results, self)
        else:
            # Its kernels are built already, so that no other time comes.
            self._keep(self._facts.generator or generator_digest())
        operator.references[self._owner] = self._reference
        return operator

    def call(self, kind: Literal["primal", "vjp", "jvp"]) -> OperatorCall:
        """The operator, its vjp or its jvp as a callable."""
        look_for_dtensors()
        calls = {"primal": self.operator.call, "vjp": self.operator.vjp, "jvp": self.operator.jvp}
        return calls[kind]

    def holds(self) -> bool:
        """Whether everything that the trace read from outside the function is still the same."""
        return all(guard.holds() for guard in self.guards)

    @property
    def usual(self) -> tuple[str, ...]:
        """The derivations that calls are likely to need: the value, and the vjp where there is one."""
        if not (self.spec.float_args and self.spec.float_results) or self._facts.calls_back:
            return ("",)
        return ("", "v")

    @property
    def likely(self) -> tuple[str, ...]:
        """The same with the derivation that autograd takes, where that is another one."""
        return _distinct(*self.usual, self.named("backward")) if len(self.usual) > 1 else self.usual

    @without_own_frames
    def handed_results(self) -> str:
        """Which of its results backward is handed, see ``ksc.handing``."""
        with self._lock:
            if self._facts.handed is None:
                self._remember(replace(self._facts, handed=self._found_handed()))
            return self._facts.handed or ""

    def _remember(self, facts: Facts) -> None:
        """Know more than the trace found out, in later processes too where they know that."""
        self._facts = facts
        if self._is_kept and self._memory is not None:
            self._memory.remember(replace(facts, generator=facts.generator or generator_digest()))

    def named(self, derivation: str) -> str:
        """The derivation of that name: ``"backward"`` is the one that autograd takes."""
        return backward_derivation(self.handed_results()) if derivation == "backward" else derivation

    def _found_handed(self) -> str:
        if self._facts.calls_back or self._mapping.backend == "interpret":
            return ""
        from ksc.handing import handed_results

        try:
            with self._nest_refused(), uncollected():
                return handed_results(self.program, self.program_of)
        except (DifferentiationError, UnsupportedError):
            # Backward raises it, if it comes to that.
            return ""

    @property
    def calls_back(self) -> bool:
        """Whether the kernel calls Python functions."""
        return self._facts.calls_back

    @property
    def program(self) -> Program:
        """The program before any pass: what derivatives are taken of, see ``ksc.derive.stages``."""
        with self._lock:
            if self._lowered is None:
                lowered = self._lower()
                if lowered.facts.exact != self._facts.exact:
                    raise ArgumentError(
                        f"{self.name} is another function now than the one that the kernel was called with",
                        remedy="call the kernel again, which makes a new operator of it",
                    )
                self._lowered = lowered
            return self._lowered.program

    @without_own_frames
    def program_of(self, derivation: str) -> Program:
        """The optimised program of a derivation, see ``ksc.derive``."""
        from ksc.derive import derive
        from ksc.passes import optimise
        from ksc.passes.forget_rules import forget_rules

        with self._lock:
            if derivation not in self._programs:
                # Derivatives are taken of the program as it was written: the passes turn powers into products.
                logger.debug("deriving %r of %s", derivation, self.name)
                with self._nest_refused(), uncollected():
                    self._programs[derivation] = optimise(forget_rules(derive(self.program, derivation)))
            return self._programs[derivation]

    def last_passes(self, dtype: torch.dtype) -> tuple[Pass, ...]:
        """The passes that an optimised program goes through before it is printed as C++."""
        from ksc.passes import processor_passes

        return processor_passes(tensors=self.takes_tensors, double=dtype == torch.float64)

    def source(self, derivation: str, dtype: torch.dtype) -> GeneratedSource:
        """The generated C++ of the unit that contains the derivation."""
        from ksc.codegen import cpp

        unit = self._source_unit(derivation, dtype)
        with self._nest_refused(), uncollected(), timed("codegen"):
            return cpp.generate(unit)

    def cuda_source(self, derivation: str, dtype: torch.dtype, *, wide: bool = False) -> GeneratedSource:
        """The same for a GPU; ``wide`` for tensors of any size. Raises UnsupportedError where it cannot run there."""
        from ksc.codegen import cuda

        unit = replace(self._source_unit(derivation, dtype), offsets=self._offsets(wide))
        with self._nest_refused(), uncollected(), timed("codegen"):
            return cuda.generate(unit)

    def _source_unit(self, derivation: str, dtype: torch.dtype) -> Unit:
        from ksc.codegen.unit import Unit

        programs = [(d, self.program_of(d)) for d in self._unit(derivation)]
        kind: Literal["tensor", "elementwise"] = "tensor" if self.takes_tensors else "elementwise"
        return Unit(self.name, programs, DTYPES[dtype], kind, self.spec.doc, self._where)

    @staticmethod
    def _offsets(wide: bool) -> Literal[32, 64]:
        return 64 if wide else 32

    @without_own_frames
    def built(self, derivation: str, dtype: torch.dtype, device: str = "cpu", *, wide: bool = False) -> BuiltKernel:
        """The built unit that contains the derivation; builds it where the cache does not have it.

        ``device`` is a kind of device: ``"cpu"``, or one of ``ACCELERATORS``; ``wide`` is for tensors of any size.
        """
        unit, storage = self._unit(derivation), DTYPES[dtype]
        place = device if device == "cpu" else f"{device} {self._offsets(wide)}"
        with self._building[device]:
            if (unit[0], storage, place) not in self._built:
                # Said without generating the source, so that a kernel built before starts at once.
                generator = self._facts.generator or generator_digest()
                identity = self._identity(unit, storage, generator, place)
                if device == "cpu":
                    built = find_or_build(self.name, identity, lambda: self.source(derivation, dtype))
                else:
                    source = partial(self.cuda_source, derivation, dtype, wide=wide)
                    built = ACCELERATORS[device](self.name, identity, source)
                self._built[unit[0], storage, place] = built
                self._keep(generator)
            return self._built[unit[0], storage, place]

    def build_all(self, derivations: Sequence[str], dtype: torch.dtype, device: str | None = None) -> None:
        """Build derivations for the CPU, and at the same time for a kind of accelerator."""
        if device is None or device == "cpu":
            for derivation in derivations:
                self.built(derivation, dtype)
            return
        from concurrent.futures import ThreadPoolExecutor

        if device not in ACCELERATORS:
            raise ArgumentError(f"kernels run on the CPU and on {', '.join(ACCELERATORS)}, not on {device!r}")
        with ThreadPoolExecutor(max_workers=1) as pool:
            elsewhere = pool.submit(lambda: [self.built(derivation, dtype, device) for derivation in derivations])
            self.build_all(derivations, dtype)
            elsewhere.result()

    def _identity(self, unit: tuple[str, ...], storage: str, generator: str, where: str) -> str:
        """What stands for a source without generating it."""
        place = () if where == "cpu" else (where,)
        return "\0".join((self._facts.exact, *unit, storage, self.spec.doc, self._where, generator, *place))

    @contextmanager
    def _nest_refused(self) -> Iterator[None]:
        """Raise UnsupportedError where blocks inside blocks nest deeper than Python's stack."""
        try:
            yield
        except RecursionError:
            raise UnsupportedError(
                f"{self.name} nests too deep to be compiled",
                remedy="split it into several functions",
                span=self.spec.span,
                code="KS114",
            ) from None

    def _keep(self, generator: str) -> None:
        """Leave what the trace found out to later processes, now that there is a kernel to be found by it."""
        with self._lock:
            if self._memory is not None and not self._is_kept:
                self._is_kept = True
                self._memory.remember(replace(self._facts, generator=generator))

    @property
    def _where(self) -> str:
        span = self.spec.span
        return f"{Path(span.file).name}:{span.line}" if span is not None else ""

    def _unit(self, derivation: str) -> tuple[str, ...]:
        """The derivations compiled together: value and vjp are wanted in one breath, others alone.

        Those of a tensor operator take longer to compile, and each is compiled when it is wanted; those of a program
        with callbacks may not exist.
        """
        if self.takes_tensors or self._facts.calls_back:
            return (derivation,)
        is_differentiable = bool(self.spec.float_args and self.spec.float_results)
        together = _distinct("", "v", "b", self.named("backward")) if is_differentiable else ("",)
        return together if derivation in together else (derivation,)

    def loaded(self, derivation: str, dtype: torch.dtype) -> LoadedEntry:
        """The entry of the derivation, ready to be called; builds it where the cache does not have it."""
        if self._mapping.backend == "interpret":
            return self._interpreted(derivation, dtype)
        return _entries(self.built(derivation, dtype), [derivation])[0]

    def loaded_on(self, derivation: str, dtype: torch.dtype, device: str, wide: bool) -> LoadedEntry:
        """The same for a kind of accelerator. Raises UnsupportedError (KS119) where the kernel cannot run there."""
        if self._mapping.backend == "interpret":
            raise ArgumentError(
                f"{self.name} is interpreted, and its arguments are on {device}",
                remedy='move them with .cpu(), or leave out backend="interpret"',
            )
        return _entries(self.built(derivation, dtype, device, wide=wide), [derivation], suffix="_kernel")[0]

    @without_own_frames
    def cut(self, derivation: str) -> Cut | None:
        """The derivation as products for a library and kernels in between; None where it stays whole."""
        with self._lock:
            if derivation in self._facts.whole or self._mapping.backend == "interpret" or not self.takes_tensors:
                return None
            if derivation not in self._cuts:
                from ksc.codegen.cuda.cut import cut

                numbers = [k for k, arg in enumerate(self.spec.args) if arg.is_number]
                with self._nest_refused(), uncollected():
                    self._cuts[derivation] = cut(self.program_of(derivation), numbers)
                if self._cuts[derivation] is None:
                    self._remember(replace(self._facts, whole=(*self._facts.whole, derivation)))
            return self._cuts[derivation]

    def load_parts(self, derivation: str, dtype: torch.dtype, device: str, wide: bool) -> tuple[LoadedEntry, ...]:
        """The kernels of a derivation that is cut, on a kind of accelerator."""
        cut = self.cut(derivation)
        assert cut is not None
        if not cut.runs:
            return ()
        from ksc.codegen import cuda
        from ksc.codegen.cpp.generate import derivation_suffix
        from ksc.codegen.unit import Unit

        parts = tuple(f"p{k}" for k in range(1, 1 + len(cut.runs)))
        programs = [(part, run.program) for part, run in zip(parts, cut.runs, strict=True)]
        name = f"{self.name}{derivation_suffix(derivation)}"
        doc = f"What {self.name} does around its products of matrices, which PyTorch's library computes."
        unit = Unit(name, programs, DTYPES[dtype], "tensor", doc, self._where, self._offsets(wide))

        def source() -> GeneratedSource:
            with self._nest_refused(), uncollected(), timed("codegen"):
                return cuda.generate(unit)

        generator = self._facts.generator or generator_digest()
        identity = self._identity((derivation, *parts), unit.dtype, generator, f"{device} {unit.offsets}")
        with self._building[device]:
            built = ACCELERATORS[device](name, identity, source)
        return _entries(built, parts, suffix="_kernel")

    def _interpreted(self, derivation: str, dtype: torch.dtype) -> LoadedEntry:
        """The entry of the derivation in Python, of the program as it was written."""
        from ksc.derive import derive
        from ksc.passes.dce import remove_dead_code
        from ksc.passes.forget_rules import forget_rules
        from ksc.stepped.entry import python_entry

        with self._nest_refused():
            program = remove_dead_code(forget_rules(derive(self.program, derivation, prepared=False)))
            return python_entry(program, DTYPES[dtype], "tensor" if self.takes_tensors else "elementwise")


def _entries(built: BuiltKernel, names: Sequence[str], *, suffix: str = "") -> tuple[LoadedEntry, ...]:
    """The entries of these names, in a library that is opened."""
    with timed("load"):
        loaded = load(built, suffix=suffix)
    return tuple(LoadedEntry(loaded.addresses[built.entry.entries[name]], loaded) for name in names)


def _distinct(*derivations: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(derivations))

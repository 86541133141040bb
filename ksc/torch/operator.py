"""Declaring a kernel to PyTorch, and what Python calls it by."""

from __future__ import annotations

import linecache
import pickle
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from ksc.errors import ArgumentError, KernelRuntimeError
from ksc.torch import build_core
from ksc.torch.arguments import prepare, prepare_seeds
from ksc.torch.sharding import registry
from ksc.torch.spec import Cuts, DeviceLoader, LoadedEntry, Loader, OpSpec

if TYPE_CHECKING:
    from ksc.ir.sizes import ShapeProgram
    from ksc.torch.module import KernelModule

core: Any = build_core.load()

CallKind = Literal["primal", "vjp", "jvp", "value_and_vjp"]

# Overloads that exist from the start; the rest are declared when a deeper derivative is first taken.
_EAGER_DERIVATIONS = ("v", "j", "vv", "vj", "jv", "jj")

_DERIVATION = re.compile("(?:[vjmr][01]*)+")

_declared: dict[str, Operator] = {}
_declare_lock = threading.Lock()


class Overloads(torch._ops.OpOverloadPacket):
    """A kernel's operator with its derivatives, which are declared when their name is first looked up.

    A graph that another process compiled and cached names derivatives that nobody has taken in this one.
    """

    # As in the class itself: what spells an operator spells its module too.
    __module__ = torch._ops.OpOverloadPacket.__module__

    def __getattr__(self, key: str) -> Any:
        """The overload of that name. Raises AttributeError where that is no derivation."""
        if _DERIVATION.fullmatch(key):
            try:
                core.declare_derivation(self._qualified_op_name.partition("::")[2], key)
            except ValueError as error:
                raise AttributeError(str(error)) from None
        return super().__getattr__(key)


@core.vectorcall
class FastCallable(core.FastCall):  # type: ignore[misc]
    """A callable with the core's fast path in front of its ``__call__``.

    The fast path takes eager calls on plain tensors of the CPU or a GPU; every other call, and every call that Dynamo
    traces, goes through ``__call__``, which a subclass defines. A subclass is decorated with ``core.vectorcall``.
    """

    def __call__(self, *args: Any) -> Any:
        """The general way."""
        raise NotImplementedError


@core.vectorcall
class OperatorCall(FastCallable):
    """One way of calling an operator: the primal, the vjp, the jvp, or value and vjp in one pass.

    Arguments are those of the function, then a cotangent for each float result (vjp) or a tangent for each float
    argument (jvp). Each may be a tensor or a Python number. A cotangent comes back in its argument's shape and dtype.
    Raises ArgumentError for arguments that do not fit, KernelRuntimeError where the kernel stops.
    """

    def __init__(self, operator: Operator, kind: CallKind, *, plain_only: bool = False) -> None:
        self.operator = operator
        self.kind = kind
        spec = operator.spec
        self.bind_operator(spec.name, kind, spec.lift, tuple(arg.shared for arg in spec.args), plain_only)

    def __call__(self, *args: Any) -> Any:
        """The general way, through the dispatcher."""
        operator = self.operator
        if self.kind == "primal":
            return operator.op(*prepare(operator.spec, args))
        if self.kind == "vjp":
            return _vjp(operator, args)
        if self.kind == "jvp":
            return _jvp(operator, args)
        primals = prepare(operator.spec, args[: len(operator.spec.args)])
        return operator.op(*primals), _vjp(operator, (*primals, *args[len(operator.spec.args) :]))

    def __repr__(self) -> str:
        return f"<{self.kind} of {self.operator.spec.name}>"

    def __deepcopy__(self, memo: dict[int, Any]) -> OperatorCall:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (self.operator, "call" if self.kind == "primal" else self.kind)


def _vjp(operator: Operator, args: tuple[Any, ...]) -> Any:
    spec = operator.spec
    primals = prepare(spec, args[: len(spec.args)])
    cotangents = prepare_seeds(spec, primals, args[len(spec.args) :], forward=False)
    if not spec.float_args:
        return ()
    given = operator.overload("v")(*primals, *cotangents)
    given = given if isinstance(given, tuple) else (given,)
    reduced = tuple(
        _like(cotangent.sum_to_size(primals[i].shape), primals[i], args[i])
        for i, cotangent in zip(spec.float_args, given, strict=True)
    )
    return reduced if len(reduced) != 1 else reduced[0]


def _like(cotangent: torch.Tensor, primal: torch.Tensor, arg: Any) -> torch.Tensor:
    """A cotangent in the dtype of its argument, and where it is; that of a number stays where it was computed."""
    if isinstance(arg, torch.Tensor) and arg.device != cotangent.device:
        cotangent = cotangent.to(arg.device)
    return cotangent.to(primal.dtype)


def _jvp(operator: Operator, args: tuple[Any, ...]) -> Any:
    spec = operator.spec
    primals = prepare(spec, args[: len(spec.args)])
    tangents = prepare_seeds(spec, primals, args[len(spec.args) :], forward=True)
    return operator.overload("j")(*primals, *tangents) if spec.float_results else ()


class Operator:
    """A declared kernel: ``torch.ops.knossos.<name>``, its derivatives as overloads, and the fast calls in front.

    Attributes:
        spec: what was declared.
        op: the operator, a ``torch._ops.OpOverload``.
        call: the kernel as a callable; ``vjp``, ``jvp``, ``value_and_vjp`` likewise (see OperatorCall). the last
            gives a pair; where the function has one result or one float argument, that half is a tensor, else a tuple.
        references: set by its owners, each under its name: functions that give what ``__reduce__`` returns, of which
            the first that pickles is taken. The same function in two modules is one operator.
    """

    def __init__(
        self,
        spec: OpSpec,
        loader: Loader,
        device_loader: DeviceLoader | None = None,
        handed: Callable[[], str] = lambda: "",
        cuts: Cuts | None = None,
    ) -> None:
        self.spec = spec
        self.references: dict[str, Callable[[], tuple[Any, ...]]] = {}
        self._loader = loader
        self._device_loader = device_loader
        self._cuts = cuts
        self._lock = threading.RLock()
        self._entries: dict[tuple[str, torch.dtype, str, bool], LoadedEntry] = {}
        self._parts: dict[tuple[str, torch.dtype, str, bool], tuple[LoadedEntry, ...]] = {}
        core.declare(
            spec.name,
            tuple(
                (
                    arg.name,
                    arg.kind,
                    tuple(-1 if size is None else size for size in arg.sizes),
                    arg.lanes,
                    arg.is_number,
                )
                for arg in spec.args
            ),
            tuple((result.name, result.kind, (-1,) * result.rank, 0, False) for result in spec.results),
            _table(spec.shapes) if spec.shapes is not None else None,
            spec.partial_seeds or spec.lift == "tensor",
            self._load,
            self._error,
            self._derived,
            handed,
            self._cut,
            self._load_parts,
        )
        getattr(torch.ops.knossos, spec.name).__class__ = Overloads
        self.op = self.overload("")
        self._derived("")
        if spec.shapes is not None and all(arg.is_number for arg in spec.args):
            torch.library.register_torch_dispatch(self.op, FakeTensorMode, _fake_of_numbers(spec, spec.shapes))
        if spec.float_args and spec.float_results:
            for derivation in _EAGER_DERIVATIONS:
                core.declare_derivation(spec.name, derivation)
        self.call = OperatorCall(self, "primal")
        self.vjp = OperatorCall(self, "vjp")
        self.jvp = OperatorCall(self, "jvp")
        self.value_and_vjp = OperatorCall(self, "value_and_vjp")

    def overload(self, derivation: str) -> Any:
        """The operator of a derivation: ``""`` the primal, ``"v"`` its vjp before cotangents are summed, and so on."""
        packet = getattr(torch.ops.knossos, self.spec.name)
        return getattr(packet, derivation or "default")

    def __call__(self, *args: Any) -> Any:
        """The same as ``call``."""
        return self.call(*args)

    def module(self) -> KernelModule:
        """A new ``nn.Module`` that calls the kernel."""
        from ksc.torch.module import KernelModule

        return KernelModule(self.call)

    @cached_property
    def autograd_function(self) -> type[torch.autograd.Function]:
        """A ``torch.autograd.Function`` over the operator."""
        from ksc.torch.function import autograd_function

        return autograd_function(self)

    def _load(self, derivation: str, dtype: torch.dtype, device: str, wide: bool) -> int:
        with self._lock:
            key = derivation, dtype, device, wide
            if key not in self._entries:
                self._entries[key] = self._find(*key)
            return self._entries[key].address

    def _find(self, derivation: str, dtype: torch.dtype, device: str, wide: bool) -> LoadedEntry:
        if device == "cpu":
            return self._loader(derivation, dtype)
        if self._device_loader is None:
            raise ArgumentError(f"{self.spec.title} runs on the CPU", remedy="move its arguments with .cpu()")
        return self._device_loader(derivation, dtype, device, wide)

    def _cut(self, derivation: str) -> tuple[Any, ...] | None:
        cut = self._cuts.cut(derivation) if self._cuts is not None else None
        if cut is None:
            return None
        return _table(cut.made), cut.kinds, tuple(step.for_core for step in cut.steps), cut.results

    def _load_parts(self, derivation: str, dtype: torch.dtype, device: str, wide: bool) -> tuple[int, ...]:
        assert self._cuts is not None
        with self._lock:
            key = derivation, dtype, device, wide
            if key not in self._parts:
                self._parts[key] = self._cuts.load_parts(*key)
            return tuple(part.address for part in self._parts[key])

    def _derived(self, derivation: str) -> None:
        registry.add(self, derivation)

    def _error(self, code: int, line: int, message: str) -> KernelRuntimeError:
        from ksc.ir.nodes import Span

        span = self.spec.span
        if span is not None and line > 0:
            text = linecache.getline(span.file, line).rstrip()
            span = Span(span.file, line, len(text) - len(text.lstrip()), line, len(text))
        return KernelRuntimeError(message, span=span, code=f"KS7{code:02}")

    def __repr__(self) -> str:
        return f"<operator knossos::{self.spec.name}>"

    def __deepcopy__(self, memo: dict[int, Any]) -> Operator:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        if not self.references:
            raise TypeError(f"the operator {self.spec.name} has no reference to pickle it by")
        *others, last = self.references.values()
        for reference in others:
            try:
                pickle.dumps(found := reference())
            except pickle.PicklingError:
                continue
            return found
        return last()


def _fake_of_numbers(spec: OpSpec, shapes: ShapeProgram) -> Callable[..., Any]:
    """The fake results of a kernel without tensors: PyTorch takes its operator for a constructor with a ``device``."""

    def fake(mode: FakeTensorMode, func: Any, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        dtypes = {"float": torch.get_default_dtype(), "int": torch.int64, "bool": torch.bool}
        sizes = shapes.evaluate([()] * len(args), dict(enumerate(args)))
        with mode:
            made = tuple(
                torch.empty(size, dtype=dtypes[result.kind]) for size, result in zip(sizes, spec.results, strict=True)
            )
        return made if len(made) != 1 else made[0]

    return fake


def _table(shapes: ShapeProgram) -> tuple[Any, ...]:
    """A shape program as the core reads it."""
    from ksc.ir.sizes import OPCODES

    ops = tuple((OPCODES.index(op.code), op.a, op.b, op.c) for op in shapes.ops)
    return ops, shapes.results, shapes.lines


def declare(
    spec: OpSpec,
    loader: Loader,
    device_loader: DeviceLoader | None = None,
    handed: Callable[[], str] = lambda: "",
    cuts: Cuts | None = None,
) -> Operator:
    """Registers a kernel as ``torch.ops.knossos.<spec.name>`` with its derivatives, and gives its handle.

    Nothing is compiled: ``loader`` is called when an instance is first run on the CPU, ``device_loader`` elsewhere, and
    ``handed`` when a call is first recorded for backward: a digit for each float result, 1 where autograd is to keep it
    and hand it to the derivation ``r``; "" where backward takes the arguments alone. ``cuts`` is asked for what an
    accelerator runs where products of matrices are large. A name stands for one program: where it is declared already
    with an equal signature, that operator is given. Raises ArgumentError where the signature differs.
    """
    with _declare_lock:
        look_for_dtensors()
        known = _declared.get(spec.name)
        if known is None:
            known = _declared[spec.name] = Operator(spec, loader, device_loader, handed, cuts)
        elif replace(known.spec, doc=spec.doc, span=spec.span) != spec:
            raise ArgumentError(f"the operator knossos::{spec.name} is declared already, with another signature")
        return known


def look_for_dtensors() -> None:
    """Give PyTorch the sharding rules of all operators, once DTensors have come into the program."""
    registry.look(_declared)


def declared(name: str) -> Operator | None:
    """The operator of that name, where there is one in this process."""
    return _declared.get(name)

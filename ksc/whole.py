"""Whole derivatives as a step of a kernel, and the callables ``kernel.jacobian`` and ``kernel.hessian``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import torch

from ksc.arguments import abstract_leaves, map_leaves
from ksc.errors import ArgumentError, DifferentiationError
from ksc.frontend.values import NONE, Abstract, Struct, Value
from ksc.ir.nodes import Program
from ksc.ir.sizes import ShapeProgram, SizeOp
from ksc.ir.types import Float, TensorType, Type, is_differentiable
from ksc.sparse.jacobian import Declared, SparseJacobian
from ksc.steps import Grad, chosen_arguments, counted_from_first, float_leaves, in_order
from ksc.torch import FastCallable
from ksc.torch.operator import core

if TYPE_CHECKING:
    from ksc.kernel import Kernel

Mode = Literal["auto", "forward", "reverse"]
Sparse = Literal["blocks", "csr"]
Argnums = int | str | tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class Jacobian:
    """From a function to all derivatives of its float results with respect to the arguments ``argnums``.

    In the place of each float of the result stands the structure of the argument, or a tuple of these for several; in
    the place of each float of that stands a tensor with the sizes of the result and then those of the argument.
    """

    argnums: int | tuple[int, ...] = 0
    mode: Mode = "auto"
    blocks: bool = False

    def __call__(self, program: Program, params: Sequence[Value], result: Value) -> tuple[Program, Value]:
        """The program of the Jacobian and the structure of its results. Raises DifferentiationError."""
        from ksc.passes import prepare
        from ksc.transforms import jacobian, row_blocks

        if not any(is_differentiable(type_) for type_ in program.main.result_types):
            raise DifferentiationError("the function gives no float, so it has no Jacobian", span=program.main.span)
        positions = chosen_arguments(self.argnums, params)
        wrt = [leaf for k in positions for leaf in float_leaves(params, k)]
        derive = row_blocks if self.blocks else jacobian
        derived = derive(prepare(program), wrt=sorted(wrt), mode=self.mode)
        columns = [sorted(wrt).index(k) for k in wrt]
        if columns != sorted(columns):
            count = len(derived.main.body.results) // len(wrt)
            order = [row * len(wrt) + column for row in range(count) for column in columns]
            derived = in_order(derived, order, kept=0)

        def block(of: Abstract) -> Value:
            if not is_differentiable(of.type):
                return NONE
            parts = tuple(map_leaves(params[k], lambda by: _joined(of, by, self.shared)) for k in positions)
            return parts[0] if isinstance(self.argnums, int) else Struct(tuple, parts)

        return derived, map_leaves(result, block)

    def sizes(self, params: Sequence[Value], program: Program, known: ShapeProgram) -> ShapeProgram:
        """The sizes of the results: those of each result followed by those of each argument."""
        types = [type_ for param in params for _, type_ in abstract_leaves(param)]
        wrt = [leaf for k in chosen_arguments(self.argnums, params) for leaf in float_leaves(params, k)]
        ops, results, lines = list(known.ops), [], []
        for k, type_ in enumerate(program.main.result_types):
            if not is_differentiable(type_):
                continue
            for leaf in wrt:
                own = [SizeOp("size", leaf, dim) for dim in range(self.shared, _rank(types[leaf]))]
                places = tuple(range(len(ops), len(ops) + len(own)))
                ops += own
                results.append((*known.results[k], *places))
                lines.append((*known.lines[k], *(0 for _ in own)))
        return ShapeProgram(tuple(ops), tuple(results), tuple(lines))

    def counted(self, count: int) -> Jacobian:
        """The same for a function of ``count`` parameters, its arguments counted from the first."""
        return replace(self, argnums=counted_from_first(self.argnums, count))

    @property
    def shared(self) -> int:
        """The number of dimensions of an argument that a result does not repeat."""
        return int(self.blocks)

    @property
    def name(self) -> str:
        """What a kernel with this step is called."""
        return "row blocks of the jacobian" if self.blocks else "jacobian"


def _joined(result: Abstract, argument: Abstract, shared: int) -> Value:
    """The derivative of a leaf of the result by a leaf of an argument."""
    if not is_differentiable(argument.type):
        return NONE
    sizes = _sizes(result.type) + _sizes(argument.type)[shared:]
    type_: Type = TensorType(len(sizes), Float, sizes) if sizes else Float
    return Abstract(type_, tensor=not sizes and (result.is_tensor or argument.is_tensor))


def _sizes(type_: Type) -> tuple[int | None, ...]:
    return type_.sizes if isinstance(type_, TensorType) else ()


def _rank(type_: Type) -> int:
    return type_.rank if isinstance(type_, TensorType) else 0


@core.vectorcall
class Whole(FastCallable):
    """The Jacobian or Hessian of a kernel as a callable."""

    def __init__(self, kernel: Kernel, kind: Literal["jacobian", "hessian"]) -> None:
        self.kernel = kernel
        self.kind = kind
        self._sparse: dict[tuple[int | tuple[int, ...], Mode], SparseJacobian] = {}

    def of(self, argnums: Argnums = 0, mode: Mode = "auto", sparse: Sparse | None = None) -> Kernel:
        """The kernel with these options. Raises ArgumentError where there is no such ``sparse``."""
        if sparse not in (None, "blocks"):
            raise ArgumentError(
                f"sparse={sparse!r} is not known", remedy='give "csr", "blocks" or a pattern, or leave it out'
            )
        positions, base = self._base(argnums)
        return base.derived(Jacobian(positions, mode, sparse == "blocks"))

    def matrices(self, argnums: Argnums = 0, mode: Mode = "auto", pattern: Declared | None = None) -> SparseJacobian:
        """The same as sparse matrices, of a declared pattern or of one that is found."""
        positions, base = self._base(argnums)
        if pattern is not None:
            return SparseJacobian(base, positions, mode, pattern)
        if (positions, mode) not in self._sparse:
            self._sparse[positions, mode] = SparseJacobian(base, positions, mode)
        return self._sparse[positions, mode]

    def chosen(
        self, argnums: Argnums = 0, mode: Mode = "auto", sparse: Sparse | Declared | None = None
    ) -> Kernel | SparseJacobian:
        """The kernel, or what gives sparse matrices, as ``sparse`` says. ArgumentError: an unknown one, or ``mode``."""
        if mode not in ("auto", "forward", "reverse"):
            raise ArgumentError(f"mode={mode!r} is not known", remedy='give "auto", "forward" or "reverse"')
        if sparse == "csr":
            return self.matrices(argnums, mode)
        if isinstance(sparse, torch.Tensor | tuple):
            return self.matrices(argnums, mode, sparse)
        return self.of(argnums, mode, sparse)

    def _base(self, argnums: Argnums) -> tuple[int | tuple[int, ...], Kernel]:
        positions = self.kernel.positions(argnums)
        return positions, self.kernel if self.kind == "jacobian" else self.kernel.derived(Grad(positions))

    def __call__(
        self,
        *args: Any,
        argnums: Argnums = 0,
        mode: Mode = "auto",
        sparse: Sparse | Declared | None = None,
        **kwargs: Any,
    ) -> Any:
        """Call it with the arguments of the kernel."""
        chosen = self.chosen(argnums, mode, sparse)
        result = chosen(*args, **kwargs)
        # The fast path is for calls without options.
        if (argnums, mode, sparse) == (0, "auto", None) and not isinstance(chosen, SparseJacobian) and chosen._latest:
            chosen._arm(self, chosen._latest, "primal", reserved=("argnums", "mode", "sparse"))
        return result

    @property
    def __knossos_maps__(self) -> bool:
        """As for the kernel."""
        return self.kernel.__knossos_maps__

    def __knossos_kernel__(
        self, argnums: Argnums = 0, mode: Mode = "auto", sparse: Sparse | Declared | None = None
    ) -> Kernel | SparseJacobian:
        """What a call with these options means inside another kernel."""
        return self.chosen(argnums, mode, sparse)

    @property
    def __knossos_derived__(self) -> Any:
        """The derivative that a call inside another kernel means."""
        return self.of().__knossos_derived__

    def __repr__(self) -> str:
        return f"<{self.kind} of {self.kernel!r}>"

    def __deepcopy__(self, memo: dict[int, Any]) -> Whole:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (self.kernel, self.kind)

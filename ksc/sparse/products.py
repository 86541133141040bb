"""Products of a Jacobian with tables of directions, as a step of a kernel that adds the tables to its parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ksc.arguments import abstract_leaves
from ksc.frontend.values import Abstract, Struct, Value
from ksc.ir.nodes import Program
from ksc.ir.sizes import ShapeProgram, SizeOp
from ksc.ir.types import Float, TensorType, Type, is_differentiable


@dataclass(frozen=True, slots=True)
class Products:
    """From a function to the products of ``ksc.transforms.jacobian.compressed``.

    Attributes:
        wrt: the leaves of the arguments to differentiate by, in increasing order.
        mode: whether the tables hold tangents of these or cotangents of the results.
    """

    wrt: tuple[int, ...]
    mode: Literal["forward", "reverse"]

    def __call__(self, program: Program, params: Sequence[Value], result: Value) -> tuple[Program, Value]:
        """The program of the products and their structure, a flat tuple. Raises DifferentiationError."""
        from ksc.passes import prepare
        from ksc.transforms.jacobian import compressed

        derived = compressed(prepare(program), wrt=self.wrt, mode=self.mode)
        return derived, Struct(tuple, tuple(Abstract(type_) for type_ in derived.main.result_types))

    def sizes(self, params: Sequence[Value], program: Program, known: ShapeProgram) -> ShapeProgram:
        """The sizes of the results: a table's number of directions, then those of a result or of an argument."""
        types = [type_ for param in params for _, type_ in abstract_leaves(param)]
        tangible = [k for k, type_ in enumerate(program.main.result_types) if is_differentiable(type_)]
        ops = list(known.ops)

        def size(argument: int, dim: int) -> int:
            ops.append(SizeOp("size", argument, dim))
            return len(ops) - 1

        results = []
        for n in range(len(self.wrt) if self.mode == "forward" else len(tangible)):
            count = size(len(types) + n, 0)
            if self.mode == "forward":
                results += [(count, *known.results[k]) for k in tangible]
            else:
                results += [(count, *(size(leaf, dim) for dim in range(_rank(types[leaf])))) for leaf in self.wrt]
        return ShapeProgram(tuple(ops), tuple(results), tuple((0,) * len(sizes) for sizes in results))

    def tables(self, params: Sequence[Value], result_types: Sequence[Type]) -> tuple[Abstract, ...]:
        """The parameters that are added."""
        types = [type_ for param in params for _, type_ in abstract_leaves(param)]
        seeded = (
            [types[leaf] for leaf in self.wrt] if self.mode == "forward" else filter(is_differentiable, result_types)
        )
        return tuple(
            Abstract(
                TensorType(1 + _rank(type_), Float, (None, *(type_.sizes if isinstance(type_, TensorType) else ())))
            )
            for type_ in seeded
        )

    @property
    def name(self) -> str:
        """What a kernel with this step is called."""
        return f"{self.mode} products"


def _rank(type_: Type) -> int:
    return type_.rank if isinstance(type_, TensorType) else 0

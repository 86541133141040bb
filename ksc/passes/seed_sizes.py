"""The sizes of seeds: a cotangent has those of its result, a tangent those of its parameter.

    (def [rev f] … ((x : (Tensor 1 Float)) (y_bar : (Tensor 1 Float)))
      (let ((same (eq (size x) (size y_bar))) (() (require same …)) …

Without it every element that is read of a seed would need a check, and no loop that reads one could be fused. The sizes
of results are those of ``ksc.transforms.shapes``; what they do not know is left out.
"""

from __future__ import annotations

from collections.abc import Sequence

from ksc.errors import UnsupportedError
from ksc.ir.builder import Builder
from ksc.ir.nodes import PLACEHOLDER, Atom, Block, Const, Function, Program, Var, const
from ksc.ir.rewrite import assemble
from ksc.ir.sizes import ShapeProgram, size_name
from ksc.ir.types import Integer, TensorType, Type, is_differentiable
from ksc.transforms.shapes import shapes

MESSAGE = "a cotangent has the sizes of its result, a tangent those of its parameter"

_TOTAL = frozenset({"add", "sub", "mul", "min", "max"})


def state_cotangent_sizes(source: Program, derived: Program, owners: Sequence[int] | None = None) -> Program:
    """The vjp of ``source`` with asserts that each cotangent has the sizes of its result.

    ``owners`` says of each parameter that the vjp adds which result has its sizes; all that have a cotangent where it
    is None.
    """
    if not any(isinstance(type_, TensorType) for type_ in source.main.result_types):
        return derived
    try:
        known = shapes(source)
    except UnsupportedError:
        return derived
    params = derived.main.params
    builder = Builder(derived.main.span)
    sizes = _Sizes(known, params, builder)
    if owners is None:
        owners = [k for k, type_ in enumerate(source.main.result_types) if is_differentiable(type_)]
    for k, seed in zip(owners, params[len(source.main.params) :], strict=True):
        for dim, position in enumerate(known.results[k]):
            size = sizes.emit(position)
            if size is not None:
                _require(builder, size, seed, dim)
    return _with_prologue(derived, builder)


def state_tangent_sizes(derived: Program, wrt: Sequence[int], count: int) -> Program:
    """The jvp by the parameters ``wrt`` of a program of ``count`` parameters, with asserts that tangents fit them."""
    params = derived.main.params
    builder = Builder(derived.main.span)
    for k, seed in zip(wrt, params[count:], strict=True):
        for dim in range(_rank(seed.type)):
            _require(builder, _size(builder, params[k], dim), seed, dim)
    return _with_prologue(derived, builder)


class _Sizes:
    """The ops of a table of sizes as equations, each emitted once and when it is asked for."""

    def __init__(self, known: ShapeProgram, params: Sequence[Var], builder: Builder) -> None:
        self.known = known
        self.params = params
        self.builder = builder
        self.done: dict[int, Atom | None] = {}

    def emit(self, position: int) -> Atom | None:
        """The Integer that an op gives; None where it is more than sums and products of sizes, or might stop."""
        if position not in self.done:
            self.done[position] = self._emit(position)
        return self.done[position]

    def _emit(self, position: int) -> Atom | None:
        op = self.known.ops[position]
        if op.code == "const":
            return const(op.a)
        if op.code == "size":
            return _size(self.builder, self.params[op.a], op.b)
        if op.code == "value":
            return self.params[op.a] if self.params[op.a].type == Integer else None
        if op.code not in _TOTAL and op.code not in ("idiv", "imod"):
            return None
        a, b = self.emit(op.a), self.emit(op.b)
        if a is None or b is None or (op.code not in _TOTAL and not (isinstance(b, Const) and b.value != 0)):
            return None
        return self.builder.apply(op.code, a, b, name="n")


def _size(builder: Builder, tensor: Var, dim: int) -> Var:
    name = size_name(tensor.name, _rank(tensor.type), dim) if tensor.name else PLACEHOLDER
    return builder.emit("size", [tensor], [Integer], names=[name], params={"dim": dim})[0]


def _require(builder: Builder, size: Atom, seed: Var, dim: int) -> None:
    (given,) = builder.emit("size", [seed], [Integer], params={"dim": dim})
    same = builder.apply("eq", size, given)
    builder.emit("assert", [same], [], params={"message": MESSAGE})


def _with_prologue(program: Program, builder: Builder) -> Program:
    if not builder.eqns:
        return program
    main = program.main
    body = Block(main.params, (*builder.eqns, *main.body.eqns), main.body.results, main.body.span)
    functions = {**program.functions, main.name: Function(main.name, body, main.span)}
    return assemble(functions, program.entry, program.boxes, renew=False)


def _rank(type_: Type) -> int:
    return type_.rank if isinstance(type_, TensorType) else 0

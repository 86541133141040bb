"""Building blocks: a Builder collects equations, an Expr is an atom with Python's operators."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ksc.ir.nodes import NO_PARAMS, PLACEHOLDER, Atom, Block, Const, Eqn, Span, Var, const
from ksc.ir.types import Bool, FloatType, Integer, IntegerType, TensorType, Type


class Builder:
    """Appends equations to one block; ``span`` is copied onto each."""

    def __init__(self, span: Span | None = None) -> None:
        self.eqns: list[Eqn] = []
        self.span = span

    def emit(
        self,
        op: str,
        args: Sequence[Atom],
        types: Sequence[Type],
        *,
        names: Sequence[str] = (),
        params: Mapping[str, Any] = NO_PARAMS,
        blocks: Sequence[Block] = (),
        span: Span | None = None,
    ) -> tuple[Var, ...]:
        """Append one equation with outs of the given types and return them."""
        outs = tuple(Var(names[k] if k < len(names) else PLACEHOLDER, type_) for k, type_ in enumerate(types))
        self.eqns.append(Eqn(outs, op, tuple(args), params, tuple(blocks), span or self.span))
        return outs

    def apply(self, op: str, *args: Atom, name: str = PLACEHOLDER) -> Atom:
        """Append a scalar primitive, its result type taken from its record, and return its one out."""
        from ksc.ops import primitive

        (type_,) = primitive(op).result_types([arg.type for arg in args])
        return self.emit(op, args, [type_], names=[name])[0]

    def block(self, params: Iterable[Var], results: Iterable[Atom], span: Span | None = None) -> Block:
        """The block collected so far; the user gives the results at ``span``."""
        return Block(tuple(params), tuple(self.eqns), tuple(results), span)

    # The structured ops, each with the bodies given as functions of (builder, block parameters).

    def if_(
        self, cond: Atom, then: Callable[[Builder], Sequence[Atom]], else_: Callable[[Builder], Sequence[Atom]]
    ) -> tuple[Var, ...]:
        """``if cond then … else …``; both sides give results of the same types."""
        blocks = []
        for side in (then, else_):
            inner = Builder(self.span)
            results = tuple(side(inner))
            blocks.append(inner.block((), results))
        types = [result.type for result in blocks[0].results]
        return self.emit("if", [cond], types, blocks=blocks)

    def for_(
        self,
        count: Atom,
        inits: Sequence[Atom],
        body: Callable[[Builder, Var, tuple[Var, ...]], Sequence[Atom]],
        *,
        reverse: bool = False,
        names: Sequence[str] = (),
    ) -> tuple[Var, ...]:
        """A counted loop; the body gives the next carries, then values to stack, one per iteration."""
        inner = Builder(self.span)
        i = Var("i", IntegerType())
        carries = tuple(Var(names[k] if k < len(names) else "c", init.type) for k, init in enumerate(inits))
        results = tuple(body(inner, i, carries))
        stacked = [stack_type(1, r.type) for r in results[len(inits) :]]
        return self.emit(
            "for",
            [count, *inits],
            [*(init.type for init in inits), *stacked],
            names=names,
            params={"carries": len(inits), "reverse": reverse},
            blocks=[inner.block((i, *carries), results)],
        )


def stack_type(rank: int, elem: Type) -> Type:
    """The type of a tensor of ``rank`` dimensions whose elements, maybe tensors themselves, have type ``elem``."""
    if isinstance(elem, TensorType):
        return TensorType(rank + elem.rank, elem.elem, (None,) * rank + elem.sizes)
    return TensorType(rank, elem)


def sizes_of(builder: Builder, tensor: Atom) -> list[Atom]:
    """The sizes of a tensor, constants where the type tells them."""
    assert isinstance(tensor.type, TensorType)
    return [
        builder.emit("size", [tensor], [Integer], names=["n"], params={"dim": dim})[0] if size is None else const(size)
        for dim, size in enumerate(tensor.type.sizes)
    ]


class Expr:
    """An atom bound to a builder, with Python's arithmetic and comparison operators."""

    __slots__ = ("atom", "builder")

    def __init__(self, builder: Builder, atom: Atom) -> None:
        self.builder = builder
        self.atom = atom

    def op(self, name: str, *others: ExprLike) -> Expr:
        """Apply the scalar primitive ``name`` with this expression as first argument."""
        atoms = [self.atom, *(lift(other, self.atom.type) for other in others)]
        return Expr(self.builder, self.builder.apply(name, *atoms))

    def _reflected(self, name: str, other: ExprLike) -> Expr:
        return Expr(self.builder, self.builder.apply(name, lift(other, self.atom.type), self.atom))

    def __add__(self, other: ExprLike) -> Expr:
        return self.op("add", other)

    def __radd__(self, other: ExprLike) -> Expr:
        return self._reflected("add", other)

    def __sub__(self, other: ExprLike) -> Expr:
        return self.op("sub", other)

    def __rsub__(self, other: ExprLike) -> Expr:
        return self._reflected("sub", other)

    def __mul__(self, other: ExprLike) -> Expr:
        return self.op("mul", other)

    def __rmul__(self, other: ExprLike) -> Expr:
        return self._reflected("mul", other)

    def __truediv__(self, other: ExprLike) -> Expr:
        return self.op("div", other)

    def __rtruediv__(self, other: ExprLike) -> Expr:
        return self._reflected("div", other)

    def __neg__(self) -> Expr:
        return self.op("neg")

    def __lt__(self, other: ExprLike) -> Expr:
        return self.op("lt", other)

    def __le__(self, other: ExprLike) -> Expr:
        return self.op("lte", other)

    def __gt__(self, other: ExprLike) -> Expr:
        return self.op("gt", other)

    def __ge__(self, other: ExprLike) -> Expr:
        return self.op("gte", other)

    def eq(self, other: ExprLike) -> Expr:
        return self.op("eq", other)

    def __and__(self, other: Expr) -> Expr:
        return self.op("and", other)

    def __or__(self, other: Expr) -> Expr:
        return self.op("or", other)

    def __invert__(self) -> Expr:
        return self.op("not")

    def select(self, then: ExprLike, else_: ExprLike) -> Expr:
        """``then`` where this Bool holds, else ``else_``; both are evaluated."""
        if self.atom.type != Bool:
            raise TypeError("select needs a Bool")
        like = (
            next(e.atom.type for e in (then, else_) if isinstance(e, Expr)) if _any_expr(then, else_) else FloatType()
        )
        atoms = (self.atom, lift(then, like), lift(else_, like))
        return Expr(self.builder, self.builder.apply("select", *atoms))


ExprLike = Expr | float | int | bool


def _any_expr(*values: ExprLike) -> bool:
    return any(isinstance(value, Expr) for value in values)


def lift(value: ExprLike, like: Type) -> Atom:
    """The atom of an expression or of a Python number, a number taking the type ``like`` where that is Float."""
    if isinstance(value, Expr):
        return value.atom
    if isinstance(like, FloatType):
        return Const(float(value), like)
    return const(value)

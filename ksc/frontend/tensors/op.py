"""What a function of torch is written with: reading its arguments, emitting loops over indices, giving results."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import torch

from ksc.frontend.frame import Frame
from ksc.frontend.tensors.array import (
    MOST_ELEMENTS,
    broadcast_size,
    element,
    index_variables,
    is_of_one_tensor,
    is_single,
    reduce,
    same_size,
    sizes_of,
)
from ksc.frontend.tensors.dtypes import FLOAT_DTYPES, CallersDevice
from ksc.frontend.tensors.integers import bounded, factors_of, lower
from ksc.frontend.tensors.scalars import Scalar
from ksc.frontend.values import Array, Ref, Static, Struct, Value, describe, scalar_type
from ksc.ir.builder import stack_type
from ksc.ir.nodes import PLACEHOLDER, Atom, Block, Var
from ksc.ir.types import Bool, Float, Integer, TensorType, Type

Index = Sequence[Scalar]
ScalarLike = Scalar | float | int | bool


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """A tensor at one moment: its atom, its sizes and the type of its elements. A scalar is one of rank 0."""

    op: Op
    atom: Atom
    sizes: tuple[Scalar, ...]
    type: Type

    @property
    def rank(self) -> int:
        return len(self.sizes)

    def __getitem__(self, index: Index) -> Scalar:
        """The element at an index that is known to be in range."""
        assert len(index) == self.rank
        return Scalar.of(self.op, element(self.op.frame, self.op.node, self.array, [i.atom for i in index]))

    @property
    def array(self) -> Array:
        """The value of the trace."""
        return Array(self.atom, tuple(size.atom for size in self.sizes))

    def row(self, index: Index) -> Tensor:
        """The part at some leading indices."""
        if not index:
            return self
        if len(index) == self.rank:
            return self.op.rank_0(self[index])
        assert isinstance(self.atom.type, TensorType)
        rest = self.sizes[len(index) :]
        type_ = TensorType(len(rest), self.type, self.atom.type.sizes[len(index) :])
        atoms = [self.atom, *(i.atom for i in index)]
        (out,) = self.op.frame.emit(self.op.node, "index", atoms, [type_], names=["row"])
        return Tensor(self.op, out, rest, self.type)

    def spread(self, index: Index) -> Scalar:
        """The element that broadcasting puts at an index of as many dimensions or more."""
        own = index[len(index) - self.rank :]
        zero, frame = Scalar.of(self.op, 0), self.op.frame
        return self[[zero if is_single(frame, size.atom) else i for i, size in zip(own, self.sizes, strict=True)]]

    def numel(self) -> Scalar:
        """The number of elements."""
        return self.op.product(self.sizes)


@dataclass(frozen=True, slots=True, eq=False)
class Op:
    """One call of the function ``name`` of torch, at ``node`` of the program that ``frame`` traces."""

    frame: Frame
    name: str
    node: ast.AST

    def refuse(self, reason: str, instead: str, *, code: str = "KS200") -> NoReturn:
        """Turn the call down."""
        self.frame.refuse(self.node, f"{self.name}() {reason}", instead, code=code)

    # Arguments.

    def is_tensor(self, value: Value) -> bool:
        """Whether the value is a tensor, one of rank 0 included."""
        return isinstance(value, Array | Ref)

    def tensor(self, value: Value, what: str = "a tensor") -> Tensor:
        """A tensor argument; a number is taken as a tensor of rank 0."""
        if scalar_type(value) is not None and not self.is_tensor(value):
            return self.rank_0(Scalar.of(self, value))
        if not self.is_tensor(value):
            self.refuse(f"needs {what}, not {describe(value)}", "pass a tensor")
        array = self.frame.array(value, self.node)
        sizes = sizes_of(self.frame, self.node, array)
        return Tensor(self, array.atom, tuple(Scalar.of(self, size) for size in sizes), array.elem)

    def float_tensor(self, value: Value) -> Tensor:
        """A tensor argument whose elements must be Floats."""
        x = self.tensor(value)
        if x.type != Float:
            self.refuse(f"needs a floating point tensor, not one of {x.type}", "convert it, as in `x * 1.0`")
        return x

    def numeric_tensor(self, value: Value) -> Tensor:
        """A tensor argument whose elements must be Floats or Integers."""
        x = self.tensor(value)
        if x.type == Bool:
            self.refuse("is not defined on truth values", "convert them, as in `x * 1.0`")
        return x

    def tensors(self, value: Value) -> list[Tensor]:
        """An argument that is a tuple or list of tensors."""
        if not isinstance(value, Struct):
            self.refuse(f"needs a tuple or list of tensors, not {describe(value)}", "pass a tuple of tensors")
        return [self.tensor(item) for item in value.items]

    def static(self, value: Value, what: str) -> Any:
        """The Python object of an argument that is known at compile time, tuples and lists of such included."""
        if isinstance(value, Struct):
            return tuple(self.static(item, what) for item in value.items)
        return self.frame.require_static(value, self.node, f"the argument {what} of {self.name}()", "use a constant")

    def flag(self, value: Value, what: str) -> bool:
        """A switch that is known at compile time."""
        return bool(self.static(value, what))

    def choice(self, value: Value, what: str, choices: Sequence[str]) -> str:
        """A text that is one of ``choices``."""
        given = self.static(value, what)
        if given not in choices:
            self.refuse(f"does not know {what}={given!r}", f"use one of {', '.join(map(repr, choices))}")
        return str(given)

    def scalar(self, value: Value) -> Scalar:
        """A number, or a tensor of rank 0."""
        x = self.tensor(value, "a number")
        if x.rank:
            self.refuse(f"needs a number, not {describe(value)}", "pass a number")
        return x[()]

    def integer(self, value: Value, what: str) -> Scalar:
        """An argument that is an Integer."""
        x = self.scalar(value)
        if x.type != Integer:
            self.refuse(f"needs an Integer as {what}, not {describe(value)}", "convert it with int()")
        return x

    def integers(self, value: Value, what: str, *, count: int | None = None) -> list[Scalar]:
        """Integers given as a tuple or list, or one that stands for ``count`` equal ones."""
        if isinstance(value, Static) and isinstance(value.value, torch.Size | tuple | list | range):
            return [Scalar.of(self, int(item)) for item in value.value]
        if isinstance(value, Struct):
            found = [self.integer(item, what) for item in value.items]
            if count is not None and len(found) == 1:
                return found * count
            if count is not None and len(found) != count:
                self.refuse(f"needs {count} numbers as {what}, not {len(found)}", f"give {count}")
            return found
        return [self.integer(value, what)] * (1 if count is None else count)

    def dim(self, value: Value, rank: int, what: str = "dim") -> int:
        """A dimension of a tensor of this rank, counted from the end where negative."""
        return self.place(self.static(value, what), rank)

    def place(self, dim: object, rank: int) -> int:
        """A dimension given as a Python int."""
        limit = max(rank, 1)
        if isinstance(dim, bool) or not isinstance(dim, int) or not -limit <= dim < limit:
            reason = f"has no dimension {dim!r} in a tensor of {rank} dimensions"
            self.refuse(reason, f"use {-limit} to {limit - 1}", code="KS209")
        return dim % limit

    def dims(self, value: Value, rank: int, what: str = "dim") -> tuple[int, ...]:
        """Dimensions given as None or an empty tuple (all of them), an int, or a tuple; in ascending order."""
        given = self.static(value, what)
        if given is None or given == ():
            return tuple(range(rank))
        places = [self.place(dim, rank) for dim in (given if isinstance(given, tuple | list) else (given,))]
        if len(set(places)) < len(places):
            self.refuse(f"is given a dimension twice in {what}={given!r}", "name each dimension once")
        return tuple(sorted(place for place in places if place < rank))

    def dtype(self, value: Value, default: Type) -> Type:
        """The type of elements that a ``dtype`` argument asks for."""
        if isinstance(value, Static):
            match value.value:
                case None | CallersDevice():
                    return default
                case Type() as type_:
                    return type_
                case torch.int64:
                    return Integer
                case torch.bool:
                    return Bool
                case torch.dtype() as given if given in FLOAT_DTYPES:
                    instead = "leave dtype to the caller's tensors, or write `dtype=x.dtype`"
                    self.refuse(f"with dtype={given}: a kernel computes in the dtype of its arguments", instead)
                case torch.dtype() as given:
                    self.refuse(f"with dtype={given}", "use torch.int64 or torch.bool")
        self.refuse(f"with {describe(value)} as dtype", "write `dtype=x.dtype`, torch.int64 or torch.bool")

    # Sizes.

    def product(self, factors: Iterable[Scalar]) -> Scalar:
        """The product of Integers."""
        result = Scalar.of(self, 1)
        for factor in factors:
            result = result * factor
        return result

    def same(self, a: Scalar, b: Scalar) -> Scalar:
        """Two sizes that must agree, as one: compared at run time where they are not the same atom."""
        return Scalar.of(self, same_size(self.frame, self.node, a.atom, b.atom))

    def broadcast(self, shapes: Sequence[Sequence[Scalar]]) -> list[Scalar]:
        """The sizes that all of ``shapes`` are broadcast to, see ``broadcast_size``."""
        rank = max(map(len, shapes), default=0)
        result = [Scalar.of(self, 1)] * rank
        for sizes in shapes:
            for k, size in enumerate(sizes, rank - len(sizes)):
                result[k] = Scalar.of(self, broadcast_size(self.frame, self.node, result[k].atom, size.atom))
        return result

    def require(self, condition: Scalar, message: str) -> None:
        """Stop the kernel with ``message`` where the condition does not hold."""
        if condition.known is True:
            return
        if condition.known is False:
            self.frame.refuse(self.node, message, "give arguments that fit", code="KS207")
        self.frame.emit(self.node, "assert", [condition.atom], [], params={"message": message})

    def require_size(self, size: Scalar, what: str = "a size") -> Scalar:
        """A size that must not be negative."""
        known = lower(self.frame, size.atom)
        if known is None or known < 0:
            self.require(size >= 0, f"{self.name}(): {what} is negative")
            bounded(self.frame, size.atom, 0)
        return size

    def require_shape(self, sizes: Sequence[Scalar], what: str = "a size") -> list[Scalar]:
        """Sizes that a tensor can have: none is negative, and its elements fit into the address space.

        Raises TypeMismatchError (KS208) where that is known not to be so; otherwise it is found at run time.
        """
        unknown = [size for size in sizes if size.known is None]
        times = math.prod(int(size.known) for size in sizes if size.known is not None)
        if not unknown and times > MOST_ELEMENTS:
            self.refuse("of this shape does not fit into memory", "use smaller sizes", code="KS208")
        if times > 0 and not is_of_one_tensor(self.frame, [size.atom for size in unknown]):
            factors = [factor for size in unknown for factor in factors_of(self.frame, size.atom)]
            key = ("fits", times, tuple(sorted(factors, key=id)))
            if unknown and key not in self.frame.region.known:
                # In Floats, since a product of Integers wraps.
                total = self.number(float(times))
                for factor in factors:
                    total = total * Scalar.of(self, factor).float
                message = f"{self.name}(): a tensor of this shape does not fit into memory"
                self.require(total <= float(MOST_ELEMENTS), message)
                self.frame.region.known[key] = unknown[0].atom
        return [self.require_size(size, what) for size in sizes]

    # Equations.

    def number(self, value: float | int | bool) -> Scalar:
        """A constant."""
        return Scalar.of(self, value)

    def zero(self, type_: Type) -> Scalar:
        """The zero of a type of elements."""
        return self.number({Float: 0.0, Integer: 0, Bool: False}[type_])

    def apply(self, primitive: str, *args: ScalarLike) -> Scalar:
        """A scalar primitive."""
        atoms = [Scalar.of(self, arg).atom for arg in args]
        return Scalar.of(self, self.frame.apply(self.node, primitive, *atoms))

    def rank_0(self, scalar: Scalar) -> Tensor:
        """A scalar as a tensor of rank 0."""
        return Tensor(self, scalar.atom, (), scalar.type)

    def build(self, sizes: Sequence[Scalar], body: Callable[[list[Scalar]], Scalar]) -> Tensor:
        """The tensor of the elements that ``body`` gives for each index."""
        (result,) = self.build_many(sizes, lambda index: [body(index)])
        return result

    def build_many(self, sizes: Sequence[Scalar], body: Callable[[list[Scalar]], Sequence[Scalar]]) -> list[Tensor]:
        """Several tensors of equal sizes, built by one loop."""
        if not sizes:
            return [self.rank_0(element) for element in body([])]
        rows = self.build_rows(sizes, lambda index: [self.rank_0(element) for element in body(index)])
        return list(rows)

    def build_rows(self, sizes: Sequence[Scalar], body: Callable[[list[Scalar]], Sequence[Tensor]]) -> list[Tensor]:
        """As ``build_many`` where the elements may be tensors: their dimensions come last.

        The sizes of such elements must be known outside the loop.
        """
        if not sizes:
            return list(body([]))
        params = index_variables(len(sizes))
        with self.frame.block() as inner:
            parts = list(body([Scalar.of(self, param) for param in params]))
            block = inner.block(params, [part.atom for part in parts])
        known = tuple(size.known if isinstance(size.known, int) else None for size in sizes)
        types: list[Type] = []
        for part in parts:
            stacked = stack_type(len(sizes), part.atom.type)
            assert isinstance(stacked, TensorType)
            types.append(TensorType(stacked.rank, stacked.elem, (*known, *stacked.sizes[len(sizes) :])))
        atoms = [size.atom for size in sizes]
        outs = self.frame.emit(self.node, "build", atoms, types, names=[PLACEHOLDER] * len(parts), blocks=[block])
        return [Tensor(self, out, (*sizes, *part.sizes), part.type) for out, part in zip(outs, parts, strict=True)]

    def reduce(self, monoid: str, sizes: Sequence[Scalar], body: Callable[[list[Scalar]], Scalar]) -> Scalar:
        """The elements that ``body`` gives, combined by the monoid."""
        atoms = [size.atom for size in sizes]
        made = reduce(
            self.frame, self.node, monoid, atoms, lambda index: body([Scalar.of(self, i) for i in index]).atom
        )
        return Scalar.of(self, made)

    def loop(
        self,
        count: Scalar,
        inits: Sequence[Scalar | Tensor],
        body: Callable[[Scalar, list[Any]], tuple[Sequence[Scalar | Tensor], Sequence[Scalar]]],
    ) -> tuple[list[Any], list[Tensor]]:
        """A counted loop: ``body(i, carried)`` gives what is carried on, and scalars that are stacked.

        The carries are Scalars and Tensors as ``inits`` are; a Tensor keeps its sizes.
        """

        def restored(atom: Var, like: Scalar | Tensor) -> Scalar | Tensor:
            if isinstance(like, Scalar):
                return Scalar.of(self, atom)
            return Tensor(self, atom, like.sizes, like.type)

        index = Var("i", Integer)
        params = [Var("c", init.atom.type) for init in inits]
        with self.frame.block() as inner:
            pairs = zip(params, inits, strict=True)
            carried, stacked = body(Scalar.of(self, index), [restored(param, init) for param, init in pairs])
            results: list[Atom] = [part.atom for part in (*carried, *stacked)]
            block = inner.block((index, *params), results)
        known = count.known if isinstance(count.known, int) else None
        types = [*(init.atom.type for init in inits), *(TensorType(1, part.type, (known,)) for part in stacked)]
        outs = self.frame.emit(
            self.node,
            "for",
            [count.atom, *(init.atom for init in inits)],
            types,
            names=[PLACEHOLDER] * len(types),
            params={"carries": len(inits), "reverse": False},
            blocks=[block],
        )
        finals = [restored(out, init) for out, init in zip(outs, inits, strict=False)]
        made = [Tensor(self, out, (count,), part.type) for out, part in zip(outs[len(inits) :], stacked, strict=True)]
        return finals, made

    def if_(self, condition: Scalar, then: Callable[[], Scalar], else_: Callable[[], Scalar]) -> Scalar:
        """The value of one side, of which only that one is evaluated; both give the same type."""
        if condition.known is not None:
            return then() if condition.known else else_()
        blocks: list[Block] = []
        types = set()
        for side in (then, else_):
            with self.frame.block() as inner:
                result = side()
                blocks.append(inner.block((), [result.atom]))
                types.add(result.type)
        (type_,) = types
        (out,) = self.frame.emit(self.node, "if", [condition.atom], [type_], names=[PLACEHOLDER], blocks=blocks)
        return Scalar.of(self, out)

    def update(self, tensor: Tensor, index: Index, value: Scalar) -> Tensor:
        """The tensor with one element replaced."""
        atoms = [tensor.atom, *(i.atom for i in index), value.as_(tensor.type).atom]
        (out,) = self.frame.emit(self.node, "update", atoms, [tensor.atom.type], names=[PLACEHOLDER])
        return Tensor(self, out, tensor.sizes, tensor.type)

    # Results.

    def result(self, tensor: Tensor) -> Value:
        """A new tensor of the user's program."""
        return self.frame.fresh(tensor.array, self.node)

    def results(self, cls: type, tensors: Sequence[Tensor], keys: Sequence[str] = ()) -> Value:
        """A tuple or namedtuple of new tensors."""
        return Struct(cls, tuple(map(self.result, tensors)), tuple(keys))

    def copied(self, tensor: Tensor) -> Tensor:
        """The tensor with a storage of its own, as a build of its elements."""
        return self.build(tensor.sizes, lambda index: tensor[index])

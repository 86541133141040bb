"""Abstract values: what the frontend knows of a Python value while it traces.

Static      known at compile time
Dynamic     a scalar that depends on the arguments: an atom of the IR
Array       a tensor at one moment: an atom of the IR, and an atom for each size
Ref         a tensor as a variable holds it: a cell, whose content the trace keeps, and how it is looked at
Struct      a tuple, list, dict, namedtuple or dataclass whose parts are values
Closure     a function defined inside a traced function
BoundMethod a function with its first argument
Rows        a list whose length depends on the arguments
Poison      a variable that must not be read, with the error to be raised if it is
Abstract    a type in place of a Dynamic: descriptions of parameters, of results, of what a loop carries
Dead        the value of a variable where control never arrives
"""

from __future__ import annotations

import ast
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FunctionType
from typing import TYPE_CHECKING, Any

from ksc.ir.nodes import PLACEHOLDER, Atom, Const, Span, Var, const
from ksc.ir.types import Bool, Float, Integer, TensorType, Type

if TYPE_CHECKING:
    import torch

    from ksc.frontend.frame import Frame


class Value:
    """Base of all abstract values."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, eq=False)
class Static(Value):
    """A Python object known at compile time."""

    value: Any


@dataclass(frozen=True, slots=True, eq=False)
class Dynamic(Value):
    """A scalar known at run time only.

    ``weak`` holds for an Integer that stems from int literals alone, which becomes Float beside a Float.
    """

    atom: Atom
    weak: bool = False

    @property
    def type(self) -> Type:
        return self.atom.type


Sizes = tuple[Atom | None, ...]
"""An atom for each size that is known or has been read, None for any other."""


@dataclass(frozen=True, slots=True, eq=False)
class Array(Value):
    """A tensor at one moment, of any rank; one of rank 0 has a scalar as ``atom`` and no sizes.

    ``narrow`` is the dtype of an argument of integers of fewer than 64 bits, which stand as Integers in the IR.
    """

    atom: Atom
    sizes: Sizes
    narrow: torch.dtype | None = None

    @property
    def rank(self) -> int:
        return len(self.sizes)

    @property
    def elem(self) -> Type:
        """The type of the elements."""
        return self.atom.type.elem if isinstance(self.atom.type, TensorType) else self.atom.type


class Cell:
    """A storage. What it holds now is kept by the region of the trace, under the cell itself.

    Two cells may be one and the same, because that depends on the arguments: a write to one of them leaves it open what
    the other holds.

    Attributes:
        sizes: those of the tensor that it holds, which never change; none for a list.
        elem: the type of the elements.
        owner: the argument, or object from outside, whose storage it is, which is never written; None for any other.
        captured: whether the owner is an object from outside.
        mixed: whether what stands for the tensor may be a number.
        listed: whether it holds items of a list, some of which may be one and the same, or a copy of one.
        name: what its content is called in the IR.
        narrow: the dtype of integers of fewer than 64 bits, None for any other.
    """

    __slots__ = ("_others", "captured", "elem", "listed", "mixed", "name", "narrow", "owner", "sizes")

    def __init__(
        self, sizes: Sizes = (), elem: Type = Float, *, owner: str | None = None, name: str = PLACEHOLDER
    ) -> None:
        self.sizes = sizes
        self.elem = elem
        self.owner = owner
        self.captured = False
        self.mixed = False
        self.listed = False
        self.name = name
        self.narrow: torch.dtype | None = None
        self._others: set[Cell] = set()

    @property
    def others(self) -> frozenset[Cell]:
        """The cells that may be this one."""
        return frozenset(self._others)

    def shares(self, other: Cell) -> bool:
        """Whether the two may be one."""
        return other is self or other in self._others

    def may_be(self, other: Cell) -> bool:
        """Note that the two may be one, which says nothing of any third; whether that is new."""
        if self.shares(other):
            return False
        self._others.add(other)
        other._others.add(self)
        return True

    def may_share(self, other: Cell) -> None:
        """Note that the two may be one, wherever they are used: then each may be what the other may be."""
        mine, theirs = [self, *self._others], [other, *other._others]
        for one in mine:
            for another in theirs:
                one.may_be(another)


class Step:
    """One step of a view: from an index into it to an index into what it is a view of."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, eq=False)
class Ref(Value):
    """A view of a cell: ``steps`` lead from its indices to those of the cell; none where it is all of the cell."""

    cell: Cell
    sizes: Sizes
    steps: tuple[Step, ...] = ()

    @property
    def rank(self) -> int:
        return len(self.sizes)

    @property
    def elem(self) -> Type:
        """The type of the elements."""
        return self.cell.elem


@dataclass(frozen=True, slots=True)
class Abstract(Value):
    """A value of this type, known at run time only.

    ``tensor`` holds for a tensor of rank 0, whose type is that of a number; ``sizes`` are those of a tensor which are
    known where the value comes to be, and ``cell`` is where it is kept. ``narrow`` is the dtype of an argument of
    integers of fewer than 64 bits.
    """

    type: Type
    weak: bool = False
    tensor: bool = False
    sizes: Sizes = ()
    cell: Cell | None = None
    narrow: torch.dtype | None = None

    @property
    def is_tensor(self) -> bool:
        """Whether the value is a tensor, of rank 0 or more."""
        return self.tensor or isinstance(self.type, TensorType)


@dataclass(frozen=True, slots=True, eq=False)
class Struct(Value):
    """A container: ``cls`` is tuple, list, dict, slice, or a namedtuple's or dataclass's class.

    ``keys`` are the fields of a class or the keys of a dict; tuples and lists have none. A list that can change has a
    ``cell``, which holds it as it is now; this is it as it was when it was read.
    """

    cls: type
    items: tuple[Value, ...]
    keys: tuple[Any, ...] = ()
    cell: Cell | None = None

    def field(self, name: object) -> Value | None:
        """The part called ``name``, or None."""
        return self.items[self.keys.index(name)] if name in self.keys else None

    def with_items(self, items: tuple[Value, ...]) -> Struct:
        """A new container of the same kind with other parts."""
        return Struct(self.cls, items, self.keys)

    def changed(self, items: tuple[Value, ...]) -> Struct:
        """The same container, its parts being others."""
        return Struct(self.cls, items, self.keys, self.cell)


@dataclass(frozen=True, slots=True, eq=False)
class Closure(Value):
    """A function defined while tracing; ``frame`` is the scope it sees, ``defaults`` its evaluated default values."""

    node: ast.FunctionDef | ast.Lambda
    frame: Frame
    defaults: dict[str, Value]

    @property
    def name(self) -> str:
        return self.node.name if isinstance(self.node, ast.FunctionDef) else "lambda"


@dataclass(frozen=True, slots=True, eq=False)
class BoundMethod(Value):
    """A method of a value: ``function`` is called with ``owner`` as first argument."""

    function: FunctionType
    owner: Value


@dataclass(frozen=True, slots=True, eq=False)
class Partial(Value):
    """A function with some of its arguments, as ``functools.partial`` makes."""

    function: Value
    args: tuple[Value, ...]
    kwargs: dict[str, Value]


@dataclass(frozen=True, slots=True, eq=False)
class Range(Value):
    """A ``range`` with bounds that may depend on the arguments."""

    start: Value
    stop: Value
    step: Value


@dataclass(frozen=True, slots=True, eq=False)
class Iteration(Value):
    """Something that gives as many items as the arguments tell: ``item`` makes the one at an index."""

    count: Atom
    item: Callable[[Frame, Value], Value]


@dataclass(frozen=True, slots=True, eq=False)
class Rows(Value):
    """A list as long as the arguments tell: ``parts`` hold what its items have for each Abstract leaf, stacked."""

    template: Value
    parts: tuple[Ref, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Poison(Value):
    """The variable must not be read: ``reason`` and ``instead`` are the error, with its ``code``."""

    code: str
    reason: str
    instead: str


@dataclass(frozen=True, slots=True, eq=False)
class Dead(Value):
    """Stands for any value, on a path where it is never read."""


DEAD = Dead()
NONE = Static(None)
TRUE = Static(True)
FALSE = Static(False)


@dataclass(frozen=True, slots=True)
class Binding:
    """What a name is bound to, and where that happened."""

    value: Value
    span: Span | None


def is_number(obj: object) -> bool:
    """Whether ``obj`` is a Python number that the IR has a constant for."""
    return isinstance(obj, bool | int | float)


def static_type(obj: object) -> Type | None:
    """The IR type of a Python number, None for any other object."""
    match obj:
        case bool():
            return Bool
        case int():
            return Integer
        case float():
            return Float
        case _:
            return None


def scalar_type(value: Value) -> Type | None:
    """The type of a scalar value, None for one that is not a scalar."""
    match value:
        case Dynamic():
            return value.type
        case Abstract():
            return None if value.is_tensor else value.type
        case Static(obj):
            return static_type(obj)
        case _:
            return None


def is_none(value: Value) -> bool:
    """Whether the value is None."""
    return isinstance(value, Static) and value.value is None


def make_slice(start: Value = NONE, stop: Value = NONE, step: Value = NONE) -> Struct:
    """``start:stop:step``, None where a part is left out."""
    return Struct(slice, (start, stop, step), ("start", "stop", "step"))


def as_slice(value: Value) -> Struct | None:
    """The parts of a slice, which may be a constant from outside; None for any other value."""
    if isinstance(value, Static) and isinstance(value.value, slice):
        whole = value.value
        return make_slice(Static(whole.start), Static(whole.stop), Static(whole.step))
    return value if isinstance(value, Struct) and value.cls is slice else None


def is_weak(value: Value) -> bool:
    """Whether the value is an Integer that may become Float beside a Float."""
    match value:
        case Dynamic() | Abstract():
            return value.weak
        case Static(obj):
            return isinstance(obj, int) and not isinstance(obj, bool)
        case _:
            return False


def same_object(a: object, b: object) -> bool:
    """Whether two static objects cannot be told apart: equal numbers of one type and sign, or equal constants."""
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, float) and isinstance(b, float):
        return struct.pack("<d", a) == struct.pack("<d", b)
    return isinstance(a, int | str | bytes | range | slice) and bool(a == b)


def as_constant(value: Value) -> Const | None:
    """The constant of a static number within 64 bits, None for anything else."""
    if isinstance(value, Static) and is_number(value.value):
        number = value.value
        if isinstance(number, float):
            return Const(float(number), Float)
        if -(2**63) <= number < 2**63:
            return const(bool(number) if isinstance(number, bool) else int(number))
    return None


def leaves(value: Value) -> Iterator[Value]:
    """The parts of a value that are not containers, depth first."""
    if isinstance(value, Struct):
        for item in value.items:
            yield from leaves(item)
    else:
        yield value


def map_leaves(fn: Callable[[Value, str], Value], value: Value, name: str) -> Value:
    """Apply ``fn`` to every leaf and a readable name for it: ``p_x`` for the field ``x`` of ``p``."""
    if not isinstance(value, Struct):
        return fn(value, name)
    keys = value.keys or tuple(range(len(value.items)))
    return value.changed(
        tuple(map_leaves(fn, item, f"{name}_{key}") for key, item in zip(keys, value.items, strict=True))
    )


def tensor_type(elem: Type, sizes: Sizes) -> Type:
    """The type of a tensor: that of a number where it has no sizes."""
    if not sizes:
        return elem
    return TensorType(len(sizes), elem, tuple(int(size.value) if isinstance(size, Const) else None for size in sizes))


def known_sizes(type_: Type) -> Sizes:
    """The sizes that a type tells, none for a scalar."""
    if not isinstance(type_, TensorType):
        return ()
    return tuple(None if size is None else const(size) for size in type_.sizes)


def runtime_value(template: Abstract, atom: Atom) -> Value:
    """The value that ``atom`` is, where it stands for this template."""
    if template.is_tensor:
        return Array(atom, template.sizes or known_sizes(atom.type), template.narrow)
    return Dynamic(atom, template.weak)


def instantiate(template: Value, name: str, params: list[Var]) -> Value:
    """The template with a new variable, appended to ``params``, for each Abstract leaf."""

    def fresh(leaf: Value, leaf_name: str) -> Value:
        if not isinstance(leaf, Abstract):
            return leaf
        var = Var(leaf_name, leaf.type)
        params.append(var)
        return runtime_value(leaf, var)

    return map_leaves(fresh, template, name)


def narrow_dtype(value: Value) -> torch.dtype | None:
    """The dtype of a tensor of integers of fewer than 64 bits, None for any other value."""
    match value:
        case Ref(cell=cell):
            return cell.narrow
        case Array():
            return value.narrow
        case _:
            return None


def describe(value: Value) -> str:
    """What a value is, for a message."""
    match value:
        case Array() | Ref():
            return _describe_tensor(value.rank, value.elem)
        case Abstract(type=TensorType(rank=rank, elem=elem)):
            return _describe_tensor(rank, elem)
        case Abstract(type=type_, tensor=True):
            return _describe_tensor(0, type_)
        case Dynamic() | Abstract():
            return str(value.type)
        case Static(obj):
            kind = static_type(obj)
            if kind is not None:
                return f"{kind} (the constant {obj!r})"
            if callable(obj):
                return f"the function {getattr(obj, '__qualname__', repr(obj))}"
            return "None" if obj is None else f"the constant {obj!r}"
        case Struct(cls=cls, items=items):
            if cls in (tuple, list):
                return f"a {cls.__name__} of {len(items)}"
            return f"a {cls.__name__}"
        case Closure():
            return f"the local function {value.name}"
        case BoundMethod(function=function):
            return f"the method {function.__name__}"
        case Range():
            return "a range"
        case Iteration():
            return "an iteration over tensors"
        case Partial():
            return "a partial function"
        case Rows():
            return "a list whose length depends on the arguments"
        case _:
            return "an unbound variable"


def _describe_tensor(rank: int, elem: Type) -> str:
    return f"a tensor of rank {rank} of {elem}"

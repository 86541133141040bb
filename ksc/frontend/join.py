"""Where two paths meet: the least value that stands for the values of both.

A *template* is a value whose run-time leaves are Abstract. ``unify`` finds it, ``atoms_for`` brings each side to it,
``rebuild`` makes the value that is seen afterwards.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass

from ksc.frontend.frame import Frame
from ksc.frontend.placeholders import dummy
from ksc.frontend.values import (
    DEAD,
    NONE,
    Abstract,
    Array,
    BoundMethod,
    Cell,
    Closure,
    Dead,
    Dynamic,
    Poison,
    Range,
    Ref,
    Rows,
    Sizes,
    Static,
    Struct,
    Value,
    describe,
    is_weak,
    known_sizes,
    leaves,
    map_leaves,
    narrow_dtype,
    runtime_value,
    same_object,
    scalar_type,
    tensor_type,
)
from ksc.ir.nodes import PLACEHOLDER, Atom, Const, Span, Var, default_value
from ksc.ir.types import Float, Integer, TensorType, Type


def generalise(value: Value) -> Value:
    """The template of a value that may become any other of its type: numbers lose their value."""

    def leaf(part: Value, name: str) -> Value:
        type_ = scalar_type(part)
        return part if type_ is None else Abstract(type_, is_weak(part))

    return map_leaves(leaf, template_of(value), "")


def generalise_kept(value: Value) -> Value:
    """``generalise`` where storages stay what they are: their content is none of the value's."""
    if isinstance(value, Ref | Array) or (isinstance(value, Struct) and value.cell is not None):
        return value
    if isinstance(value, Struct):
        return value.changed(tuple(map(generalise_kept, value.items)))
    return generalise(value)


def template_of(value: Value) -> Value:
    """The template of a value where no storage is shared: what is known at run time only loses its atom."""
    if isinstance(value, Struct):
        return value.with_items(tuple(map(template_of, value.items)))

    match value:
        case Dynamic():
            return Abstract(value.type, value.weak)
        case Array() | Ref():
            type_ = tensor_type(value.elem, value.sizes)
            return Abstract(type_, tensor=not value.sizes)
        case Abstract() if value.is_tensor:
            return Abstract(value.type, tensor=value.tensor)
        case _:
            return value


class Meeting:
    """Where two paths meet: what there was before they parted, and is still the same on both of them.

    Args:
        cells: the storages that there were.
        inner: variables of the IR that are bound on one path only.
        made: the storages that earlier meetings at the same place have made; this one adds its own.
    """

    def __init__(self, cells: Collection[Cell], inner: Iterable[Var], made: set[Cell] | None = None) -> None:
        self.cells = cells
        self.inner = frozenset(inner)
        self.made = set() if made is None else made
        self._joined: dict[object, Cell] = {}
        self._sources: dict[Cell, tuple[Cell | None, ...]] = {}

    def has(self, atom: Atom | None) -> bool:
        """Whether a variable of the IR is bound for all paths."""
        return not isinstance(atom, Var) or atom not in self.inner

    def sees(self, value: Value) -> bool:
        """Whether a tensor or list is one that there was before."""
        match value:
            case Ref(cell=cell, sizes=sizes):
                return cell in self.cells and all(map(self.has, (*sizes, *atoms_of(value.steps))))
            case Array(atom=atom, sizes=sizes):
                return all(map(self.has, (atom, *sizes)))
            case Struct(cell=cell):
                return cell is not None and cell in self.cells
            case _:
                return False

    def joined(self, first: Value | None, second: Value | None) -> Cell:
        """A cell that stands for one or the other of these, depending on the path; None where it is not read."""
        sources = tuple(map(_cell_of, (first, second)))
        key = tuple(map(_identity, (first, second)))
        cell = self._joined.get(key)
        if cell is None:
            # What stands for two things that have been the same so far, and are not any more, keeps its cell for one.
            known = sources[0] if sources[0] in self.made and sources[0] not in self._sources else None
            cell = self._joined[key] = known or Cell()
        self.made.add(cell)
        self._sources[cell] = sources
        for value, other in zip((first, second), sources, strict=True):
            if other is None:
                continue
            cell.mixed = cell.mixed or other.mixed
            cell.listed = cell.listed or (other.listed and isinstance(value, Struct))
            if other.captured:
                cell.owner, cell.captured = other.owner, True
            if cell.name == PLACEHOLDER:
                cell.name = other.name
        return cell

    def settle(self) -> bool:
        """Note what the cells that were made may be, once all of them are there; whether that is new.

        Two may be one where that holds on one of the paths.
        """
        found = []
        for cell, sources in self._sources.items():
            for other, theirs in self._sources.items():
                meets = any(
                    a is not None and b is not None and a.shares(b) for a, b in zip(sources, theirs, strict=True)
                )
                if meets and other is not cell:
                    found.append((cell, other))
            around = {other for source in filter(None, sources) for other in (source, *source.others)}
            found += [(cell, other) for other in around if other in self.cells and other not in self._sources]
        return any([one.may_be(other) for one, other in found])

    def outward(self, value: Value, path: int) -> Value:
        """The template of what only one path gives, the first (0) or second."""
        match value:
            case Struct() if value.cls in (list, dict) and value.cell is not None:
                if self.sees(value):
                    return value
                items = tuple(self.outward(item, path) for item in value.items)
                return Struct(value.cls, items, value.keys, self._alone(value, path))
            case Struct():
                return value.changed(tuple(self.outward(item, path) for item in value.items))
            case Ref() | Array():
                if self.sees(value):
                    return value
                cell = self._alone(value, path)
                sizes = tuple(size if self.has(size) else None for size in value.sizes)
                cell.sizes, cell.elem = sizes, value.elem
                return Abstract(tensor_type(value.elem, sizes), tensor=not sizes, sizes=sizes, cell=cell)
            case Rows() if not all(map(self.sees, value.parts)):
                reason = "a list whose length depends on the arguments is made on one path, or in a loop"
                return Poison("KS201", reason, "make a tensor of it there, as with torch.stack()")
            case Abstract() if value.is_tensor:
                return value
            case _:
                return template_of(value)

    def _alone(self, value: Value, path: int) -> Cell:
        return self.joined(None, value) if path else self.joined(value, None)


def _cell_of(value: Value | None) -> Cell | None:
    return value.cell if isinstance(value, Abstract | Struct | Ref) else None


def _identity(value: Value | None) -> object:
    """What two names of the same storage, looked at in the same way, have in common."""
    cell = _cell_of(value)
    if cell is None:
        return value
    return cell, value.steps if isinstance(value, Ref) else ()


def atoms_of(steps: object) -> Iterator[Atom]:
    """The atoms that the steps of a view are made of."""
    if isinstance(steps, Var | Const):
        yield steps
    elif isinstance(steps, tuple):
        for part in steps:
            yield from atoms_of(part)
    elif is_dataclass(steps):
        for field in fields(steps):
            yield from atoms_of(getattr(steps, field.name))


def unify(a: Value, b: Value, conflict: Poison, meeting: Meeting) -> Value:
    """The template that both values fit; ``conflict`` stands where they have nothing in common."""
    if isinstance(a, Dead):
        return meeting.outward(b, 1)
    if isinstance(b, Dead):
        return meeting.outward(a, 0)
    if isinstance(a, Poison):
        return a
    if isinstance(b, Poison):
        return b
    if isinstance(a, Struct) and isinstance(b, Struct):
        if a.cell is not None and a.cell is b.cell and meeting.sees(a):
            return a
        if a.cls is not b.cls or len(a.items) != len(b.items) or a.keys != b.keys:
            return conflict
        items = tuple(unify(x, y, conflict, meeting) for x, y in zip(a.items, b.items, strict=True))
        if a.cls in (list, dict) and (a.cell is not None or b.cell is not None):
            return Struct(a.cls, items, a.keys, meeting.joined(a, b))
        return a.with_items(items)
    if _is_tensor(a) or _is_tensor(b):
        return _unify_tensors(a, b, conflict, meeting)
    if _same(a, b):
        return a
    type_ = common_type(a, b)
    if type_ is None:
        return conflict
    return Abstract(type_, type_ == Integer and is_weak(a) and is_weak(b))


def _is_tensor(value: Value) -> bool:
    return isinstance(value, Ref | Array) or (isinstance(value, Abstract) and value.is_tensor)


def _unify_tensors(a: Value, b: Value, conflict: Poison, meeting: Meeting) -> Value:
    if _same(a, b) and meeting.sees(a):
        return a
    first, second = _shape(a), _shape(b)
    if first is None or second is None or len(first[1]) != len(second[1]):
        return conflict
    elem: Type | None = first[0] if first[0] == second[0] else None
    for (mine, _), other in ((first, b), (second, a)):
        if mine == Float and not _is_tensor(other) and is_weak(other):
            elem = Float
    if elem is None:
        return conflict
    sizes = tuple(x if x == y and meeting.has(x) else None for x, y in zip(first[1], second[1], strict=True))
    cell = meeting.joined(a, b)
    cell.sizes, cell.elem = sizes, elem
    cell.mixed = cell.mixed or not (_is_tensor(a) and _is_tensor(b))
    return Abstract(tensor_type(elem, sizes), tensor=not sizes, sizes=sizes, cell=cell)


def _shape(value: Value) -> tuple[Type, Sizes] | None:
    """Type of the elements and sizes of a tensor or number."""
    match value:
        case Ref() | Array():
            return value.elem, value.sizes
        case Abstract(type=TensorType(elem=elem), sizes=sizes):
            return elem, sizes or known_sizes(value.type)
        case _:
            type_ = value.type if isinstance(value, Abstract) else scalar_type(value)
            return None if type_ is None else (type_, ())


def unify_contents(cell: Cell, a: Value, b: Value, conflict: Poison, meeting: Meeting) -> Value:
    """The template of what a storage holds after either path."""
    if isinstance(a, Struct) and isinstance(b, Struct):
        if len(a.items) != len(b.items) or a.keys != b.keys:
            return conflict
        items = tuple(unify(x, y, conflict, meeting) for x, y in zip(a.items, b.items, strict=True))
        return Struct(a.cls, items, a.keys, cell)
    for side in (a, b):
        if isinstance(side, Poison):
            return side
    if isinstance(a, Rows) or isinstance(b, Rows):
        return conflict
    if isinstance(a, Struct | Dead) and isinstance(b, Struct | Dead):
        given, path = (a, 0) if isinstance(a, Struct) else (b, 1)
        assert isinstance(given, Struct)
        return Struct(given.cls, tuple(meeting.outward(item, path) for item in given.items), given.keys, cell)
    if _same(a, b) and meeting.sees(a):
        return a
    return Abstract(tensor_type(cell.elem, cell.sizes), tensor=not cell.sizes, sizes=cell.sizes)


def common_type(a: Value, b: Value) -> Type | None:
    """The type that two scalars share: their own, or Float where the other is an int constant."""
    ta, tb = scalar_type(a), scalar_type(b)
    if ta is None or tb is None:
        return None
    if ta == tb:
        return ta
    if (ta == Float and is_weak(b)) or (tb == Float and is_weak(a)):
        return Float
    return None


def _same(a: Value, b: Value) -> bool:
    if a is b:
        return True
    match a, b:
        case Static(x), Static(y):
            return same_object(x, y)
        case Dynamic(), Dynamic():
            return a.atom == b.atom
        case Abstract(), Abstract():
            return a == b
        case Closure(), Closure():
            return a.node is b.node and a.frame is b.frame
        case BoundMethod(), BoundMethod():
            return a.function is b.function and _same_parts(a.owner, b.owner)
        case Ref(), Ref():
            return a.cell is b.cell and a.steps == b.steps and a.sizes == b.sizes
        case Array(), Array():
            return a.atom == b.atom
        case Range(), Range():
            return all(_same(x, y) for x, y in ((a.start, b.start), (a.stop, b.stop), (a.step, b.step)))
        case _:
            return False


def _same_parts(a: Value, b: Value) -> bool:
    if isinstance(a, Struct) and isinstance(b, Struct):
        same = a.cls is b.cls and a.keys == b.keys and len(a.items) == len(b.items)
        return same and all(_same_parts(x, y) for x, y in zip(a.items, b.items, strict=True))
    return _same(a, b)


def same_template(a: Value, b: Value) -> bool:
    """Whether two templates are equal; one error is as good as another."""
    if isinstance(a, Poison) and isinstance(b, Poison):
        return True
    if isinstance(a, Struct) and isinstance(b, Struct):
        if a.cell is not b.cell:
            return False
        same = a.cls is b.cls and a.keys == b.keys and len(a.items) == len(b.items)
        return same and all(same_template(x, y) for x, y in zip(a.items, b.items, strict=True))
    return _same(a, b)


def abstract_leaves(template: Value) -> list[Abstract]:
    """The run-time leaves of a template."""
    return [leaf for leaf in leaves(template) if isinstance(leaf, Abstract)]


def atoms_for(frame: Frame, template: Value, value: Value, node: ast.AST) -> Iterator[Atom]:
    """The atoms that ``value`` has for the run-time leaves of ``template``, converted in the current block."""
    wanted = abstract_leaves(template)
    for leaf, atom in zip(wanted, atoms_given(frame, template, value, node), strict=True):
        yield dummy(frame, leaf.type, node, leaf.sizes) if atom is None else atom


def atoms_given(frame: Frame, template: Value, value: Value, node: ast.AST) -> Iterator[Atom | None]:
    """``atoms_for``, but None for a tensor that ``value`` has not."""
    if isinstance(template, Struct):
        items = value.items if isinstance(value, Struct) else (DEAD,) * len(template.items)
        for part, item in zip(template.items, items, strict=True):
            yield from atoms_given(frame, part, item, node)
    elif isinstance(template, Abstract):
        if isinstance(value, Dead | Poison):
            yield default_value(template.type)
        elif isinstance(template.type, TensorType):
            yield _tensor_atom(frame, value, node)
        elif template.tensor or isinstance(value, Ref | Array):
            yield frame.cast(_tensor_atom(frame, value, node), template.type, node)
        else:
            yield frame.cast(frame.atom(value, node), template.type, node)


def _tensor_atom(frame: Frame, value: Value, node: ast.AST) -> Atom:
    """The atom of a tensor or number as it is now, whose sizes nobody asks for."""
    narrow = narrow_dtype(value)
    if narrow is not None:
        from ksc.frontend.tensors.narrow import refuse_narrow

        refuse_narrow(frame, narrow, node)
    if isinstance(value, Ref) and not value.steps:
        return frame.content(value, node).atom
    return value.atom if isinstance(value, Array) else frame.array(value, node).atom


def rebuild(template: Value, atoms: Iterator[Atom]) -> Value:
    """The template with the next of ``atoms`` in place of each run-time leaf; tensors have no storage yet."""
    if isinstance(template, Struct):
        return template.changed(tuple(rebuild(item, atoms) for item in template.items))
    if isinstance(template, Abstract):
        return runtime_value(template, next(atoms))
    return template


def adopt(frame: Frame, template: Value, value: Value) -> Value:
    """A value made for a template, each tensor and list in it in its storage."""
    if isinstance(template, Struct) and isinstance(value, Struct):
        if value.cell is not None and value.cell in frame.region.store:
            return value
        pairs = zip(template.items, value.items, strict=True)
        made = value.changed(tuple(adopt(frame, part, item) for part, item in pairs))
        if made.cell is not None:
            frame.region.store[made.cell] = made
        return made
    if isinstance(template, Abstract) and isinstance(value, Array):
        if template.cell is None:
            return frame.fresh(value, frame.node)
        frame.region.store[template.cell] = value
        return Ref(template.cell, value.sizes)
    return value


def adopt_contents(frame: Frame, cell: Cell, template: Value, value: Value) -> None:
    """Let a storage hold what was made for the template of its content."""
    if isinstance(template, Struct) and isinstance(value, Struct):
        pairs = zip(template.items, value.items, strict=True)
        value = value.changed(tuple(adopt(frame, part, item) for part, item in pairs))
    frame.region.store[cell] = value


def readable(value: Value, store: Mapping[Cell, Value]) -> Value:
    """The value with each list in it as it is now, and an error in place of what cannot be read any more."""
    held = store.get(value.cell) if isinstance(value, Ref | Struct) and value.cell is not None else None
    if isinstance(held, Poison | Rows):
        return held
    if isinstance(held, Struct):
        value = held
    if not isinstance(value, Struct):
        return value
    items = tuple(readable(item, store) for item in value.items)
    same = all(new is old for new, old in zip(items, value.items, strict=True))
    return value if same else value.changed(items)


def branch_conflict(name: str, a: Value, b: Value, spans: tuple[Span | None, Span | None]) -> Poison:
    """The error of a variable that has nothing in common on the two sides of an ``if``."""
    places = [f" (line {span.line})" if span else "" for span in spans]
    what = f"{name!r}" if name.isidentifier() else name
    reason = f"{what} is {describe(a)}{places[0]} on one path and {describe(b)}{places[1]} on the other"
    instead = "give it the same type on both paths"
    if scalar_type(a) is not None and scalar_type(b) is not None:
        instead += ", for example with float()"
    elif NONE in (a, b):
        instead = "give it a value on both paths"
    elif not isinstance(a, Struct) and not isinstance(b, Struct):
        instead = "choose between values, not between functions or texts"
    return Poison("KS201", reason, instead)


def unbound(name: str, span: Span | None) -> Poison:
    """The error of a variable that only one path binds."""
    place = f"; only the path through line {span.line} binds it" if span else ""
    return Poison("KS112", f"{name!r} may be unbound here{place}", f"bind {name!r} on every path")

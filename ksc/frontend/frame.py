"""The state of a trace: the IR function under construction, and one frame per activation of a Python function."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import CellType, FunctionType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from ksc.frontend.guards import MISSING
from ksc.frontend.refuse import refuse
from ksc.frontend.scope import EMPTY, Names, captured_names, local_names
from ksc.frontend.source import FunctionNode, Source
from ksc.frontend.values import (
    Array,
    Binding,
    Cell,
    Dynamic,
    Poison,
    Ref,
    Rows,
    Static,
    Struct,
    Value,
    as_constant,
    describe,
    leaves,
    scalar_type,
)
from ksc.ir.builder import Builder
from ksc.ir.nodes import NO_PARAMS, PLACEHOLDER, Atom, Block, Const, Span, Var
from ksc.ir.types import BoolType, Float, FloatType, Integer, IntegerType, Type

if TYPE_CHECKING:
    from ksc.frontend.functions import Entry, FunctionTable
    from ksc.frontend.guards import GuardSet
    from ksc.frontend.tensors.bounds import IndexCheck, PickCheck

T = TypeVar("T")
"""The name of a variable that the user has not named."""


class Region:
    """One IR function under construction.

    Attributes:
        builder: collects the innermost open block.
        store: what each cell holds now: an Array, a list as a Struct, or a Poison where that is not known.
        known: results that hold in the innermost block, by operation and operands: sizes that were read, sums of
            integers, pairs of sizes that were found to agree.
        lower: the least value that an Integer can have, where something is known of it.
        below: Integers that an Integer is known to be less than.
        less: an Integer and what was taken from it to get this one.
        factors: the two factors of an Integer that is a product.
        quotients: dividend and divisor of an Integer that is a quotient.
        checks: the checks of indices by their conditions, see ``ksc.frontend.tensors.bounds``.
        single: the sizes that are 0 or 1.
        measured: for a size that was read, the name it goes by until the user gives one, and how messages call it.
        entry: the function that is traced.
        captures: what a function of its own reads of the local variables around it, by scope and name, where it takes
            these as parameters; None where it must not read any.
    """

    def __init__(self, entry: Entry | None = None, *, captures: dict[tuple[Frame, str], Capture] | None = None) -> None:
        self.builder = Builder()
        self.store: dict[Cell, Value] = {}
        self.known: dict[object, Atom] = {}
        self.lower: dict[Var, int] = {}
        self.below: dict[Var, frozenset[Atom]] = {}
        self.less: dict[Var, tuple[Atom, int]] = {}
        self.factors: dict[Var, tuple[Atom, Atom]] = {}
        self.quotients: dict[Var, tuple[Atom, Atom]] = {}
        self.checks: dict[Var, IndexCheck | PickCheck] = {}
        self.single: set[Var] = set()
        self.measured: dict[Var, tuple[str, str]] = {}
        self.entry = entry
        self.captures = captures


@dataclass(slots=True, eq=False)
class Capture:
    """A variable of another function of the IR that has become a parameter: what stands for it, and ``contents``, what
    its storages hold, which never changes."""

    template: Value
    value: Value
    params: list[Var]
    contents: dict[Cell, Value]


@dataclass(slots=True, eq=False)
class Traced:
    """A block traced on the side: its equations, the variables and the storages after it, and what its code gave."""

    builder: Builder
    env: dict[str, Binding]
    store: dict[Cell, Value]
    outcome: Any


class Frame:
    """One activation of a Python function: what its names are bound to, and where its equations go.

    ``parent`` is the lexically enclosing frame, ``function`` the function whose cells and globals are seen (None in
    a nested frame, which asks its parent).
    """

    def __init__(
        self,
        *,
        functions: FunctionTable,
        guards: GuardSet,
        region: Region,
        source: Source,
        node: FunctionNode | ast.expr,
        function: FunctionType | None = None,
        parent: Frame | None = None,
        locals_: Names | None = None,
    ) -> None:
        self.functions = functions
        self.guards = guards
        self.region = region
        self.source = source
        self.node = node
        self.function = function
        self.parent = parent
        self.env: dict[str, Binding] = {}
        self.returned_at: Span | None = None
        if locals_ is not None:
            self.locals = locals_
            self.captured = EMPTY
        else:
            assert isinstance(node, ast.FunctionDef | ast.Lambda)
            self.locals = local_names(node)
            self.captured = captured_names(node.body if isinstance(node, ast.FunctionDef) else [node.body])

    @property
    def is_ours(self) -> bool:
        """Whether the code belongs to this package, to which torch is what it was at first."""
        if self.function is None:
            return self.parent is not None and self.parent.is_ours
        return str(self.function.__globals__.get("__name__")).startswith("ksc.")

    # Places and refusals.

    def span(self, node: ast.AST) -> Span:
        """The place of ``node`` in the user's source."""
        return self.source.span(node)

    def refuse(self, node: ast.AST, reason: str, instead: str | None = None, *, code: str = "KS100") -> NoReturn:
        """Turn the program down because of ``node``."""
        head = isinstance(node, ast.stmt)
        refuse(self.source.span(node, head=head), reason, instead, code=code)

    # Equations.

    @property
    def builder(self) -> Builder:
        """Where equations go now."""
        return self.region.builder

    def emit(
        self,
        node: ast.AST,
        op: str,
        args: Sequence[Atom],
        types: Sequence[Type],
        *,
        names: Sequence[str] = (),
        params: Mapping[str, Any] = NO_PARAMS,
        blocks: Sequence[Block] = (),
    ) -> tuple[Var, ...]:
        """Append an equation that stems from ``node``."""
        return self.builder.emit(op, args, types, names=names, params=params, blocks=blocks, span=self.span(node))

    def apply(self, node: ast.AST, op: str, *args: Atom, name: str = PLACEHOLDER) -> Atom:
        """Append a scalar primitive that stems from ``node``."""
        from ksc.frontend.tensors.integers import note_lower

        self.builder.span = self.span(node)
        out = self.builder.apply(op, *args, name=name)
        note_lower(self, op, args, out)
        return out

    @contextmanager
    def block(self) -> Iterator[Builder]:
        """Collect equations in a new block."""
        region = self.region
        outer = region.builder, region.known
        region.builder, region.known = Builder(), dict(region.known)
        try:
            yield region.builder
        finally:
            region.builder, region.known = outer

    def aside(self, code: Callable[[], T], env: dict[str, Binding] | None = None) -> Traced:
        """Run ``code`` in a new block with a copy of the variables (or of ``env``), leaving this frame as it was."""
        region = self.region
        saved = self.env, region.store
        self.env, region.store = dict(self.env if env is None else env), dict(region.store)
        try:
            with self.block() as inner:
                outcome = code()
            return Traced(inner, self.env, region.store, outcome)
        finally:
            self.env, region.store = saved

    @contextmanager
    def ending(self, builder: Builder, store: dict[Cell, Value]) -> Iterator[None]:
        """Go on in a block that was traced on the side, without a trace of it afterwards but in its equations."""
        saved = self.region.store
        self.region.store = dict(store)
        try:
            with self.block() as again:
                again.eqns = builder.eqns
                yield
        finally:
            self.region.store = saved

    @contextmanager
    def attempt(self, *errors: type[Exception]) -> Iterator[None]:
        """Take back what was traced, in this frame and its region, where one of ``errors`` is raised."""
        region, builder = self.region, self.builder
        count, saved = len(builder.eqns), (dict(self.env), dict(region.store), dict(region.known))
        try:
            yield
        except errors:
            del builder.eqns[count:]
            self.env, region.store, region.known = saved
            raise

    # Names.

    def bind(self, name: str, value: Value, node: ast.AST) -> None:
        """Bind a variable; a nameless equation before it takes its name."""
        from ksc.frontend.lists import kept

        value = kept(self, value)
        if isinstance(value, Dynamic | Array):
            self._call(value.atom, name)
        elif isinstance(value, Ref) and not value.steps:
            if value.cell.name == PLACEHOLDER:
                value.cell.name = name
            content = self.region.store.get(value.cell)
            if isinstance(content, Array):
                self._call(content.atom, name)
        elif isinstance(value, Struct) and value.cell is not None and value.cell.name == PLACEHOLDER:
            value.cell.name = name
        self.env[name] = Binding(value, self.span(node))

    def _call(self, atom: Atom, name: str) -> None:
        if isinstance(atom, Var) and atom.name == self.region.measured.get(atom, (PLACEHOLDER,))[0]:
            atom.name = name

    def lookup(self, name: str, node: ast.AST) -> Value:
        """The value of a variable, found as Python finds it.

        Raises UnsupportedError for one that is not or may not be bound, and for captured objects that can change.
        """
        scope: Frame = self
        while True:
            if name in scope.locals:
                return self.local(scope, name, node)
            if scope.parent is None:
                return self._outside(scope, name, node)
            scope = scope.parent

    def local(self, scope: Frame, name: str, node: ast.AST) -> Value:
        """The value of a variable of ``scope``, this frame or one around it."""
        binding = scope.env.get(name)
        if binding is None:
            self.refuse(node, f"{name!r} is read before it is bound", "bind it first", code="KS112")
        from ksc.frontend.lists import current

        value = current(scope, binding.value, node)
        for leaf in leaves(value):
            if isinstance(leaf, Poison):
                self.refuse(node, leaf.reason, leaf.instead, code=leaf.code)
            for part in leaf.parts if isinstance(leaf, Rows) else (leaf,):
                if isinstance(part, Ref) and isinstance(held := scope.region.store.get(part.cell), Poison):
                    self.refuse(node, held.reason, held.instead, code=held.code)
        if scope.region is self.region:
            return value
        from ksc.frontend.lifting import captured

        return captured(self, scope, name, value, node)

    def _outside(self, scope: Frame, name: str, node: ast.AST) -> Value:
        from ksc.frontend.storage import from_outside

        function = scope.function
        assert function is not None
        cells: dict[str, CellType] = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
        if name in cells:
            self.guards.record(cells[name], name, _cell_contents(cells[name]))
            if _cell_contents(cells[name]) is MISSING:
                self.refuse(node, f"{name!r} is not bound yet", "bind it before the kernel is called", code="KS116")
            return from_outside(self, cells[name].cell_contents, name, node)
        found = function.__globals__.get(name, MISSING)
        self.guards.record(function.__globals__, name, found)
        if found is not MISSING:
            return from_outside(self, found, name, node)
        if hasattr(builtins, name):
            if not self.is_ours:
                self.guards.record(builtins, name, getattr(builtins, name))
            return Static(getattr(builtins, name))
        self.refuse(node, f"the name {name!r} is not defined", "define or import it", code="KS116")

    def child(self, node: ast.expr, locals_: Names) -> Frame:
        """A scope inside this one, as a comprehension has."""
        return Frame(
            functions=self.functions,
            guards=self.guards,
            region=self.region,
            source=self.source,
            node=node,
            parent=self,
            locals_=locals_,
        )

    # Values as atoms.

    def atom(self, value: Value, node: ast.AST) -> Atom:
        """The atom of a scalar value.

        Raises TypeMismatchError (KS200) for a value that is no scalar, KS203 for an int beyond 64 bits.
        """
        if isinstance(value, Dynamic):
            return value.atom
        constant = as_constant(value)
        if constant is not None:
            return constant
        if scalar_type(value) is not None:
            self.refuse(node, "an integer constant does not fit 64 bits", "write it as a float", code="KS203")
        self.refuse(node, f"a number is needed here, not {describe(value)}", "use a number", code="KS200")

    def array(self, value: Value, node: ast.AST) -> Array:
        """A tensor as it is at this moment, its sizes read; a number is one of rank 0.

        Raises TypeMismatchError (KS200) for a value that is neither.
        """
        from ksc.frontend.tensors.array import sizes_of
        from ksc.frontend.tensors.views import read

        if isinstance(value, Ref):
            return read(self, value, node)
        if isinstance(value, Array):
            return Array(value.atom, sizes_of(self, node, value))
        if scalar_type(value) is None:
            self.refuse(node, f"a tensor is needed here, not {describe(value)}", "use a tensor", code="KS200")
        return Array(self.atom(value, node), ())

    def content(self, ref: Ref, node: ast.AST) -> Array:
        """What the storage of a tensor holds now.

        Raises UnsupportedError (KS121) where that is not known, KS113 where it belongs to another function of the IR.
        """
        held = self.region.store.get(ref.cell)
        if isinstance(held, Poison):
            self.refuse(node, held.reason, held.instead, code=held.code)
        if not isinstance(held, Array):
            reason = "a recursive local function reads a tensor of the function around it"
            self.refuse(node, reason, "pass it as an argument", code="KS113")
        return held

    def fresh(self, array: Array, node: ast.AST) -> Value:
        """The value of a tensor that was just computed, and shares its storage with no other."""
        cell = Cell(array.sizes, array.elem)
        self.region.store[cell] = array
        return Ref(cell, array.sizes)

    def cast(self, atom: Atom, to: Type, node: ast.AST) -> Atom:
        """``atom`` as a wider type: Bool to Integer to Float."""
        match atom, atom.type, to:
            case _, have, want if have == want:
                return atom
            case Const(value=value), BoolType() | IntegerType(), FloatType():
                return Const(float(value), Float)
            case Const(value=value), BoolType(), IntegerType():
                return Const(int(value), Integer)
            case _, IntegerType(), FloatType():
                return self.apply(node, "to_float", atom)
            case _, BoolType(), FloatType():
                return self.apply(node, "bool_to_float", atom)
            case _, BoolType(), IntegerType():
                return self.apply(node, "bool_to_int", atom)
            case _:
                self.refuse(node, f"{atom.type} cannot become {to}", "convert it explicitly", code="KS200")

    def require_static(self, value: Value, node: ast.AST, what: str, instead: str) -> Any:
        """The Python object of a value known at compile time; raises UnsupportedError (KS111) otherwise."""
        if not isinstance(value, Static):
            self.refuse(node, f"{what} must be known at compile time, but is {describe(value)}", instead, code="KS111")
        return value.value


def _cell_contents(cell: CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:
        return MISSING

"""From the IR of one function to the statements of its body.

Equations are folded back into the expressions that the user wrote: a value that is read once and has no name of its own
stands where it is read. What is left are named constants, loops, branches and effects, in the order of the program.
"""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace

from ksc.codegen.cpp.analysis import Analysis, holes, known_comparison
from ksc.codegen.cpp.expr import NO_READS, Expr, name_expr, origins
from ksc.codegen.cpp.literals import literal, string_literal
from ksc.codegen.cpp.names import Scope, is_derived, is_temporary
from ksc.codegen.cpp.ranges import InRange
from ksc.codegen.cpp.storage_plan import Storage
from ksc.codegen.cpp.sums import Addition, additions, is_begun
from ksc.codegen.cpp.tables import Table
from ksc.codegen.cpp.types import cpp_type, declaration
from ksc.codegen.cpp.updates import puts_of
from ksc.codegen.cpp.writer import Writer, line_of
from ksc.codegen.target import CPU, Target
from ksc.codegen.walk import Walk
from ksc.errors import InvalidIRError
from ksc.ir.nodes import Atom, Block, Const, Eqn, Span, Var, const
from ksc.ir.types import IntegerType, TensorType
from ksc.ops import PRIMITIVES, primitive
from ksc.ops.cpp import UNARY, CppExpr, CppForm, call
from ksc.ops.record import Overload
from ksc.passes.fuse.facts import Facts

FOLD_WIDTH = 64
"""A value that takes more text than this gets a variable of its own."""

_OF_PACKS = {
    "select": call("ks::select", 3),
    "to_float": call("ks::to_number", 1),
    "bool_to_float": call("ks::to_number", 1),
    "bool_to_int": call("ks::to_integer", 1),
}
"""What is written otherwise where the first operand differs between iterations that run side by side."""
_EXP_MINUS = call("ks::exp_minus", 1)
_SIGMOID_OF_MINUS = call("ks::sigmoid_of_minus", 1)
_MINUS_SIZE = "-ks::abs("

_CHEAP = re.compile(r"\w+(\.size\[\d+\])?")


@dataclass(frozen=True, slots=True)
class Context:
    """Where statements go, and the names in use there."""

    writer: Writer
    scope: Scope


@dataclass(frozen=True, slots=True)
class Finish:
    """What follows a block: ``write`` puts down a return, or assignments, given the block's results.

    ``returns`` says that control does not come past it. A ``single`` one is not put down in each side of an ``if``.
    """

    write: Callable[[Sequence[Atom], Context], None]
    returns: bool = False
    single: bool = False

    def inside(self, outer: Sequence[Atom], outs: Sequence[Var]) -> Finish:
        """The same for a block that gives ``outs``, of which, among others, the results ``outer`` are made."""

        def write(results: Sequence[Atom], at: Context) -> None:
            given = dict(zip(outs, results, strict=True))
            self.write([given.get(atom, atom) if isinstance(atom, Var) else atom for atom in outer], at)

        return Finish(write, self.returns)


@dataclass(frozen=True, slots=True)
class Callee:
    """What a caller has to know of a function.

    Two results or more, named ``results``, are members of a struct; the parameters ``written`` are changed in place;
    ``walk`` says what there is to know of it on a grid.
    """

    name: str
    needs_runtime: bool
    results: tuple[str, ...]
    written: frozenset[int] = frozenset()
    walk: Walk | None = None

    @property
    def fields(self) -> tuple[str, ...]:
        """The members of the struct, empty where there is none."""
        return self.results if len(self.results) > 1 else ()


class NotPackedError(Exception):
    """Iterations cannot run side by side after all."""


@dataclass(frozen=True, slots=True)
class Packing:
    """How iterations run side by side (``packs.py``).

    Attributes:
        index: the loop's.
        varying: what differs between iterations.
        own: what the body binds.
        rows: tensors that are read at the index, with the names of those that hold rows side by side.
        pack: the C++ type of numbers side by side.
        whole_rows: whether ``rows`` holds all that is read and written at the index, in packs.
        shared: whether iterations add to tensors that they share.
        totals: numbers that they add to, with the names of those that hold what a pack of them adds.
        sums: whether they carry sums on.
        leaves: whether they may yet have to run one after the other.
        records: the structs of records that hold packs, with their members.
        count: the C++ variable for the number of iterations side by side.
        loop: the equation whose iterations they are, where these have rows.
    """

    index: Var
    varying: frozenset[Var]
    own: frozenset[Var]
    rows: dict[Var, str]
    pack: str
    whole_rows: bool = False
    shared: bool = False
    totals: dict[Var, str] = field(default_factory=dict)
    sums: bool = False
    leaves: bool = False
    records: Mapping[str, Sequence[str]] = field(default_factory=dict)
    count: str = ""
    loop: Eqn | None = None


Handler = Callable[["Printer", Eqn, Context], None]
LastHandler = Callable[["Printer", Eqn, Context, Sequence[Atom], Finish], bool]
"""Prints the last equation of a block together with what follows; gives False where it leaves that to others."""


class Printer:
    """Prints one function; ``handlers`` gives the printer of each op that is no scalar primitive.

    ``places`` says of results of equations, by ``id`` and number, where they are made if not in scratch memory: as the
    result of the entry with that number, or in what a text denotes; ``puts``, of which an update could be the place.
    ``combining`` says so of those whose elements are
    combined with the ones of a tensor: its name and the monoid. ``additions`` are those that loops of sums may begin
    with, ``tables`` tensors of constants. ``outermost`` holds the ids of the loops that may
    be divided among threads. After ``block`` has run, ``needs_runtime`` says whether the text mentions ``rt``, and
    ``copies`` how often it copies a tensor so that it can be changed. In a loop whose iterations run side by side
    (``lanes.py``), ``across_lanes`` holds; ``branch_free``, where cheap choices are no branches,
    other than by what is ``settled`` before a loop. ``sizes`` has the
    variables for sizes of tensors, ``flat`` the index of nests that are one loop, ``held`` those for elements that a
    loop adds to. ``given_at`` is where the user gives
    the results that a ``Finish`` puts down. On a grid ``walk`` knows who runs what is printed. ``packing`` is set for a
    copy of a body whose iterations run side by side (``packs.py``); ``going_on`` is then the mask of those that run
    what is printed, or None where all do.
    """

    def __init__(
        self,
        analysis: Analysis,
        storage: Storage,
        float_type: str,
        callees: Mapping[str, Callee],
        handlers: Mapping[str, Handler],
        last_handlers: Mapping[str, LastHandler],
        sizes: Facts,
        outermost: frozenset[int] = frozenset(),
        target: Target = CPU,
        *,
        together: bool = False,
    ) -> None:
        self.target = target
        self.walk = Walk(together) if target.is_grid else None
        self.analysis = analysis
        self.outermost = outermost
        self.storage = storage
        self.copies = 0
        self.places: dict[tuple[int, int], int | Callable[[Sequence[str]], str]] = {}
        self.puts: dict[tuple[int, int], Eqn] = {}
        self.combining: dict[tuple[int, int], tuple[str, str]] = {}
        self.additions: dict[Var, Addition] = {}
        self.tables: Mapping[Var, Table] = {}
        self._starts: set[Atom] = set()
        self.float_type = float_type
        self.callees = callees
        self.needs_runtime = False
        self.across_lanes = False
        self.branch_free = False
        self.settled: Var | None = None
        self.packing: Packing | None = None
        self.records: dict[str, Sequence[str]] = {}
        self.going_on: str | None = None
        self.flat: dict[tuple[Var, ...], str] = {}
        self.held: dict[tuple[Atom, ...], str] = {}
        self.sizes: ChainMap[tuple[Atom, int], str] = ChainMap()
        self.in_range = InRange(sizes)
        self._handlers = handlers
        self._last = last_handlers
        self._values: dict[Var, Expr] = {}
        self.given_at: Span | None = None
        self._before_effects: set[int] = set()
        self._assignable: set[Var] = set()

    # Values.

    def value(self, atom: Atom) -> Expr:
        """The expression for an atom."""
        if isinstance(atom, Const):
            return Expr(literal(atom, self.float_type))
        return self._values[atom]

    def bind(self, var: Var, expr: Expr) -> None:
        """Let ``var`` stand for an expression."""
        self._values[var] = expr

    def type_of(self, atom: Atom) -> str:
        """The C++ type of an atom."""
        return cpp_type(atom.type, self.width(atom))

    def varies(self, atom: Atom) -> bool:
        """Whether iterations that run side by side have different values of an atom."""
        return self.packing is not None and isinstance(atom, Var) and atom in self.packing.varying

    def width(self, atom: Atom) -> str:
        """The C++ type of an atom's Floats."""
        return self.packing.pack if self.packing is not None and self.varies(atom) else self.float_type

    def declare(self, var: Var, at: Context, *, mutable: bool = False, name: str | None = None) -> str:
        """A new C++ variable for ``var``; its name, which begins as ``name`` or as the variable's own."""
        chosen = at.scope.declare(name or self.storage.name(var))
        self.bind(var, name_expr(chosen, mutable=mutable))
        return chosen

    def parameter(self, var: Var, scope: Scope) -> str:
        """The name of a parameter of the function, which a loop may go on to change if nothing else reads it."""
        name = scope.declare(var.name)
        self.bind_variable(var, name)
        return name

    def bind_variable(self, var: Var, name: str) -> None:
        """Let ``var`` be the final value of a C++ variable that is not const."""
        self.bind(var, name_expr(name))
        self._assignable.add(var)

    def take_over(self, var: Var, init: Atom) -> str | None:
        """Let a loop's carry be the C++ variable that it starts from, where nothing else reads that; its name."""
        if not isinstance(init, Var) or init not in self._assignable:
            return None
        if self.analysis.single_use(init) is None or self.varies(init) != self.varies(var):
            return None
        name = self.value(init).text
        self.bind(var, name_expr(name, mutable=True))
        return name

    def named(self, var: Var, at: Context) -> str:
        """The C++ variable that holds a tensor, declared now where it was only an expression so far."""
        value = self.value(var)
        if value.text.isidentifier():
            return value.text
        name = self.declare(var, at)
        at.writer.statement(f"{declaration(var.type, name, self.width(var))} = {value.text};", value.span, value.folded)
        return name

    def copied(self, eqn: Eqn, k: int, at: Context) -> str | None:
        """A copy of an argument of the equation, where that must not be changed in place; a comment says why."""
        reason = self.storage.copied.get((id(eqn), k))
        if reason is None:
            return None
        atom = eqn.args[k]
        assert isinstance(atom, Var)
        held = eqn.blocks[-1].params[k] if eqn.blocks else eqn.outs[0]
        copy = self.copy_of(self.value(atom), reason, eqn, at, held if not self.varies(atom) else None)
        place = self.places.get((id(eqn), k - len(eqn.args) + eqn.params.get("carries", len(eqn.args))))
        return f"ks::result_copy(rt, {place}, {self.value(atom).text})" if isinstance(place, int) else copy

    def copy_of(self, value: Expr, reason: str, eqn: Eqn, at: Context, held: Var | None = None) -> str:
        """A copy of a tensor that an equation needs; a comment says why.

        Where the tensor is the same for iterations that run side by side, but not the variable that it is ``held`` in,
        the copy has the elements of each.
        """
        at.writer.comment(eqn.span)
        at.writer.line(f"// copies {value.text}: {reason}", eqn.span)
        self.copies += 1
        self.needs_runtime = True
        if held is not None and self.varies(held):
            return self.spread(value, held)
        return f"ks::copy(rt, {value.text})"

    def spread(self, value: Expr, held: Var) -> str:
        """A tensor that iterations share, for each of them that run side by side."""
        elem = getattr(held.type, "value", held.type)
        assert isinstance(elem, TensorType)
        self.needs_runtime = True
        return f"ks::spread<{cpp_type(elem.elem, self.width(held))}>(rt, {value.text})"

    def fitting(self, atom: Atom, held: Var) -> Expr:
        """The value of an atom where it becomes that of ``held``, or is put into it."""
        value = self.value(atom)
        if isinstance(atom.type, TensorType) and self.varies(held) and not self.varies(atom):
            return replace(value, cpp=CppExpr(self.spread(value, held)))
        return value

    def define(self, var: Var, expr: Expr, at: Context) -> None:
        """Make ``var`` a constant in the text, or fold its expression into the one place that reads it."""
        if not self.analysis.is_read(var):
            return
        if self._folds(var, expr):
            self.bind(var, expr)
            return
        name = self.declare(var, at)
        head = declaration(var.type, name, self.width(var))
        at.writer.statement(f"{head} = {expr.text};", expr.span, expr.folded)

    def _folds(self, var: Var, expr: Expr) -> bool:
        use = self.analysis.single_use(var)
        if use is None or len(expr.text) > FOLD_WIDTH:
            return False
        tensors = [read for read in expr.reads if isinstance(read, Var)]
        if not self.storage.unchanged(tensors, self.analysis.defined_at(var), use.place):
            return False
        return use.passed or var in self._starts or is_temporary(var.name) or is_derived(var.name)

    def apply(self, form: CppForm, args: Sequence[Expr], span: Span | None) -> Expr:
        """An expression from a form and its operands."""
        cpp = form.render([arg.cpp for arg in args], self.float_type)
        reads = NO_READS.union(*(arg.reads for arg in args))
        infix = None
        left, _, rest = form.template.partition(" ")
        symbol, _, right = rest.partition(" ")
        if left == "{0}" and right == "{1}":
            texts = [arg.cpp.within(need) for arg, need in zip(args, form.operands, strict=True)]
            infix = (symbol, texts[0], texts[1])
        return Expr(cpp, reads, infix, span, folded=origins(*args))

    # Statements.

    def repeated(self) -> AbstractContextManager[None]:
        """Entered while the body of a loop that is not divided is printed."""
        return self.walk.repeated() if self.walk is not None else nullcontext()

    def block(self, block: Block, finish: Finish, at: Context) -> None:
        """Print the live equations of a block, then what ``finish`` makes of its results."""
        facts, sizes = self.in_range.facts, self.sizes
        self.sizes = sizes.new_child()
        self._block(block, finish, at)
        self.in_range.facts, self.sizes = facts, sizes

    def _block(self, block: Block, finish: Finish, at: Context) -> None:
        eqns = [eqn for eqn in block.eqns if self.analysis.is_live(eqn)]
        for eqn in reversed(eqns):
            self._before_effects.discard(id(eqn))
            if eqn.op != "call" and (eqn.op not in PRIMITIVES or self.may_fail(eqn)):
                break
            self._before_effects.add(id(eqn))
        if self.walk is None:
            self.puts.update(puts_of(eqns, self.storage, self.analysis))
            begin = dict(additions(eqns, self.analysis, self.outermost))
            self.additions.update(begin)
            self._starts.update(addition.start for addition in begin.values())
        for eqn in eqns[:-1]:
            self.eqn(eqn, at)
        if eqns:
            last = self._last.get(eqns[-1].op)
            if last is not None and not finish.single and last(self, eqns[-1], at, block.results, finish):
                return
            self.eqn(eqns[-1], at)
        self.given_at = block.span
        finish.write(block.results, at)
        self.given_at = None

    def may_wait(self, eqn: Eqn) -> bool:
        """Whether nothing that could stop the kernel, save calls, comes later in the equation's block."""
        return id(eqn) in self._before_effects

    def eqn(self, eqn: Eqn, at: Context) -> None:
        """Print one equation."""
        handler = self._handlers.get(eqn.op)
        if handler is not None:
            handler(self, eqn, at)
        elif eqn.op in PRIMITIVES:
            self._primitive(eqn, at)
        else:
            raise InvalidIRError(f"the op {eqn.op} has no C++ form", span=eqn.span)

    def _primitive(self, eqn: Eqn, at: Context) -> None:
        record = primitive(eqn.op)
        self.in_range.defined(eqn)
        if eqn.op == "add" and is_begun(self, eqn):
            return
        known = known_comparison(eqn)
        if known is not None:
            self.define(eqn.outs[0], Expr(literal(const(known), self.float_type), NO_READS, None, eqn.span), at)
            return
        args = [self.value(atom) for atom in eqn.args]
        first = 1 if eqn.op == "select" else 0
        args[first] = with_width(args[first], eqn.args[first:])
        if record.failure is not None and self.may_fail(eqn):
            fails = self.apply(record.failure.cpp, args, eqn.span)
            self.fail_if(fails, record.failure.code, record.failure.message, eqn.span, at)
        form = overload(eqn).cpp
        if eqn.op in _OF_PACKS and self.varies(eqn.args[0]):
            form = _OF_PACKS[eqn.op]
        elif eqn.op == "exp" and args[0].cpp.precedence == UNARY and args[0].text.startswith("-"):
            # Its bounds cost less than those of the exponential of a negated number.
            form, args = _EXP_MINUS, [replace(args[0], cpp=CppExpr(unwrapped(args[0].text[1:])))]
        elif eqn.op == "sigmoid" and args[0].cpp.precedence == UNARY and args[0].text.startswith(_MINUS_SIZE):
            form, args = _SIGMOID_OF_MINUS, [replace(args[0], cpp=CppExpr(args[0].text[len(_MINUS_SIZE) : -1]))]
        value = self.apply(form, args, eqn.span)
        if eqn.op in ("lt", "lte", "gt", "gte") and isinstance(eqn.args[0].type, IntegerType):
            value = replace(value, ordered=True)
        self.define(eqn.outs[0], value, at)

    def may_fail(self, eqn: Eqn) -> bool:
        """Whether a primitive can stop the kernel; constants alone may exclude that."""
        failure = primitive(eqn.op).failure
        if failure is None:
            return False
        mentioned = holes(failure.cpp)
        if not all(isinstance(eqn.args[k], Const) for k in mentioned):
            return True
        values = [atom.value if isinstance(atom, Const) else 1 for atom in eqn.args]
        return failure.fails(*values)

    def fail_if(self, condition: Expr, code: str, message: str, span: Span | None, at: Context) -> None:
        """Stop the kernel where ``condition`` holds."""
        self.stop_if(condition, f"fail({code}, {line_of(span)}, {string_literal(message)})", span, at)

    def stop_if(self, condition: Expr, how: str, span: Span | None, at: Context) -> None:
        """Stop the kernel where ``condition`` holds, by a call of a function of ``ks::runtime`` that stops it."""
        at.writer.comment(span)
        with at.writer.braces(f"if ({condition.text})", span, condition.origins) as inner:
            # Which of those that run side by side stops first is found out one by one.
            apart = self.going_on is not None and self.packing is not None and self.packing.whole_rows
            inner.line("throw ks::one_by_one();" if apart else f"rt.{how};", span)
        self.needs_runtime = True

    def assign(
        self, targets: Sequence[str], values: Sequence[Expr], types: Sequence[str], span: Span | None, at: Context
    ) -> None:
        """Assign all at once: each target after every expression that reads its old value.

        ``span`` is the place of what is only a name.
        """
        span = self.given_at or span
        pending = [
            (target, value, type_)
            for target, value, type_ in zip(targets, values, types, strict=True)
            if value.text != target
        ]
        while pending:
            k = next((k for k, (target, _, _) in enumerate(pending) if not _read_by_others(pending, k, target)), None)
            if k is None:
                # One that is itself in the way of another, or saving it would free none.
                k = next(k for k in range(len(pending)) if _reads_others(pending, k))
                target, value, type_ = pending[k]
                saved = at.scope.declare(f"next_{target}")
                head = f"{type_}const " if type_.endswith("*") else f"const {type_} "
                at.writer.statement(f"{head}{saved} = {value.text};", value.span or span, value.folded)
                pending[k] = (target, name_expr(saved), type_)
                continue
            target, value, _ = pending.pop(k)
            at.writer.statement(assignment(target, value), value.span or span, value.folded)


def with_width(first: Expr, operands: Sequence[Atom]) -> Expr:
    """The first of some operands, its type written out where all are literals, which C++ would take for int."""
    if all(isinstance(atom, Const) and isinstance(atom.type, IntegerType) for atom in operands):
        return Expr(CppExpr(f"int64_t{{{first.text}}}"))
    return first


def _read_by_others(pending: Sequence[tuple[str, Expr, str]], k: int, target: str) -> bool:
    return any(_reads(value, target) for j, (_, value, _) in enumerate(pending) if j != k)


def _reads_others(pending: Sequence[tuple[str, Expr, str]], k: int) -> bool:
    return any(_reads(pending[k][1], target) for j, (target, _, _) in enumerate(pending) if j != k)


def _reads(value: Expr, name: str) -> bool:
    return name in value.reads or name == value.text


def assignment(target: str, value: Expr) -> str:
    """``target = value;``, with ``+=`` and its kin where the value begins with the target.

    A sum or product whose second operand is the target counts too, since both commute.
    """
    if value.infix is not None:
        symbol, left, right = value.infix
        if symbol in ("+", "-") and left == target and right == "1":
            return f"{symbol * 2}{target};"
        if symbol in ("+", "-", "*", "/") and left == target:
            return f"{target} {symbol}= {unwrapped(right)};"
        if symbol in ("+", "*") and right == target:
            return f"{target} {symbol}= {unwrapped(left)};"
    return f"{target} = {value.text};"


def unwrapped(text: str) -> str:
    """The text without one pair of parentheses round all of it."""
    if not text.startswith("("):
        return text
    depth = 0
    for k, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if depth == 0:
            return text[1:-1] if k == len(text) - 1 else text
    return text


def overload(eqn: Eqn) -> Overload:
    """The overload of a primitive that the equation uses."""
    return primitive(eqn.op).overload([atom.type for atom in eqn.args])


_OPPOSITE = {"<": ">=", ">=": "<", ">": "<=", "<=": ">"}


def negation(condition: Expr) -> str:
    """``!condition``; of comparisons of floats only equality has an opposite: a NaN fails ``<`` and ``>=`` alike."""
    match condition.infix:
        case (operator, left, right) if condition.ordered:
            return f"{left} {_OPPOSITE[operator]} {right}"
        case ("==" | "!=") as operator, left, right:
            return f"{left} {'!=' if operator == '==' else '=='} {right}"
    if condition.cpp.precedence == UNARY and condition.cpp.text.startswith("!"):
        return condition.cpp.text[1:]
    return f"!{condition.cpp.within(UNARY)}"


def plain(text: str) -> Expr:
    """An expression that binds tightest."""
    return Expr(CppExpr(text))


def once(p: Printer, atom: Atom, at: Context, name: str, span: Span | None) -> Expr:
    """The value as something that costs nothing to read again."""
    value = p.value(atom)
    if isinstance(atom, Const) or (_CHEAP.fullmatch(value.text) and not value.reads):
        return value
    known = at.scope.declare(name)
    at.writer.statement(f"const {p.type_of(atom)} {known} = {value.text};", span)
    return name_expr(known)

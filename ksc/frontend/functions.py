"""The IR functions of a trace: one for each Python function, types of its arguments and constants given to it."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import FunctionType
from typing import NoReturn

from ksc.errors import KnossosError
from ksc.frontend.annotations import annotated_template, parameter_annotations
from ksc.frontend.flow import Flow
from ksc.frontend.frame import Frame, Region
from ksc.frontend.guards import GuardSet
from ksc.frontend.join import atoms_for, generalise, same_template, template_of
from ksc.frontend.recursion import NeverReturnsError, widened
from ksc.frontend.refuse import refuse
from ksc.frontend.scope import EMPTY, After
from ksc.frontend.source import FunctionNode, Source, function_source
from ksc.frontend.storage import WritesArgumentError, kept_as_argument, storages
from ksc.frontend.tensors.annotated import hold_annotated_sizes
from ksc.frontend.tensors.bounds import settled
from ksc.frontend.values import (
    NONE,
    Abstract,
    Cell,
    Closure,
    Dead,
    Poison,
    Static,
    Struct,
    Value,
    as_constant,
    describe,
    instantiate,
    leaves,
)
from ksc.ir.nodes import EFFECTS, Block, Function, Program, Span, Var, walk
from ksc.ir.types import Float, Integer, Type, compatible

_RESULT_REMEDY = "write `-> float`, `-> tuple[float, int]`, or `-> Annotated[torch.Tensor, (None,)]` with its sizes"


@dataclass(frozen=True, slots=True)
class Synthetic:
    """Stands for the callee of an IR function that is made for ``owner``, and no translation of a Python function."""

    owner: object
    role: str


@dataclass(slots=True, eq=False)
class Entry:
    """One IR function: what it is a translation of, and once traced what it gives.

    ``result`` is the template of its results, known beforehand only where the return type is annotated (``declared``).
    While a function is traced that calls itself, which sets ``asked``, it is what is known of them so far. ``shares``
    holds where a result may be stored where an argument is, or another result.
    """

    name: str
    callee: FunctionType | Closure | Synthetic
    arguments: tuple[Value, ...]
    result: Value | None
    function: Function | None = None
    effects: bool = False
    generalised: bool = False
    root: bool = False
    keeps_constants: bool = True
    inlinable: bool = False
    shares: bool = False
    declared: bool = False
    asked: bool = False


class UnfinishedError(Exception):
    """A function is not traced to its end yet."""


class GeneraliseError(Exception):
    """A function turned out to be recursive while constants were built into it; it is traced again without them."""

    def __init__(self, entry: Entry) -> None:
        super().__init__(entry.name)
        self.entry = entry


@dataclass(slots=True, eq=False)
class FunctionTable:
    """All functions of a program under construction."""

    guards: GuardSet
    entries: list[Entry] = field(default_factory=list)
    active: list[Entry] = field(default_factory=list)
    inlining: list[Closure] = field(default_factory=list)
    inlining_functions: list[FunctionType | Closure] = field(default_factory=list)
    recursive: set[object] = field(default_factory=set)
    writing: set[FunctionType] = field(default_factory=set)
    boxes: dict[str, tuple[Type, ...]] = field(default_factory=dict)

    def entry_for(self, callee: FunctionType | Closure, arguments: tuple[Value, ...], where: Span | None) -> Entry:
        """The traced function of ``callee`` for arguments like these templates; traces it where it is new.

        Inside a function that is being traced the entry has no ``function`` yet.
        """
        key = identity(callee)
        running = next((entry for entry in self.active if identity(entry.callee) == key and not entry.root), None)
        if running is not None and not running.generalised:
            self.recursive.add(key[0])
            raise GeneraliseError(running)
        if running is not None:
            running.inlinable = False
        if running is not None or key[0] in self.recursive:
            arguments = tuple(generalise(argument) for argument in arguments)
        for entry in self.entries:
            if identity(entry.callee) == key and all(map(same_template, entry.arguments, arguments)):
                entry.asked = True
                if entry.function is None and entry.result is None:
                    raise NeverReturnsError(entry, where)
                return entry
        return self.trace(callee, arguments, generalised=key[0] in self.recursive)

    def trace(
        self,
        callee: FunctionType | Closure,
        arguments: tuple[Value, ...],
        *,
        generalised: bool = False,
        root: bool = False,
        name: str | None = None,
    ) -> Entry:
        """Trace ``callee``; the ``root`` is the kernel itself, all of whose numbers become results."""
        source, node, function = locate(callee)
        declared = declared_result(callee)
        entry = Entry(self.fresh_name(name or _title(callee)), callee, arguments, declared, root=root)
        entry.declared = declared is not None
        entry.generalised = generalised or all(map(same_template, arguments, map(generalise, arguments)))
        if entry.generalised:
            entry.root = False
        entry.keeps_constants = not (generalised or root)
        entry.inlinable = not (generalised or root)
        mark = len(self.entries)
        self.entries.append(entry)
        self.active.append(entry)
        try:
            while not self._trace_body(entry, source, node, function):
                del self.entries[mark + 1 :]
            return entry
        except GeneraliseError as error:
            del self.entries[mark:]
            if error.entry is not entry:
                raise
        except NeverReturnsError as error:
            del self.entries[mark:]
            self._require_return(entry, error)
        except (KnossosError, WritesArgumentError):
            del self.entries[mark:]
            raise
        finally:
            self.active.pop()
        return self.trace(callee, tuple(map(generalise, arguments)), generalised=True)

    def _require_return(self, entry: Entry, error: NeverReturnsError) -> NoReturn:
        """Refuse a function no path of which returns, unless that may be because nothing is known of another yet."""
        if any(other.asked and other.result is None for other in self.active if other is not entry):
            raise error
        reason = f"{error.entry.name!r} calls itself on every path, and so never returns"
        refuse(error.where, reason, "let a path return a value without the call", code="KS113")

    def _trace_body(self, entry: Entry, source: Source, node: FunctionNode, function: FunctionType | None) -> bool:
        """Trace a function; whether what was known of its result before holds, so that this is what it gives."""
        entry.asked = False
        callee = entry.callee
        frame = Frame(
            functions=self,
            guards=self.guards,
            region=Region(entry),
            source=source,
            node=node,
            function=function,
            parent=callee.frame if isinstance(callee, Closure) else None,
        )
        params: list[Var] = []
        given: list[Cell] = []
        for arg, template in zip(parameters(node), entry.arguments, strict=True):
            value = kept_as_argument(frame, instantiate(template, arg.arg, params), arg.arg)
            given.extend(storages(value))
            frame.bind(arg.arg, value, arg)
        if isinstance(callee, FunctionType):
            hold_annotated_sizes(frame, parameter_annotations(callee), node)
        value = run_body(frame, node)
        kept = list(storages(value))
        pairs = itertools.chain(itertools.combinations(kept, 2), itertools.product(kept, given))
        entry.shares = any(one.shares(other) for one, other in pairs)
        known, entry.result = entry.result, _result_template(frame, entry, value, node)
        if entry.asked and not entry.declared and (known is None or not same_template(known, entry.result)):
            return False
        results = list(atoms_for(frame, entry.result, value, node))
        body = settled(frame.region, frame.builder.block(params, results, frame.returned_at), self.effectful())
        entry.effects = self.has_effects(body)
        entry.function = Function(entry.name, body, frame.source.span(node, head=True))
        return True

    def effectful(self) -> frozenset[str]:
        """The functions so far whose calls do something beyond giving their results."""
        return frozenset(entry.name for entry in self.entries if entry.effects or entry.function is None)

    def has_effects(self, body: Block) -> bool:
        """Whether a call of a function with this body does something beyond giving its results."""
        return any(self._has_effect(eqn.op, eqn.params) for eqn in walk(body))

    def _has_effect(self, op: str, params: Mapping[str, object]) -> bool:
        if op == "call":
            callee = self._named(params["callee"])
            return callee.effects or callee.function is None
        return op in EFFECTS

    def _named(self, name: object) -> Entry:
        return next(entry for entry in self.entries if entry.name == name)

    def fresh_name(self, title: str) -> str:
        """``title``, with a number behind it where it is taken."""
        taken = {entry.name for entry in self.entries}
        name, k = title, 2
        while name in taken:
            name, k = f"{title}_{k}", k + 1
        return name

    def forget_closures(self, mark: int) -> None:
        """Drop the functions made since ``mark`` from local functions, whose scope is about to be traced again."""
        kept = [entry for entry in self.entries[mark:] if not isinstance(entry.callee, Closure)]
        self.entries[mark:] = kept

    def program(self, main: Entry) -> Program:
        """The functions that ``main`` reaches, callees first.

        Raises UnfinishedError where one of them is being traced.
        """
        reached: dict[str, Function] = {}
        visiting: set[str] = set()

        def visit(entry: Entry) -> None:
            if entry.name in visiting:
                return
            visiting.add(entry.name)
            if entry.function is None:
                raise UnfinishedError(entry.name)
            for eqn in walk(entry.function.body):
                if eqn.op == "call":
                    for role in ("callee", "rev", "fwd"):
                        if role in eqn.params:
                            visit(self._named(eqn.params[role]))
            reached[entry.name] = entry.function

        visit(main)
        return Program(reached, main.name, dict(self.boxes))


def identity(callee: FunctionType | Closure | Synthetic) -> tuple[object, object]:
    """What makes two callees the same: the function, and for a local one the scope that it sees."""
    return (callee.node, callee.frame) if isinstance(callee, Closure) else (callee, None)


def parameters(node: FunctionNode) -> list[ast.arg]:
    """The parameters of a function in order, keyword-only ones last."""
    args = node.args
    return [*args.posonlyargs, *args.args, *args.kwonlyargs]


def run_body(frame: Frame, node: FunctionNode) -> Value:
    """Trace the body of a function whose parameters are bound; the value it returns."""
    from ksc.frontend.expressions import evaluate
    from ksc.frontend.statements import run_block

    if isinstance(node, ast.Lambda):
        frame.returned_at = frame.span(node.body)
        return evaluate(frame, node.body)
    args = node.args
    for starred in filter(None, (args.vararg, args.kwarg)):
        frame.refuse(starred, "a starred parameter", "name each parameter", code="KS104")
    flow: Flow = run_block(frame, node.body, After(EMPTY, tail="function"))
    frame.returned_at = flow.value_span
    return NONE if isinstance(flow.value, Dead) else flow.value


def locate(callee: FunctionType | Closure) -> tuple[Source, FunctionNode, FunctionType | None]:
    """The syntax tree of a callee, and the function whose globals and cells its body sees."""
    if isinstance(callee, Closure):
        return callee.frame.source, callee.node, None
    source, node = function_source(callee)
    return source, node, callee


def define(frame: Frame, node: ast.FunctionDef | ast.Lambda) -> Value:
    """The value of a function definition inside a traced function."""
    from ksc.frontend.expressions import evaluate

    if isinstance(node, ast.FunctionDef) and node.decorator_list:
        instead = "decorate a function at the top of the file"
        frame.refuse(node.decorator_list[0], "a decorator on a local function", instead, code="KS108")
    args = node.args
    for starred in filter(None, (args.vararg, args.kwarg)):
        frame.refuse(starred, "a starred parameter", "name each parameter", code="KS104")
    positional = [*args.posonlyargs, *args.args]
    defaults = {
        arg.arg: evaluate(frame, default)
        for arg, default in zip(positional[len(positional) - len(args.defaults) :], args.defaults, strict=True)
    }
    for arg, default in zip(args.kwonlyargs, args.kw_defaults, strict=True):
        if default is not None:
            defaults[arg.arg] = evaluate(frame, default)
    return Closure(node, frame, defaults)


def _title(callee: FunctionType | Closure) -> str:
    name = callee.name if isinstance(callee, Closure) else callee.__name__
    return "lambda" if name == "<lambda>" else name


def declared_result(callee: FunctionType | Closure) -> Value | None:
    """The template that the annotation of a function's result tells, None where it tells nothing."""
    if isinstance(callee, Closure):
        node = callee.node
        annotation = node.returns if isinstance(node, ast.FunctionDef) else None
        return None if annotation is None else _closure_annotation(callee, annotation)
    annotations = parameter_annotations(callee)
    return annotated_template(annotations["return"]) if "return" in annotations else None


def _closure_annotation(callee: Closure, annotation: ast.expr) -> Value | None:
    from ksc.frontend.expressions import evaluate

    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        annotation = ast.parse(annotation.value, mode="eval").body
    value = evaluate(callee.frame, annotation)
    return annotated_template(value.value) if isinstance(value, Static) else None


def _result_template(frame: Frame, entry: Entry, value: Value, node: FunctionNode) -> Value:
    """The template of what the function returns, brought to the annotated type where there is one."""

    actual = template_of(value)
    for part in leaves(actual):
        if isinstance(part, Poison):
            frame.refuse(node, part.reason, part.instead, code=part.code)
    if not entry.keeps_constants:
        actual = generalise(actual)
    if entry.result is None:
        return actual
    if not entry.declared:
        reason = f"{entry.name!r} calls itself, and returns {describe(entry.result)} or {describe(actual)}"
        found = widened(entry.result, actual, Poison("KS113", reason, _RESULT_REMEDY))
        for part in leaves(found):
            if isinstance(part, Poison):
                frame.refuse(node, part.reason, part.instead, code=part.code)
        return found
    return _fit(frame, entry.result, actual, node, keep=entry.keeps_constants)


def _fit(frame: Frame, declared: Value, actual: Value, node: FunctionNode, *, keep: bool) -> Value:
    """The declared template, after a check that the actual one converts to it."""
    if isinstance(declared, Struct) and isinstance(actual, Struct):
        if declared.cls is actual.cls and len(declared.items) == len(actual.items):
            parts = zip(declared.items, actual.items, strict=True)
            return declared.with_items(tuple(_fit(frame, want, have, node, keep=keep) for want, have in parts))
    elif isinstance(declared, Abstract):
        constant = as_constant(actual)
        have = constant.type if constant is not None else actual.type if isinstance(actual, Abstract) else None
        if have is not None and (compatible(have, declared.type) or (declared.type == Float and have == Integer)):
            as_it_is = constant is not None or (isinstance(actual, Abstract) and actual.is_tensor)
            return actual if keep and as_it_is else declared
    elif isinstance(declared, Static) and isinstance(actual, Static) and declared.value is actual.value:
        return declared
    where = node.returns if isinstance(node, ast.FunctionDef) and node.returns is not None else node
    reason = f"the function is annotated to return {describe(declared)} but returns {describe(actual)}"
    frame.refuse(where, reason, "convert the result, or correct the annotation", code="KS205")

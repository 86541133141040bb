"""The sizes of a program's results, from the sizes of its arguments and the values of its Integer and Bool arguments.

    (def f (Tensor 1 Float) ((x : (Tensor 1 Float)) (n : Integer))     ⟶     result 0: (size x 0) + n
      (build (add (size 0 x) n) (lam i …)))

An abstract run of the program: of a tensor it keeps the sizes, of an Integer or Bool the expression that gives it
where there is one, of anything else nothing. ``build`` gives its arguments, ``update`` the sizes of what it updates, an
``if`` what both sides agree on, or a choice where its condition is known; a loop's carries are taken to be constant
until they are seen to change. Two sizes that an ``assert`` compares are one from there on. A size that comes from an
element of a tensor, a Float or a loop's count of its own turns is not known beforehand, and a result that has one is
refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ksc.errors import UnsupportedError
from ksc.ir.nodes import Atom, Block, Const, Eqn, Function, Program, Span, Var
from ksc.ir.sizes import OPCODES, ShapeProgram, SizeOp
from ksc.ir.types import AccType, BoolType, FloatType, IntegerType, TensorType, TupleType, Type
from ksc.transforms.shape_table import LOWERED, Known, Table

DATA_DEPENDENT = "KS123"
"""The code of a result whose size is not known before the call."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """A number that is not known before the call; ``why`` says where it comes from.

    ``either`` holds for one of two numbers that are known.
    """

    why: str
    span: Span | None = None
    either: bool = False


@dataclass(frozen=True, slots=True)
class Undecided:
    """What a recursive call gives, before that is known: it agrees with anything."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """A tensor: its sizes and the line at which each arises."""

    sizes: tuple[Number, ...]
    spans: tuple[Span | None, ...] = field(compare=False)


@dataclass(frozen=True, slots=True)
class Parts:
    """A tuple."""

    items: tuple[Shape, ...]


@dataclass(frozen=True, slots=True)
class Opaque:
    """A value of which nothing is kept: a Float, a String, a box."""


Number = Known | Unknown | Undecided
Shape = Number | Sizes | Parts | Opaque

_OPAQUE = Opaque()
_UNDECIDED = Undecided()
_NO_SPAN: Span | None = None


def shapes(program: Program, *, numbers: bool = False) -> ShapeProgram:
    """The sizes of each result of the entry; () for a scalar.

    With ``numbers`` an Integer stands in the place of a size itself, where it is known before the call.

    Raises UnsupportedError, with the line, where a size is not known before the call.
    """
    analysis = _Analysis(program)
    main = program.main
    args = tuple(analysis.argument(k, param.type) for k, param in enumerate(main.params))
    found = analysis.call(main, args)
    results: list[tuple[int, ...]] = []
    lines: list[tuple[int, ...]] = []
    for k, (shape, result) in enumerate(zip(found, main.body.results, strict=True)):
        if not isinstance(result.type, TensorType):
            number = (shape.position,) if numbers and isinstance(shape, Known) else ()
            results.append(number)
            lines.append((0,) * len(number))
            continue
        assert isinstance(shape, Sizes)
        which = "the result" if len(found) == 1 else f"result {k}"
        results.append(tuple(_position(number, dim, which, main) for dim, number in enumerate(shape.sizes)))
        lines.append(tuple(span.line if span is not None else 0 for span in shape.spans))
    return analysis.table.program(results, lines)


def _position(number: Number, dim: int, which: str, main: Function) -> int:
    if isinstance(number, Known):
        return number.position
    why = number.why if isinstance(number, Unknown) else "a call that never returns"
    either = isinstance(number, Unknown) and number.either
    same = "if it is the same either way, say so: `assert x.shape[0] == 2`, or `Annotated[torch.Tensor, (2, 2)]`; "
    raise UnsupportedError(
        f"the size of dimension {dim} of {which} of {main.name} depends on {why}, and is not known before the call",
        remedy=f"{same if either else ''}compute it from the sizes of the arguments and from int arguments; "
        "fill a tensor of the largest size and return how much of it counts",
        span=(number.span if isinstance(number, Unknown) else None) or main.span,
        code=DATA_DEPENDENT,
    )


_LOOP = "how a loop runs"
_NONE_ASSUMED = 1 << 30

Env = dict[Var, Shape]
Shapes = tuple[Shape, ...]


class _Analysis:
    def __init__(self, program: Program) -> None:
        self.functions = program.functions
        self.table = Table()
        self.known: dict[tuple[str, Shapes], Shapes] = {}
        # The calls that are open, outermost first, each with what it is taken to give.
        self.open: dict[tuple[str, Shapes], _Assumption] = {}
        self.assumed = _NONE_ASSUMED
        self.comparisons: dict[Var, tuple[Known, Known]] = {}
        # Of sizes that were asserted to be equal, each with the one that stands for it.
        self.equal: dict[Known, Known] = {}

    def argument(self, k: int, type_: Type) -> Shape:
        match type_:
            case TensorType(rank=rank, sizes=sizes):
                numbers = tuple(
                    self.table.constant(size) if size is not None else self.table.add(SizeOp("size", k, dim))
                    for dim, size in enumerate(sizes)
                )
                return Sizes(numbers, (_NO_SPAN,) * rank)
            case IntegerType() | BoolType():
                return self.table.add(SizeOp("value", k))
            case _:
                return unknown_of(type_, "the contents of an argument", None)

    # Functions

    def call(self, function: Function, args: Shapes) -> Shapes:
        """The shapes of the results of a call; a recursive one is taken to agree with the rest until it does."""
        key = (function.name, args)
        if key in self.known:
            return self.known[key]
        if key in self.open:
            self.open[key].used = True
            self.assumed = min(self.assumed, list(self.open).index(key))
            return self.open[key].results
        outer = next((k[1] for k in self.open if k[0] == function.name), None)
        if outer is not None:
            widened = tuple(self.join(a, b, "what a recursion changes", None) for a, b in zip(outer, args, strict=True))
            if widened != args:
                return self.call(function, widened)
        assumption = _Assumption(tuple(undecided_of(type_) for type_ in function.result_types))
        depth, before, self.assumed = len(self.open), self.assumed, _NONE_ASSUMED
        self.open[key] = assumption
        while True:
            assumption.used = False
            env: Env = dict(zip(function.params, args, strict=True))
            results = self.block(function.body, env)
            if not assumption.used or results == assumption.results:
                break
            assumption.results = tuple(
                self.join(a, b, "what a recursion changes", function.span)
                for a, b in zip(assumption.results, results, strict=True)
            )
        del self.open[key]
        # What rests on a call that is still open may yet change.
        if self.assumed >= depth:
            self.known[key], self.assumed = results, _NONE_ASSUMED
        self.assumed = min(self.assumed, before)
        return results

    # Blocks and equations

    def block(self, block: Block, env: Env) -> Shapes:
        for eqn in block.eqns:
            for out, shape in zip(eqn.outs, self.eqn(eqn, env), strict=True):
                env[out] = shape
        return tuple(self.atom(result, env) for result in block.results)

    def atom(self, atom: Atom, env: Env) -> Shape:
        if isinstance(atom, Var):
            return env[atom]
        return self.constant(atom)

    def constant(self, constant: Const) -> Shape:
        if isinstance(constant.type, IntegerType | BoolType):
            return self.table.constant(int(constant.value))
        return _OPAQUE

    def eqn(self, eqn: Eqn, env: Env) -> Shapes:
        args = tuple(self.atom(arg, env) for arg in eqn.args)
        rule = _RULES.get(eqn.op)
        if rule is not None:
            return rule(self, eqn, args, env)
        return tuple(self.scalar(eqn, out.type, args) for out in eqn.outs)

    def scalar(self, eqn: Eqn, type_: Type, args: Shapes) -> Shape:
        if not isinstance(type_, IntegerType | BoolType):
            return unknown_of(type_, f"the result of {eqn.op}", eqn.span)
        for arg in args:
            if isinstance(arg, Undecided | Unknown):
                return arg
        known = [arg for arg in args if isinstance(arg, Known)]
        if len(known) == len(args):
            if eqn.op == "eq" and isinstance(eqn.args[0].type, IntegerType):
                self.comparisons[eqn.outs[0]] = (known[0], known[1])
            if eqn.op in LOWERED:
                return LOWERED[eqn.op](self.table, known)
            for code in OPCODES:
                if code == eqn.op:
                    return self.table.apply(code, *known)
        of_float = any(isinstance(arg.type, FloatType) for arg in eqn.args)
        return Unknown("the value of a float" if of_float else f"what {eqn.op} gives", eqn.span)

    # Sizes that are equal

    def assume(self, condition: Atom) -> None:
        """Take note of an assertion where it compares two sizes."""
        if isinstance(condition, Var) and condition in self.comparisons:
            a, b = map(self.representative, self.comparisons[condition])
            if a != b:
                self.equal[b] = a

    def representative(self, number: Known) -> Known:
        while number in self.equal:
            number = self.equal[number]
        return number

    def same(self, a: Shape, b: Shape) -> bool:
        if isinstance(a, Known) and isinstance(b, Known):
            return self.representative(a) == self.representative(b)
        return a == b

    # Joining

    def join(self, a: Shape, b: Shape, why: str, span: Span | None) -> Shape:
        """What is known of a value that is either of two."""
        if self.same(a, b) or isinstance(b, Undecided):
            return a
        match a, b:
            case Undecided(), _:
                return b
            case Sizes(), Sizes():
                sizes = tuple(self.join(m, n, why, span) for m, n in zip(a.sizes, b.sizes, strict=True))
                return Sizes(sizes, tuple(m or n for m, n in zip(a.spans, b.spans, strict=True)))  # type: ignore[arg-type]
            case Parts(), Parts():
                return Parts(tuple(self.join(m, n, why, span) for m, n in zip(a.items, b.items, strict=True)))
            case Unknown(), _:
                return a
            case _, Unknown():
                return b
            case _:
                return Unknown(why, span, either=True)

    def choose(self, cond: Shape, a: Shape, b: Shape, span: Span | None) -> Shape:
        """What is known of a value that is ``a`` where ``cond`` holds, else ``b``."""
        if isinstance(cond, Known):
            match a, b:
                case Known(), Known():
                    return self.table.apply("select", cond, a, b)
                case Sizes(), Sizes():
                    sizes = tuple(self.choose(cond, m, n, span) for m, n in zip(a.sizes, b.sizes, strict=True))
                    return Sizes(sizes, tuple(m or n for m, n in zip(a.spans, b.spans, strict=True)))  # type: ignore[arg-type]
                case Parts(), Parts():
                    return Parts(tuple(self.choose(cond, m, n, span) for m, n in zip(a.items, b.items, strict=True)))
                case _:
                    pass
        why = cond.why if isinstance(cond, Unknown) else "which side of an if is taken"
        return self.join(a, b, why, span)

    # Loops

    def settle(
        self, inits: Shapes, turn: Callable[[Shapes], Shapes], span: Span | None, *, runs: bool
    ) -> tuple[Shapes, Shapes]:
        """The carries of a loop, once what changes is no longer taken to be known, and the other results of a turn.

        What the first turn asserts is known after a loop that ``runs`` at least once.
        """
        before = self.equal
        lasting: Mapping[Known, Known] | None = None if runs else before
        carries = inits
        while True:
            self.equal = dict(before)
            results = turn(carries)
            lasting = self.equal if lasting is None else lasting
            after = tuple(self.join(a, b, _LOOP, span) for a, b in zip(carries, results[: len(carries)], strict=True))
            if after == carries:
                self.equal = dict(lasting)
                return carries, results[len(carries) :]
            carries = after

    def is_positive(self, shape: Shape) -> bool:
        """Whether a number is known to be above 0, a condition to hold."""
        number = self.table.value(shape) if isinstance(shape, Known) else None
        return number is not None and number > 0


@dataclass(slots=True)
class _Assumption:
    results: Shapes
    used: bool = False


def unknown_of(type_: Type, why: str, span: Span | None) -> Shape:
    """A value of this type of which nothing is known."""
    match type_:
        case TensorType(rank=rank):
            return Sizes((Unknown(why, span),) * rank, (span,) * rank)
        case TupleType(elems=elems):
            return Parts(tuple(unknown_of(elem, why, span) for elem in elems))
        case AccType(value=value):
            return unknown_of(value, why, span)
        case IntegerType() | BoolType():
            return Unknown(why, span)
        case _:
            return _OPAQUE


def undecided_of(type_: Type) -> Shape:
    """A value of this type that agrees with any."""
    match type_:
        case TensorType(rank=rank):
            return Sizes((_UNDECIDED,) * rank, (_NO_SPAN,) * rank)
        case TupleType(elems=elems):
            return Parts(tuple(undecided_of(elem) for elem in elems))
        case IntegerType() | BoolType():
            return _UNDECIDED
        case _:
            return _OPAQUE


def _stacked(analysis: _Analysis, eqn: Eqn, sizes: Sequence[Shape], elems: Sequence[Shape]) -> Shapes:
    """Tensors of these sizes made of such elements."""
    found: list[Shape] = []
    leading = tuple(
        size if isinstance(size, Known | Unknown | Undecided) else Unknown(f"what {eqn.op} gives", eqn.span)
        for size in sizes
    )
    for elem in elems:
        inner = elem if isinstance(elem, Sizes) and not eqn.params.get("nested", False) else None
        found.append(
            Sizes(
                leading + (inner.sizes if inner is not None else ()),
                (eqn.span,) * len(leading) + (inner.spans if inner is not None else ()),
            )
        )
    return tuple(found)


def _counters(block: Block, count: int, span: Span | None) -> Env:
    return {param: Unknown("the counter of a loop", span) for param in block.params[:count]}


def _if(analysis: _Analysis, eqn: Eqn, args: Shapes, env: Env) -> Shapes:
    before = dict(analysis.equal)
    then, else_ = (analysis.block(block, env) for block in eqn.blocks)
    analysis.equal = before
    return tuple(analysis.choose(args[0], a, b, eqn.span) for a, b in zip(then, else_, strict=True))


def _for(analysis: _Analysis, eqn: Eqn, args: Shapes, env: Env) -> Shapes:
    (body,) = eqn.blocks

    def turn(carries: Shapes) -> Shapes:
        env.update(_counters(body, 1, eqn.span))
        env.update(zip(body.params[1:], carries, strict=True))
        return analysis.block(body, env)

    carries, elems = analysis.settle(args[1:], turn, eqn.span, runs=analysis.is_positive(args[0]))
    count = args[0]
    if isinstance(count, Known):
        count = analysis.table.apply("max", count, analysis.table.constant(0))
    return carries + _stacked(analysis, eqn, [count], elems)


def _while(analysis: _Analysis, eqn: Eqn, args: Shapes, env: Env) -> Shapes:
    cond, body = eqn.blocks

    def turn(carries: Shapes) -> Shapes:
        env.update(zip(cond.params, carries, strict=True))
        analysis.block(cond, env)
        env.update(zip(body.params, carries, strict=True))
        return analysis.block(body, env)

    first = analysis.block(cond, env | dict(zip(cond.params, args, strict=True)))
    carries, elems = analysis.settle(args, turn, eqn.span, runs=analysis.is_positive(first[0]))
    return carries + _stacked(analysis, eqn, [Unknown("how often a while runs", eqn.span)], elems)


def _build(analysis: _Analysis, eqn: Eqn, args: Shapes, env: Env) -> Shapes:
    (body,) = eqn.blocks
    env.update(_counters(body, len(body.params), eqn.span))
    return _stacked(analysis, eqn, args, analysis.block(body, env))


def _reduce(analysis: _Analysis, eqn: Eqn, args: Shapes, env: Env) -> Shapes:
    (body,) = eqn.blocks
    env.update(_counters(body, len(body.params), eqn.span))
    elems = analysis.block(body, env)
    return tuple(
        elem if isinstance(elem, Sizes) else unknown_of(out.type, "what a reduction gives", eqn.span)
        for elem, out in zip(elems, eqn.outs, strict=True)
    )


def _withacc(analysis: _Analysis, eqn: Eqn, args: Shapes, env: Env) -> Shapes:
    (body,) = eqn.blocks
    env.update((param, _OPAQUE) for param in body.params)
    results = analysis.block(body, env)
    finals = tuple(
        arg if isinstance(arg, Sizes) else unknown_of(out.type, "what an accumulator holds", eqn.span)
        for arg, out in zip(args, eqn.outs, strict=False)
    )
    return finals + results


def _index(analysis: _Analysis, eqn: Eqn, args: Shapes, env: Env) -> Shapes:
    tensor, (out,) = args[0], eqn.outs
    whole = eqn.args[0].type
    assert isinstance(whole, TensorType)
    if isinstance(tensor, Sizes) and len(args) - 1 < whole.rank:
        return (Sizes(tensor.sizes[len(args) - 1 :], tensor.spans[len(args) - 1 :]),)
    return (unknown_of(out.type, "an element of a tensor", eqn.span),)


def _update(analysis: _Analysis, eqn: Eqn, args: Shapes, env: Env) -> Shapes:
    return (args[0],)


def _size(analysis: _Analysis, eqn: Eqn, args: Shapes, env: Env) -> Shapes:
    (tensor,) = args
    dim: int = eqn.params["dim"]
    return (tensor.sizes[dim] if isinstance(tensor, Sizes) else Unknown("the size of a part of a value", eqn.span),)


def _call(analysis: _Analysis, eqn: Eqn, args: Shapes, env: Env) -> Shapes:
    return analysis.call(analysis.functions[eqn.params["callee"]], args)


def _callback(analysis: _Analysis, eqn: Eqn, args: Shapes, env: Env) -> Shapes:
    sizes = iter(args[eqn.params["operands"] :])
    found: list[Shape] = []
    for out in eqn.outs:
        if isinstance(out.type, TensorType):
            own = tuple(next(sizes) for _ in range(out.type.rank))
            found.append(Sizes(own, (eqn.span,) * len(own)))  # type: ignore[arg-type]
        else:
            found.append(unknown_of(out.type, "what a callback gives", eqn.span))
    return tuple(found)


def _tuple(analysis: _Analysis, eqn: Eqn, args: Shapes, env: Env) -> Shapes:
    return (Parts(args),)


def _get(analysis: _Analysis, eqn: Eqn, args: Shapes, env: Env) -> Shapes:
    (whole,) = args
    assert isinstance(whole, Parts)
    return (whole.items[eqn.params["n"]],)


def _unbox(analysis: _Analysis, eqn: Eqn, args: Shapes, env: Env) -> Shapes:
    return tuple(unknown_of(out.type, "what a recursion has kept", eqn.span) for out in eqn.outs)


def _box(analysis: _Analysis, eqn: Eqn, args: Shapes, env: Env) -> Shapes:
    return (_OPAQUE,)


def _assert(analysis: _Analysis, eqn: Eqn, args: Shapes, env: Env) -> Shapes:
    analysis.assume(eqn.args[0])
    return ()


def _nothing(analysis: _Analysis, eqn: Eqn, args: Shapes, env: Env) -> Shapes:
    return ()


_RULES: Mapping[str, Callable[[_Analysis, Eqn, Shapes, Env], Shapes]] = {
    "if": _if,
    "for": _for,
    "while": _while,
    "build": _build,
    "reduce": _reduce,
    "withacc": _withacc,
    "index": _index,
    "update": _update,
    "size": _size,
    "call": _call,
    "callback": _callback,
    "tuple": _tuple,
    "get": _get,
    "box": _box,
    "unbox": _unbox,
    "acc_add": _nothing,
    "assert": _assert,
    "print": _nothing,
}

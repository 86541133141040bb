"""Derivatives that a text names without defining them: ``[fwd f]``, ``[rev f]``, ``[sufrev f]`` and the two passes.

They take and give tuples as the notation says. Each is a function that takes its arguments apart, calls what
``ksc.transforms`` makes of f, and puts the results together:

    (def [rev f] dS ((s : S) (dt : dT))  …  ([rev [flat1 f]] parts of s, parts of dt)  …)

``[suffwdpass f]`` saves the arguments of f, and ``[sufrevpass f]`` hands them to ``[rev f]``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ksc.errors import InvalidIRError
from ksc.ir.nodes import Atom, Block, Eqn, Function, Program, Var
from ksc.ir.rewrite import assemble, callees
from ksc.ir.text.elaborate import Elaborator, Values
from ksc.ir.text.notation import Name
from ksc.ir.text.parts import put_together, take_apart, tangent_of, tangent_parts
from ksc.ir.text.signatures import Signature, Signatures, fits, tupled
from ksc.ir.text.syntax import Position
from ksc.ir.text.tangents import tangent_type
from ksc.ir.types import TensorType, TupleType, Type, is_differentiable
from ksc.passes.flatten_tuples import flat_types, flatten_tuples

Boxes = Mapping[str, tuple[Type, ...]]

KINDS = frozenset({"fwd", "rev", "sufrev", "suffwdpass", "sufrevpass"})


@dataclass(frozen=True, slots=True)
class _Request:
    kind: str
    of: Signature
    signature: Signature


class Derivatives:
    """The derivatives that calls have asked for so far."""

    def __init__(self, signatures: Signatures, elaborator: Callable[[], Elaborator]) -> None:
        self.signatures = signatures
        self.elaborator = elaborator
        self.wrapped: dict[str, Function] = {}
        self.requests: dict[tuple[str, str], _Request] = {}

    def resolve(self, name: Name, types: Sequence[Type] | None) -> Signature | None:
        """The derivative of this name for these argument types, any where they are None; None if there is none."""
        if name.of is None or name.base not in KINDS:
            return None
        for target in self.targets(name.of) or self.builtin(name, types or ()):
            signature = self.request(name.base, target)
            if types is None or fits(signature.params, types):
                return signature
        return None

    def targets(self, name: Name) -> list[Signature]:
        """The functions that a derivative may be taken of."""
        declared = self.signatures.named(name)
        if declared or name.of is None:
            return declared
        derived = self.resolve(name, None)
        return [derived] if derived is not None else []

    def builtin(self, name: Name, types: Sequence[Type]) -> list[Signature]:
        """A function that only calls the built-in whose derivative is named, for the arguments of that derivative."""
        of = name.of
        argument = _argument(name.base, types) if of is not None else None
        if of is None or of.of is not None or of.quoted or argument is None:
            return []
        made = Name(of.base, type=argument)
        known = self.signatures.by_symbol.get(str(made))
        if known is not None:
            return [known]
        e, at = self.elaborator(), Position("<text>", 1, 1)
        params = tuple(
            Var("s", type_) for type_ in (argument.elems if isinstance(argument, TupleType) else (argument,))
        )
        values: list[Atom] = []

        def results() -> Values:
            values.extend(e.builtin(of.base, params, at) or ())
            return tuple(values)

        block = e.block(params, results)
        if not values:
            return []
        self.wrapped[str(made)] = Function(str(made), block)
        signature = self.signatures.declare(made, [param.type for param in params], [value.type for value in values])
        return [signature] if signature is not None else []

    def request(self, kind: str, target: Signature) -> Signature:
        known = self.requests.get((kind, target.symbol))
        if known is not None:
            return known.signature
        name = Name(kind, of=Name(target.symbol))
        params, result = _types(kind, target)
        signature = Signature(str(name), name, params, (result,))
        self.requests[kind, target.symbol] = _Request(kind, target, signature)
        return signature

    def complete(self, functions: Mapping[str, Function], boxes: Boxes) -> tuple[dict[str, Function], Boxes]:
        """The functions and boxes of the program with those of all derivatives asked for."""
        maker = _Maker({**functions, **self.wrapped}, dict(boxes), self)
        done = 0
        while done < len(self.requests):
            maker.define(list(self.requests.values())[done])
            done += 1
        return maker.functions, maker.boxes


def _types(kind: str, f: Signature) -> tuple[tuple[Type, ...], Type]:
    """Parameters and result of a derivative."""
    s, t = f.argument, tupled(f.results)
    ds, dt = tangent_type(s), tangent_type(t)
    match kind:
        case "fwd":
            return (s, ds), dt
        case "rev":
            return (s, dt), ds
        case "sufrev":
            return (*f.params, dt), ds
        case "suffwdpass":
            return f.params, TupleType((t, s))
        case _:
            return (dt, s), ds


def _argument(kind: str, types: Sequence[Type]) -> Type | None:
    """The argument of f that the arguments of a derivative of f tell."""
    if len(types) == 1 and isinstance(types[0], TupleType) and kind != "suffwdpass":
        types = types[0].elems
    match kind, types:
        case (("fwd" | "rev"), [point, _]):
            return point
        case "sufrevpass", [_, point]:
            return point
        case "sufrev", [*points, _]:
            return tupled(points)
        case "suffwdpass", _:
            return tupled(types)
        case _:
            return None


class _Maker:
    def __init__(
        self,
        functions: dict[str, Function],
        boxes: dict[str, tuple[Type, ...]],
        derivatives: Derivatives,
    ) -> None:
        self.functions = functions
        self.boxes = boxes
        self.derivatives = derivatives
        self.elaborator = derivatives.elaborator
        self.open: set[str] = set()
        self.flattened = 0

    def define(self, request: _Request) -> None:
        """Define a derivative, and before it whatever else its function calls that is not defined yet."""
        symbol = request.signature.symbol
        if symbol in self.functions:
            return
        if symbol in self.open:
            raise InvalidIRError(f"{symbol} is needed to define {request.of.symbol}, of which it is the derivative")
        self.open.add(symbol)
        e, at = self.elaborator(), self.place(request.of.symbol)
        types = request.signature.params
        params = tuple(Var(name, type_) for name, type_ in zip(_names(request.kind, request.of), types, strict=True))
        block = e.block(params, lambda: (self.body(e, request.kind, request.of, params, at),))
        self.functions[symbol] = Function(symbol, block, at.span())

    def place(self, symbol: str) -> Position:
        """Where a function is defined in the text."""
        function = self.functions.get(symbol)
        span = function.span if function is not None else None
        return Position(span.file, span.line, span.col + 1, span.text) if span is not None else Position("<text>", 1, 1)

    def missing(self, symbol: str) -> list[_Request]:
        """The derivatives that a function needs, through others, and that have no definition yet."""
        requested = {request.signature.symbol: request for request in self.derivatives.requests.values()}
        found: list[_Request] = []
        seen: set[str] = set()
        pending = [symbol]
        while pending:
            name = pending.pop()
            if name in seen:
                continue
            seen.add(name)
            if name in self.functions:
                pending.extend(callees(self.functions[name]))
            else:
                found.append(requested[name])
        return found

    def body(self, e: Elaborator, kind: str, f: Signature, params: Values, at: Position) -> Atom:
        """The result of a derivative of f."""
        count = len(f.params)
        match kind:
            case "fwd":
                point, tangent = params
                return self.pushed(e, f, point, tangent, at)
            case "rev":
                point, cotangent = params
                return self.pulled(e, f, point, cotangent, at)
            case "sufrev":
                return self.pulled(e, f, _tupled(e, params[:count], at), params[count], at)
            case "suffwdpass":
                (result,) = _tupled_results(e, f, params, at)
                return e.tupled([result, _tupled(e, params, at)], at)
            case _:
                cotangent, point = params
                return self.pulled(e, f, point, cotangent, at)

    def pulled(self, e: Elaborator, f: Signature, point: Atom, cotangent: Atom, at: Position) -> Atom:
        """The cotangent of the argument of f."""
        by_hand = self.by_hand("rev", f)
        if by_hand is not None:
            return _call(e, by_hand, e.fitted(by_hand.params, (point, cotangent), by_hand.symbol, at), at)[0]
        entry = self.transformed(f, "rev")
        parts = (*take_apart(e, point, at), *tangent_parts(e, cotangent, at))
        bars = _call_function(e, self.functions[entry], parts, at)
        return tangent_of(e, point, iter(bars), at)

    def pushed(self, e: Elaborator, f: Signature, point: Atom, tangent: Atom, at: Position) -> Atom:
        """The tangent of the result of f."""
        by_hand = self.by_hand("fwd", f)
        if by_hand is not None:
            return _call(e, by_hand, e.fitted(by_hand.params, (point, tangent), by_hand.symbol, at), at)[0]
        entry = self.transformed(f, "fwd")
        (result,) = _tupled_results(e, f, e.fitted(f.params, (point,), f.symbol, at), at)
        parts = (*take_apart(e, point, at), *tangent_parts(e, tangent, at))
        dots = _call_function(e, self.functions[entry], parts, at)
        return tangent_of(e, result, iter(dots), at)

    def with_derivatives_by_hand(self, symbol: str) -> dict[str, Function]:
        """The functions, where calls name the derivatives that the text gives by hand of what they call."""
        functions = dict(self.functions)
        pending, seen = [symbol], {symbol}
        while pending:
            name = pending.pop()
            function = functions[name]
            roles = {callee: self.adapters(callee, functions) for callee in callees(function)}
            functions[name] = Function(name, _with_roles(function.body, roles), function.span)
            fresh = [callee for callee in callees(functions[name]) if callee not in seen]
            seen.update(fresh)
            pending.extend(fresh)
        return functions

    def adapters(self, callee: str, functions: dict[str, Function]) -> dict[str, str]:
        """Names, and definitions in ``functions``, of the derivatives by hand of a function that take parts."""
        f = self.derivatives.signatures.by_symbol.get(callee)
        roles: dict[str, str] = {}
        for kind in ("rev", "fwd"):
            by_hand = self.by_hand(kind, f) if f is not None else None
            if f is None or by_hand is None or by_hand.symbol not in self.functions:
                continue
            roles[kind] = f"[parts {by_hand.symbol}]"
            if roles[kind] not in functions:
                functions[roles[kind]] = Function(roles[kind], self.adapter(kind, f, by_hand))
        return roles

    def adapter(self, kind: str, f: Signature, by_hand: Signature) -> Block:
        """A derivative by hand as a function from parts to parts."""
        e, at = self.elaborator(), self.place(by_hand.symbol)
        points = tuple(Var("s", type_) for param in f.params for type_ in flat_types(param))
        moved = f.params if kind == "fwd" else f.results
        parts = [type_ for moved_type in moved for type_ in flat_types(moved_type)]
        tangents = tuple(Var("d", type_) for type_ in parts if is_differentiable(type_))

        def results() -> Values:
            left = iter(points)
            args = tuple(put_together(e, param, left, at) for param in f.params)
            point = _tupled(e, args, at)
            if kind == "fwd":
                tangent = tangent_of(e, point, iter(tangents), at)
            elif any(map(_has_plain_tensor, f.results)):
                tangent = tangent_of(e, _tupled(e, _call(e, f, args, at), at), iter(tangents), at)
            else:
                tangent = put_together(e, tangent_type(f.result), iter(tangents), at)
            (result,) = _call(e, by_hand, e.fitted(by_hand.params, (point, tangent), by_hand.symbol, at), at)
            return tangent_parts(e, result, at)

        return e.block((*points, *tangents), results)

    def by_hand(self, kind: str, f: Signature) -> Signature | None:
        """The definition in the text of a derivative of f."""
        wanted, _ = _types(kind, f)
        return self.derivatives.signatures.resolve(Name(kind, of=f.name), wanted)

    def transformed(self, f: Signature, kind: str) -> str:
        """Add what ``ksc.transforms`` makes of f without tuples; the name of its entry."""
        # Imported here since reading text without derivatives must not load the transforms, which may use the text.
        from ksc import transforms

        for needed in self.missing(f.symbol):
            self.define(needed)
        self.flattened += 1
        flat = flatten_tuples(assemble(self.with_derivatives_by_hand(f.symbol), f.symbol, self.boxes))
        source = _renamed(flat, {name: f"[flat{self.flattened} {name}]" for name in flat.functions})
        made: Program = transforms.vjp(source) if kind == "rev" else transforms.jvp(source)
        for name, fields in made.boxes.items():
            self.boxes.setdefault(name, tuple(fields))
        self.functions.update(made.functions)
        return made.entry


def _names(kind: str, f: Signature) -> list[str]:
    """Names for the parameters of a derivative."""
    match kind:
        case "fwd":
            return ["s", "ds"]
        case "rev":
            return ["s", "dt"]
        case "sufrev":
            return [*(f"s{k}" for k in range(len(f.params))), "dt"]
        case "suffwdpass":
            return [f"s{k}" for k in range(len(f.params))]
        case _:
            return ["dt", "saved"]


def _tupled(e: Elaborator, atoms: Sequence[Atom], at: Position) -> Atom:
    return atoms[0] if len(atoms) == 1 else e.tupled(atoms, at)


def _tupled_results(e: Elaborator, f: Signature, args: Values, at: Position) -> Values:
    return (_tupled(e, _call(e, f, args, at), at),)


def _call(e: Elaborator, f: Signature, args: Values, at: Position) -> Values:
    return e.builder.emit("call", args, f.results, params={"callee": f.symbol})


def _call_function(e: Elaborator, function: Function, args: Values, at: Position) -> Values:
    return e.builder.emit("call", args, function.result_types, params={"callee": function.name})


def _with_roles(block: Block, roles: Mapping[str, Mapping[str, str]]) -> Block:
    """The block with the derivatives by hand of what it calls named in its calls."""

    def eqn(old: Eqn) -> Eqn:
        params = {**old.params, **roles[old.params["callee"]]} if old.op == "call" else old.params
        blocks = tuple(_with_roles(inner, roles) for inner in old.blocks)
        return Eqn(old.outs, old.op, old.args, params, blocks, old.span)

    return Block(block.params, tuple(map(eqn, block.eqns)), block.results, block.span)


def _has_plain_tensor(type_: Type) -> bool:
    """Whether there is a tensor in it without a tangent, whose sizes a tangent cannot tell."""
    match type_:
        case TupleType(elems=elems):
            return any(map(_has_plain_tensor, elems))
        case TensorType(elem=elem):
            return any(not is_differentiable(part) for part in flat_types(type_)) or _has_plain_tensor(elem)
        case _:
            return False


def _renamed(program: Program, names: Mapping[str, str]) -> Program:
    """The program with other names for its functions."""

    def block(old: Block) -> Block:
        return Block(old.params, tuple(map(eqn, old.eqns)), old.results, old.span)

    def eqn(old: Eqn) -> Eqn:
        called = {role: names[old.params[role]] for role in ("callee", "rev", "fwd") if role in old.params}
        params = {**old.params, **called} if old.op == "call" else old.params
        return Eqn(old.outs, old.op, old.args, params, tuple(map(block, old.blocks)), old.span)

    functions = {
        names[name]: Function(names[name], block(function.body), function.span)
        for name, function in program.functions.items()
    }
    return Program(functions, names[program.entry], program.boxes)

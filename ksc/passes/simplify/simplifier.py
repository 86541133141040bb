"""One walk over each function, from the top, that simplifies each equation once its arguments are simple."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ksc.ir.nodes import PLACEHOLDER, Atom, Block, Const, Eqn, Function, Program, Var, const
from ksc.ir.rewrite import Env, assemble, read_vars, replace, substitute_block, with_blocks
from ksc.ir.types import AccType, Bool, Float, Integer, TensorType
from ksc.ops import PRIMITIVES, primitive
from ksc.passes.simplify.scalar import is_linear, simplify_scalar


def simplify(program: Program) -> Program:
    """Fold constants and apply identities, see ``ksc.passes.simplify.scalar``; and:

    * an ``if`` whose condition is known is the side taken, also inside an ``if`` of the same condition; a result
      that both sides agree on is that;
    * a carry that never changes is its initial value, and what a ``withacc`` gives of variables around it is these;
    * a scalar accumulator that no loop adds to is a sum;
    * sizes that an assert says are equal are one;
    * the size of a ``build`` is known, a ``get`` of a ``tuple`` and an ``unbox`` of a ``box`` are what was put in.
    """
    functions = {}
    for name, function in program.functions.items():
        simplifier = _Simplifier(read_vars(function.body.eqns, function.body.results))
        functions[name] = Function(name, simplifier.block(function.body), function.span)
    return assemble(functions, program.entry, program.boxes, renew=False)


class _Simplifier:
    def __init__(self, uses: Mapping[Var, int]) -> None:
        self.uses = uses
        self.env: Env = {}
        self.definitions: dict[Var, Eqn] = {}
        self.out: list[Eqn] = []
        self.current: Eqn | None = None
        self.depth = 0

    # What the scalar rules ask for.

    def definition(self, atom: Atom) -> Eqn | None:
        return self.definitions.get(atom) if isinstance(atom, Var) else None

    def used_once(self, atom: Atom) -> bool:
        return isinstance(atom, Var) and self.uses.get(atom, 1) == 1

    def used_twice(self, atom: Atom) -> bool:
        return isinstance(atom, Var) and self.uses.get(atom, 1) == 2

    def apply(self, op: str, *args: Atom) -> Atom:
        (type_,) = primitive(op).result_types([arg.type for arg in args])
        like = self.current
        name = like.outs[0].name if like is not None and like.outs else PLACEHOLDER
        if like is not None and is_linear(like.outs[0]) and not any(map(is_linear, args)):
            name = PLACEHOLDER
        eqn = Eqn((Var(name, type_),), op, args, span=like.span if like is not None else None)
        return self.scalar(eqn)

    def scalar(self, eqn: Eqn) -> Atom:
        """Emit a scalar equation, or what is simpler; the atom that has its value."""
        simpler = simplify_scalar(self, eqn)
        return self.emit(eqn) if simpler is None else simpler

    def emit(self, eqn: Eqn) -> Var:
        self.out.append(eqn)
        self.definitions[eqn.outs[0]] = eqn
        return eqn.outs[0]

    # The walk.

    def block(self, block: Block) -> Block:
        around, self.out = self.out, []
        self.depth += 1
        self.eqns(block.eqns)
        self.depth -= 1
        eqns, self.out = tuple(self.out), around
        return Block(block.params, eqns, tuple(replace(result, self.env) for result in block.results), block.span)

    def eqns(self, eqns: tuple[Eqn, ...]) -> None:
        for eqn in eqns:
            args = tuple(replace(arg, self.env) for arg in eqn.args)
            new = Eqn(eqn.outs, eqn.op, args, eqn.params, eqn.blocks, eqn.span)
            if new.op in PRIMITIVES:
                self.current = new
                value = self.scalar(new)
                if value is not new.outs[0]:
                    self.env[new.outs[0]] = value
                continue
            match new.op:
                case "if":
                    self.if_(new)
                case "for" | "while":
                    self.loop(new)
                case "withacc":
                    self.withacc(new)
                case _:
                    self.plain(new)

    def bind(self, outs: tuple[Var, ...], values: tuple[Atom, ...]) -> None:
        self.env.update(zip(outs, values, strict=True))

    def if_(self, eqn: Eqn) -> None:
        cond = replace(eqn.args[0], self.env)
        if isinstance(cond, Const):
            block = eqn.blocks[0 if cond.value else 1]
            self.eqns(block.eqns)
            self.bind(eqn.outs, tuple(replace(result, self.env) for result in block.results))
            return
        inverted = self.definition(cond)
        if inverted is not None and inverted.op == "not":
            self.if_(Eqn(eqn.outs, "if", inverted.args, eqn.params, eqn.blocks[::-1], eqn.span))
            return
        blocks = []
        for block, value in zip(eqn.blocks, (True, False), strict=True):
            self.env[cond] = const(value)
            inner = self.block(block)
            del self.env[cond]
            blocks.append(inner)
        then, else_ = blocks
        seen: dict[tuple[Atom, Atom], Var] = {}
        for out, a, b in zip(eqn.outs, then.results, else_.results, strict=True):
            if a == b:
                self.env[out] = a
            elif out.type == Bool and a == const(True) and b == const(False):
                self.env[out] = cond
            elif (a, b) in seen:
                self.env[out] = seen[a, b]
            else:
                seen[a, b] = out
        self.out.append(Eqn(eqn.outs, "if", (cond,), eqn.params, (then, else_), eqn.span))

    def loop(self, eqn: Eqn) -> None:
        carries = self._fixed(eqn)
        self.env.update(carries)
        eqn = _without_carries(eqn, carries)
        eqn = with_blocks(eqn, [self.block(block) for block in eqn.blocks])
        # What the body gives may be seen to be what it took only now.
        carries = self._fixed(eqn)
        if carries:
            self.env.update(carries)
            eqn = _without_carries(eqn, carries)
            eqn = with_blocks(eqn, [substitute_block(block, carries) for block in eqn.blocks])
        self.out.append(eqn)

    def _fixed(self, eqn: Eqn) -> Env:
        """What carries of a loop that stay the same stand for, inside and after it."""
        n = eqn.params["carries"]
        body = eqn.blocks[-1]
        skip = len(body.params) - n
        fixed: Env = {}
        for k, init in enumerate(eqn.args[skip:]):
            if body.results[k] in (body.params[skip + k], init):
                fixed.update((block.params[len(block.params) - n + k], init) for block in eqn.blocks)
                fixed[eqn.outs[k]] = init
        return fixed

    def withacc(self, eqn: Eqn) -> None:
        (body,) = eqn.blocks
        n = len(eqn.args)
        inner = self.block(body)
        reads = read_vars(inner.eqns)
        direct: dict[Atom, list[Eqn]] = {param: [] for param in inner.params}
        for add in inner.eqns:
            if add.op == "acc_add" and add.args[0] in direct and len(add.args) == 2:
                direct[add.args[0]].append(add)
        plain = [
            k
            for k, param in enumerate(inner.params)
            if param.type == AccType(Float) and reads.get(param, 0) == len(direct[param])
        ]
        if len(plain) == n:
            gone = {add for adds in direct.values() for add in adds}
            self.out.extend(add for add in inner.eqns if add not in gone)
            self.bind(eqn.outs[n:], inner.results)
        else:
            plain = [k for k in plain if not direct[inner.params[k]]]
            kept = [k for k in range(n) if k not in plain]
            block = Block(tuple(inner.params[k] for k in kept), inner.eqns, inner.results, inner.span)
            outs = tuple(eqn.outs[k] for k in kept) + eqn.outs[n:]
            self.out.append(Eqn(outs, "withacc", tuple(eqn.args[k] for k in kept), eqn.params, (block,), eqn.span))
            own = {*inner.params, *(out for one in inner.eqns for out in one.outs)}
            self.env.update(
                (out, result) for out, result in zip(eqn.outs[n:], inner.results, strict=True) if result not in own
            )
        for k in plain:
            total = eqn.args[k]
            self.current = Eqn((eqn.outs[k],), "add", (), span=eqn.span)
            for add in direct[inner.params[k]]:
                # A fresh accumulator holds nothing yet, whatever the sign of its zero.
                total = add.args[1] if total == const(0.0) else self.apply("add", total, add.args[1])
            self.env[eqn.outs[k]] = total

    def plain(self, eqn: Eqn) -> None:
        known = self.known(eqn)
        if known is not None:
            self.bind(eqn.outs, known)
            return
        blocks = tuple(self.block(block) for block in eqn.blocks)
        new = Eqn(eqn.outs, eqn.op, eqn.args, eqn.params, blocks, eqn.span)
        self.out.append(new)
        for out in new.outs:
            self.definitions[out] = new
        if new.op == "assert":
            self.learn(new.args[0])

    def learn(self, cond: Atom) -> None:
        """After an assert in the outermost block, integers that were asserted equal are one."""
        equal = self.definition(cond)
        if self.depth == 1 and equal is not None and equal.op == "eq" and equal.args[0].type == Integer:
            kept, other = (replace(arg, self.env) for arg in equal.args)
            if isinstance(kept, Var) and isinstance(other, Var) and kept is not other:
                self.env[other] = kept

    def known(self, eqn: Eqn) -> tuple[Atom, ...] | None:
        """The values of an equation that only takes apart what another one has put together."""
        source = self.definition(eqn.args[0]) if eqn.args else None
        match eqn.op:
            case "assert" if eqn.args[0] == const(True):
                return ()
            case "size":
                return self.known_size(eqn, source)
            case "get" if source is not None and source.op == "tuple":
                return (source.args[eqn.params["n"]],)
            case "unbox" if source is not None and source.op == "box":
                return source.args
            case _:
                return None

    def known_size(self, eqn: Eqn, source: Eqn | None) -> tuple[Atom, ...] | None:
        type_ = eqn.args[0].type
        dim = eqn.params["dim"]
        if isinstance(type_, TensorType) and type_.sizes[dim] is not None:
            return (const(int(type_.sizes[dim] or 0)),)
        if source is None:
            return None
        if source.op == "build" and dim < len(source.args):
            return (source.args[dim],)
        if source.op == "update":
            again = Eqn(eqn.outs, "size", source.args[:1], eqn.params, (), eqn.span)
            known = self.known(again)
            if known is not None:
                return known
            self.out.append(again)
            return eqn.outs
        return None


def _without_carries(eqn: Eqn, fixed: Collection[Var]) -> Eqn:
    """A loop without those carries that are ``fixed``."""
    n = eqn.params["carries"]
    kept = [k for k in range(n) if eqn.outs[k] not in fixed]
    if len(kept) == n:
        return eqn
    blocks = []
    for block in eqn.blocks:
        head = len(block.params) - n
        params = (*block.params[:head], *(block.params[head + k] for k in kept))
        results = block.results
        if block is eqn.blocks[-1]:
            results = (*(results[k] for k in kept), *results[n:])
        blocks.append(Block(params, block.eqns, results, block.span))
    skip = len(eqn.args) - n
    args = (*eqn.args[:skip], *(eqn.args[skip + k] for k in kept))
    outs = (*(eqn.outs[k] for k in kept), *eqn.outs[n:])
    return Eqn(outs, eqn.op, args, {**eqn.params, "carries": len(kept)}, tuple(blocks), eqn.span)

"""What differs between iterations that run side by side, and so is a ``ks::pack``: found to a fixpoint.

Values flow, what shares memory varies together; indices and sizes have to be the same. Where iterations may not part
ways, all loops run equally often in them, and no branch depends on the iteration.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ksc.codegen.cpp.counters import counters
from ksc.codegen.cpp.printer import NotPackedError, Packing, Printer
from ksc.ir.nodes import Atom, Block, Eqn, Var
from ksc.ir.types import BoolType, FloatType, IntegerType, TensorType
from ksc.ops import PRIMITIVES

ARITHMETIC = frozenset({"add", "sub", "mul", "div", "div_by", "neg", "stop_gradient", "select", "and", "or", "not"})
COMPARISONS = frozenset({"eq", "ne", "lt", "lte", "gt", "gte", "isnan", "isinf", "isfinite"})
FUNCTIONS = frozenset(
    "abs floor ceil trunc round exp exp2 expm1 log log2 log10 log1p sqrt rsqrt sigmoid softplus sin cos tan atan sinh "
    "cosh tanh erf erfc max min pow".split()
)
"""The scalar primitives that ``ks/pack.h`` has for packs."""

INTEGER = frozenset(
    "add sub mul neg eq ne lt lte gt gte select max min bitand bitor bitxor bitnot idiv imod to_float".split()
)
"""Those that ``ks/pack_int.h`` has for packs of integers."""

LOGICAL = frozenset({"and", "or", "not", "eq", "ne", "select", "bool_to_float", "bool_to_int"})
"""Those for truth values."""

_Loops = tuple[tuple[Var, Atom], ...]
"""Indices of loops around an equation, with their counts."""


@dataclass(slots=True)
class Varying:
    """Looks for what varies between iterations of a loop, until nothing more is found.

    Variables that are ``linked`` are the same memory, or one C++ variable. ``ways`` says whether iterations may part
    ways; ``apart`` counts the branches and loops around that only some of them run, ``ragged`` is what loops keep that
    some leave sooner.
    """

    p: Printer
    index: Var
    own: set[Var]
    varying: set[Var] = field(default_factory=set)
    ways: bool = False
    apart: int = 0
    ends_apart: bool = False
    ragged: set[Var] = field(default_factory=set)
    linked: dict[Var, set[Var]] = field(default_factory=dict)
    rows: dict[Var, None] = field(default_factory=dict)
    reads: list[int] = field(default_factory=list)
    deepest: int = 0

    def run(self, block: Block) -> Packing:
        before = -1
        while before != len(self.varying):
            before = len(self.varying)
            self.rows.clear()
            self.reads.clear()
            self.block(block, ())
        if not self.varying <= self.own or any(read >= self.deepest for read in self.reads):
            raise NotPackedError
        rows = dict.fromkeys(self.rows, "")
        # All wait for the last: the fewer the better, while they hide some of what an operation takes.
        pack = f"ks::pack<{self.p.float_type}{', 2' if self.ends_apart else ''}>"
        return Packing(self.index, frozenset(self.varying), frozenset(self.own), rows, pack)

    def is_varying(self, atom: Atom) -> bool:
        return isinstance(atom, Var) and atom in self.varying

    def need(self, holds: bool) -> None:
        if not holds:
            raise NotPackedError

    def is_same(self, atom: Atom) -> bool:
        return not self.is_varying(atom) and atom is not self.index

    def need_same(self, atoms: Sequence[Atom]) -> None:
        """Sizes, indices, and in most loops counts and conditions, have to be the same for all iterations."""
        self.need(all(map(self.is_same, atoms)))

    def mark(self, var: Var) -> None:
        pending = [var]
        while pending:
            one = pending.pop()
            if one not in self.varying:
                elem = one.type.elem if isinstance(one.type, TensorType) else one.type
                value = getattr(elem, "value", elem)
                value = value.elem if isinstance(value, TensorType) else value
                self.need(isinstance(value, FloatType) or (self.ways and isinstance(value, (IntegerType, BoolType))))
                self.varying.add(one)
                pending += self.linked.get(one, ())

    def link(self, *atoms: Atom) -> None:
        """All of these vary if one does."""
        variables = [atom for atom in atoms if isinstance(atom, Var)]
        for var in variables:
            self.linked.setdefault(var, set()).update(variables)
        for var in variables:
            if var in self.varying:
                for other in variables:
                    self.mark(other)

    def flow(self, source: Atom, target: Var) -> None:
        """``target`` is given the value of ``source``; of tensors that is the same memory."""
        if isinstance(target.type, TensorType):
            self.link(source, target)
        elif self.is_varying(source):
            self.mark(target)

    def block(self, block: Block, loops: _Loops) -> None:
        for eqn in block.eqns:
            if self.p.analysis.is_live(eqn):
                self.eqn(eqn, loops)

    def eqn(self, eqn: Eqn, loops: _Loops) -> None:
        match eqn.op:
            case "index":
                self.read(eqn, loops)
            case "size":
                (tensor,) = eqn.args
                assert isinstance(tensor, Var)
                # So many iterations are kept as the last of those side by side took.
                self.need(eqn.params["dim"] > 0 or self.ragged.isdisjoint({tensor} | self.linked.get(tensor, set())))
            case "assert":
                self.need_same(eqn.args)
            case "update":
                tensor, *at, value = eqn.args
                self.need_same(at)
                self.need(not isinstance(value.type, TensorType))
                self.link(tensor, eqn.outs[0])
                if self.apart or self.is_varying(value):
                    self.mark(eqn.outs[0])
            case "acc_add":
                self.add(eqn)
            case "build" | "reduce":
                self.loop(eqn, loops)
            case "for":
                self.sequence(eqn, loops)
            case "while" if self.ways:
                self.repetition(eqn, loops)
            case "if":
                self.choice(eqn, loops)
            case "withacc":
                self.accumulate(eqn, loops)
            case _:
                self.primitive(eqn, loops)

    def primitive(self, eqn: Eqn, loops: _Loops) -> None:
        self.need(eqn.op in PRIMITIVES and self.index not in eqn.args)
        differing = [arg for arg in eqn.args if self.is_varying(arg)]
        if differing:
            for arg in differing:
                self.need(eqn.op in _allowed(arg))
            self.need(not self.p.may_fail(eqn))
            (out,) = eqn.outs
            if isinstance(out.type, BoolType):
                self.varying.add(out)
            else:
                self.mark(out)
            self.deepest = max(self.deepest, len(loops))

    def choice(self, eqn: Eqn, loops: _Loops) -> None:
        same = self.is_same(eqn.args[0])
        self.need(same or self.ways)
        self.apart += not same
        for side in eqn.blocks:
            self.block(side, loops)
            for result, out in zip(side.results, eqn.outs, strict=True):
                self.flow(result, out)
        self.apart -= not same
        for out in eqn.outs:
            if not same and self.p.analysis.is_read(out) and self.p.storage.root(out) is out:
                self.need(not isinstance(out.type, TensorType))
                self.mark(out)

    def repetition(self, eqn: Eqn, loops: _Loops) -> None:
        """A ``while``: what it carries differs where it ends sooner for some."""
        cond, body = eqn.blocks
        carries = eqn.params["carries"]
        self.need(eqn.params.get("checkpoint", 1) == 1 and not eqn.params.get("nested"))
        for own, param, init, out in zip(cond.params, body.params, eqn.args, eqn.outs, strict=False):
            self.flow(init, param)
            self.link(own, param)
            if isinstance(out.type, TensorType):
                self.link(param, out)
            elif self.is_varying(param):
                self.mark(out)
        self.block(cond, loops)
        same = self.is_same(cond.results[0])
        self.apart += not same
        self.block(body, loops)
        self.carry(eqn, body, carries, counters(eqn), same=same)
        self.apart -= not same

    def carry(self, eqn: Eqn, body: Block, carries: int, counted: Sequence[int], *, same: bool) -> None:
        """What iterations give on, and keep; where they end at different times, all that changes differs then."""
        self.ends_apart |= not same
        first = len(body.params) - carries
        for k, result in enumerate(body.results):
            out = eqn.outs[k]
            if k >= carries:
                self.need(not isinstance(result.type, TensorType))
                if self.is_varying(result):
                    self.mark(out)
                if not same:
                    self.ragged.add(out)
                continue
            param = body.params[first + k]
            self.flow(result, param)
            if same or not self.p.analysis.live_carries(eqn)[k] or (id(eqn), k) in self.p.storage.steady:
                continue
            self.need(not isinstance(param.type, TensorType))
            self.mark(out)
            if k not in counted:
                self.mark(param)

    def read(self, eqn: Eqn, loops: _Loops) -> None:
        tensor, *at = eqn.args
        (out,) = eqn.outs
        if self.index not in at:
            self.need_same(at)
            if isinstance(out.type, TensorType):
                self.link(tensor, out)
            elif self.is_varying(tensor):
                self.mark(out)
            return
        first, *rest = at
        self.need(first is self.index and tensor not in self.own and isinstance(out.type, FloatType))
        self.need_same(rest)
        self.mark(out)
        assert isinstance(tensor, Var)
        if self.is_read_again(tensor, rest, loops):
            self.rows[tensor] = None
            self.reads.append(len(rest))
        else:
            self.reads.append(len(loops) if rest else 0)

    def is_read_again(self, tensor: Var, rest: Sequence[Atom], loops: _Loops) -> bool:
        """Whether all of an iteration's own row is read, and more than once."""
        facts = self.p.in_range.sizes
        counts = dict(loops)
        return 0 < len(rest) < len(loops) and all(
            isinstance(index, Var)
            and index in counts
            and facts.equal(facts.resolve(counts[index]), facts.size(tensor, 1 + k))
            for k, index in enumerate(rest)
        )

    def add(self, eqn: Eqn) -> None:
        acc, *at, value = eqn.args
        self.need_same(at)
        self.need(isinstance(value.type, FloatType))
        if acc in self.own and (self.apart or self.is_varying(value)):
            assert isinstance(acc, Var)
            self.mark(acc)

    def loop(self, eqn: Eqn, loops: _Loops) -> None:
        (body,) = eqn.blocks
        self.need_same(eqn.args)
        self.need(not eqn.params.get("nested"))
        self.block(body, (*loops, *zip(body.params, eqn.args, strict=True)))
        for result, out in zip(body.results, eqn.outs, strict=True):
            if eqn.op == "build" and isinstance(result.type, TensorType):
                self.link(result, out)
            elif self.is_varying(result):
                self.need(eqn.op == "build" or not isinstance(out.type, TensorType))
                self.mark(out)
            # What an iteration needs for itself is a row.
            if out in self.varying and isinstance(out.type, TensorType):
                self.need(out.type.rank == 1)

    def sequence(self, eqn: Eqn, loops: _Loops) -> None:
        (body,) = eqn.blocks
        same = self.is_same(eqn.args[0])
        self.need(same or self.ways)
        self.need(eqn.params.get("checkpoint", 1) == 1 and not eqn.params.get("nested"))
        for param, init, out in zip(body.params[1:], eqn.args[1:], eqn.outs, strict=False):
            self.flow(init, param)
            self.link(param, out)
        self.apart += not same
        self.block(body, (*loops, (body.params[0], eqn.args[0])))
        self.carry(eqn, body, eqn.params["carries"], (), same=same)
        self.apart -= not same

    def accumulate(self, eqn: Eqn, loops: _Loops) -> None:
        (body,) = eqn.blocks
        for param, init, out in zip(body.params, eqn.args, eqn.outs, strict=False):
            self.flow(init, param)
            self.link(param, out)
            if isinstance(out.type, TensorType):
                self.link(init, param)
        self.block(body, loops)
        for result, out in zip(body.results, eqn.outs[len(body.params) :], strict=True):
            self.flow(result, out)


def _allowed(arg: Atom) -> frozenset[str]:
    """The primitives that take such an operand where it differs between iterations."""
    match arg.type:
        case FloatType():
            return ARITHMETIC | COMPARISONS | FUNCTIONS
        case IntegerType():
            return INTEGER
        case _:
            return LOGICAL

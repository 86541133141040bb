"""What differs between iterations that run side by side, and so is a ``ks::pack``: found to a fixpoint.

Values flow, what shares memory varies together; indices and sizes have to be the same. Where iterations may not part
ways, all loops run equally often in them, and no branch depends on the iteration.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ksc.codegen.cpp.counters import counters
from ksc.codegen.cpp.printer import NotPackedError, Packing, Printer
from ksc.codegen.cpp.types import box_struct, declaration
from ksc.ir.nodes import Atom, Block, Eqn, Var
from ksc.ir.types import AccType, BoolType, BoxType, FloatType, IntegerType, TensorType, Type
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

_OF_WAYS = (IntegerType, BoolType, BoxType)

_Loops = tuple[tuple[Var, Atom], ...]
"""Indices of loops around an equation, with their counts."""


@dataclass(slots=True)
class Varying:
    """Looks for what varies between iterations of a loop, until nothing more is found.

    Variables that are ``linked`` are the same memory, or one C++ variable. ``ways`` says whether iterations may part
    ways; ``apart`` counts the branches and loops around that only some of them run, ``ragged`` is what loops keep that
    some leave sooner. With ``whole_rows`` iterations read and write rows of their own, all of which are side by side
    before and after; ``shared`` are tensors that they add to together, ``totals`` numbers, ``leaves`` says whether they
    may yet have to run one after the other. ``fields`` stand for the fields of records; ``dear`` tensors take a loop
    for each number.
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
    whole_rows: bool = False
    shared: set[Var] = field(default_factory=set)
    totals: dict[Var, None] = field(default_factory=dict)
    leaves: bool = False
    fields: dict[tuple[str, int], Var] = field(default_factory=dict)
    dear: set[Var] = field(default_factory=set)

    def run(self, block: Block) -> Packing:
        before = -1
        while before != len(self.varying):
            before = len(self.varying)
            self.rows.clear()
            self.reads.clear()
            self.block(block, ())
        if not self.varying <= self.own | {*self.fields.values()} or any(read >= self.deepest for read in self.reads):
            raise NotPackedError
        self.need(not (self.shared and self.leaves))
        rows = dict.fromkeys(self.rows, "")
        # All wait for the last: the fewer the better, while they hide some of what an operation takes.
        few = self.ends_apart or self.whole_rows
        pack = f"ks::pack<{self.p.float_type}{', 2' if few else ''}>"
        found = Packing(self.index, frozenset(self.varying), frozenset(self.own), rows, pack)
        if not self.whole_rows:
            return found
        totals = dict.fromkeys(self.totals, "")
        records = self.records(pack)
        return replace(
            found, whole_rows=True, shared=bool(self.shared), totals=totals, leaves=self.leaves, records=records
        )

    def records(self, pack: str) -> dict[str, list[str]]:
        """The structs of records whose fields vary, with their members."""
        varying = {name for (name, _), kept in self.fields.items() if kept in self.varying}
        members: dict[str, list[str]] = {}
        for (name, _), kept in sorted(self.fields.items(), key=lambda item: item[0]):
            if name in varying:
                width = pack if kept in self.varying else self.p.float_type
                members.setdefault(box_struct(name, pack), []).append(
                    f"{declaration(kept.type, kept.name, width, const=False)};"
                )
        return members

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
                value = _element(one.type)
                self.need(isinstance(value, FloatType) or (self.ways and isinstance(value, _OF_WAYS)))
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

    def start(self, eqn: Eqn, k: int, param: Var) -> None:
        """``param`` starts from an argument of ``eqn``, or from a copy of it."""
        init = eqn.args[k]
        if self.ways and ((id(eqn), k) in self.p.storage.copied or init not in self.own):
            if self.is_varying(init):
                self.mark(param)
        elif isinstance(init.type, TensorType):
            self.link(init, param)
        else:
            self.flow(init, param)

    def block(self, block: Block, loops: _Loops) -> None:
        for eqn in block.eqns:
            if self.p.analysis.is_live(eqn):
                self.eqn(eqn, loops)
        self.need(self.index not in block.results)

    def eqn(self, eqn: Eqn, loops: _Loops) -> None:
        self.need(self.index not in eqn.args or eqn.op in ("index", "acc_add"))
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
                self.need(not isinstance(value.type, TensorType) or (self.ways and not self.apart))
                self.start(eqn, 0, eqn.outs[0])
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
            case "call" if self.whole_rows:
                self.need_same(eqn.args)
                self.need(not self.apart and not any(isinstance(arg.type, AccType) for arg in eqn.args))
            case "box" if self.whole_rows:
                self.record(eqn, eqn.args)
            case "unbox" if self.whole_rows:
                self.need(eqn.args[0] in self.own)
                self.record(eqn, eqn.outs)
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
                self.need(not isinstance(_element(out.type), BoxType))
                self.need(self.whole_rows or not isinstance(out.type, TensorType))
                self.leaves |= isinstance(out.type, TensorType)
                self.mark(out)

    def record(self, eqn: Eqn, values: Sequence[Atom]) -> None:
        """A record is made of ``values``, or they are read from one: its fields vary together with them."""
        box = (eqn.outs if eqn.op == "box" else eqn.args)[0]
        assert isinstance(box, Var) and isinstance(box.type, BoxType)
        for k, value in enumerate(values):
            kept = self.fields.setdefault((box.type.name, k), Var(f"r{k}", value.type))
            self.link(value, kept)
            if kept in self.varying:
                for var in self.own:
                    if _element(var.type) == box.type:
                        self.mark(var)

    def repetition(self, eqn: Eqn, loops: _Loops) -> None:
        """A ``while``: what it carries differs where it ends sooner for some."""
        cond, body = eqn.blocks
        carries = eqn.params["carries"]
        self.need(eqn.params.get("checkpoint", 1) == 1 and not eqn.params.get("nested"))
        for k, (own, param, out) in enumerate(zip(cond.params, body.params, eqn.outs, strict=False)):
            self.start(eqn, k, param)
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
        self.leaves |= not same
        first = len(body.params) - carries
        for k, result in enumerate(body.results):
            out = eqn.outs[k]
            if k >= carries:
                self.need(not isinstance(result.type, TensorType) or (self.whole_rows and same))
                if self.is_varying(result):
                    self.mark(out)
                if not same:
                    self.ragged.add(out)
                continue
            param = body.params[first + k]
            self.flow(result, param)
            if same or not self.p.analysis.live_carries(eqn)[k] or (id(eqn), k) in self.p.storage.steady:
                continue
            self.need(not isinstance(param.type, (TensorType, BoxType)))
            self.mark(out)
            if k not in counted:
                self.mark(param)

    def read(self, eqn: Eqn, loops: _Loops) -> None:
        tensor, *at = eqn.args
        (out,) = eqn.outs
        assert isinstance(tensor, Var)
        if self.index not in at:
            self.need_same(at)
            self.need(not isinstance(_element(out.type), BoxType) or tensor in self.own)
            if isinstance(out.type, TensorType) and (id(eqn), 0) not in self.p.storage.copied:
                self.link(tensor, out)
            elif self.is_varying(tensor):
                self.mark(out)
            return
        first, *rest = at
        self.need(first is self.index and tensor not in self.own and isinstance(_element(out.type), FloatType))
        self.need(self.whole_rows or isinstance(out.type, FloatType))
        self.need_same(rest)
        self.mark(out)
        if self.whole_rows:
            self.rows[tensor] = None
            return
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
        assert isinstance(acc, Var)
        if self.whole_rows and at and at[0] is self.index:
            self.need_same(at[1:])
            self.need(acc not in self.own | self.shared and isinstance(_element(value.type), FloatType))
            self.need(not (self.apart and isinstance(value.type, TensorType)))
            self.rows[acc] = None
            return
        self.need_same(at)
        if acc in self.own:
            self.need(isinstance(value.type, FloatType) or (self.ways and not self.apart))
            if self.apart or self.is_varying(value):
                self.mark(acc)
            return
        self.need(isinstance(value.type, FloatType) and acc not in self.rows and (self.whole_rows or not self.apart))
        if at or not self.whole_rows:
            self.shared.add(acc)
        else:
            self.totals[acc] = None

    def loop(self, eqn: Eqn, loops: _Loops) -> None:
        (body,) = eqn.blocks
        self.need_same(eqn.args)
        self.need(not eqn.params.get("nested"))
        self.block(body, (*loops, *zip(body.params, eqn.args, strict=True)))
        repeats = any(inner.op in ("reduce", "for", "while") for inner in body.eqns)
        for result, out in zip(body.results, eqn.outs, strict=True):
            if result in self.dear if isinstance(result.type, TensorType) else repeats:
                self.dear.add(out)
            if eqn.op == "build" and isinstance(result.type, TensorType):
                self.link(result, out)
            elif self.is_varying(result):
                self.need(eqn.op == "build" or self.ways or not isinstance(out.type, TensorType))
                self.mark(out)
            # What an iteration of a sum needs for itself is a row, or takes longer to compute than to keep.
            if out in self.varying and isinstance(out.type, TensorType):
                self.need(self.ways or out.type.rank == 1 or out in self.dear)

    def sequence(self, eqn: Eqn, loops: _Loops) -> None:
        (body,) = eqn.blocks
        same = self.is_same(eqn.args[0])
        self.need(same or self.ways)
        self.need(eqn.params.get("checkpoint", 1) == 1 and not eqn.params.get("nested"))
        for k, (param, out) in enumerate(zip(body.params[1:], eqn.outs, strict=False)):
            self.start(eqn, k + 1, param)
            self.link(param, out)
        self.apart += not same
        self.block(body, (*loops, (body.params[0], eqn.args[0])))
        self.carry(eqn, body, eqn.params["carries"], (), same=same)
        self.apart -= not same

    def accumulate(self, eqn: Eqn, loops: _Loops) -> None:
        (body,) = eqn.blocks
        for k, (param, out) in enumerate(zip(body.params, eqn.outs, strict=False)):
            self.start(eqn, k, param)
            self.link(param, out)
        self.block(body, loops)
        for result, out in zip(body.results, eqn.outs[len(body.params) :], strict=True):
            self.flow(result, out)


def _element(type_: Type) -> Type:
    """The type of a value, or of the elements of a tensor or accumulator."""
    value = type_.value if isinstance(type_, AccType) else type_
    return value.elem if isinstance(value, TensorType) else value


def _allowed(arg: Atom) -> frozenset[str]:
    """The primitives that take such an operand where it differs between iterations."""
    match arg.type:
        case FloatType():
            return ARITHMETIC | COMPARISONS | FUNCTIONS
        case IntegerType():
            return INTEGER
        case _:
            return LOGICAL

"""What of a function is needed, and which values are read only once.

Generated code has neither unused variables nor a variable for what reads better inside the expression that uses it.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ksc.ir.nodes import EFFECTS, Atom, Block, Eqn, Function, Var
from ksc.ir.types import FloatType
from ksc.ops.cpp import CppForm

Forms = Callable[[Eqn], tuple[CppForm, CppForm | None] | None]
"""For a scalar primitive its C++ form and that of the condition under which it fails; None for any other op."""


@dataclass(frozen=True, slots=True)
class Use:
    """Where a variable is read: ``loop`` counts the bodies that run repeatedly, ``place`` all equations and block ends.

    ``passed`` says that it goes on under another name: as the result of a block, or as the start of a loop's carry.
    """

    loop: int
    place: int
    passed: bool = False


class Analysis:
    """Liveness and uses of the variables of one function.

    ``effectful`` says of a call whether it must stay although nothing reads what it gives.
    """

    def __init__(self, function: Function, forms: Forms, effectful: Callable[[Eqn], bool]) -> None:
        self._forms = forms
        self._effectful = effectful
        self._read: set[Var] = set()
        self._live: set[int] = set()
        self._acts: dict[int, bool] = {}
        self._uses: dict[Var, list[Use]] = {}
        self._loop_of: dict[Var, int] = {}
        self._loops = 0
        self._indices: set[Var] = set()
        self._places: dict[int, int] = {}
        self._place_of: dict[Var, int] = {}
        self._place = 0
        self.is_settled: Callable[[Eqn], bool] = lambda eqn: False
        self._function = function
        self._mark(function.body, function.body.results)
        self._count(function.body, 0, function.body.results)

    def settle(self, settled: Callable[[Eqn], bool]) -> None:
        """Count uses again, now that it is known which ``if``s assign nothing and are printed as plain statements."""
        self.is_settled = settled
        self._uses.clear()
        self._loops = self._place = 0
        self._count(self._function.body, 0, self._function.body.results)

    def is_live(self, eqn: Eqn) -> bool:
        """Whether the equation has to be computed at all."""
        return id(eqn) in self._live

    def is_read(self, var: Var) -> bool:
        """Whether anything that is computed reads the variable."""
        return var in self._read

    def live_carries(self, eqn: Eqn) -> list[bool]:
        """For each carry of a loop whether it is needed."""
        body = eqn.blocks[-1]
        skip = len(body.params) - eqn.params["carries"]
        return [
            self.is_read(param) or self.is_read(out) for param, out in zip(body.params[skip:], eqn.outs, strict=False)
        ]

    def single_use(self, var: Var) -> Use | None:
        """The only place that reads the variable, where that runs as often as the definition; None otherwise."""
        uses = self._uses.get(var, [])
        if len(uses) == 1 and uses[0].loop == self._loop_of.get(var):
            return uses[0]
        return None

    def is_index(self, var: Var) -> bool:
        """Whether the variable counts the iterations of a loop, whose head reads it."""
        return var in self._indices

    def place(self, eqn: Eqn) -> int:
        """The number of a live equation in the order of the text."""
        return self._places[id(eqn)]

    def defined_at(self, var: Var) -> int:
        """The number of the equation that gives the variable; of the one before, if it is a block's parameter."""
        return self._place_of[var]

    # Liveness, backwards; a loop goes round until nothing more becomes live.

    def _mark(self, block: Block, results: Sequence[Atom]) -> None:
        self._read.update(atom for atom in results if isinstance(atom, Var))
        for eqn in reversed(block.eqns):
            if any(out in self._read for out in eqn.outs) or self.has_effect(eqn):
                self._live.add(id(eqn))
                self._mark_eqn(eqn)

    def _mark_eqn(self, eqn: Eqn) -> None:
        if known_comparison(eqn) is not None:
            return
        skipped: set[int] = set()
        match eqn.op:
            case "if":
                for inner in eqn.blocks:
                    self._mark(inner, _selected(inner.results, [out in self._read for out in eqn.outs]))
            case "for" | "while":
                skipped = self._mark_loop(eqn)
            case "withacc":
                (inner,) = eqn.blocks
                self._mark(inner, self.needed_results(eqn, inner))
            case _:
                for inner in eqn.blocks:
                    self._mark(inner, inner.results)
        self._read.update(a for k, a in enumerate(eqn.args) if k not in skipped and isinstance(a, Var))

    def _mark_loop(self, eqn: Eqn) -> set[int]:
        body, carries = eqn.blocks[-1], eqn.params["carries"]
        before = -1
        while before != len(self._read) + len(self._live):
            before = len(self._read) + len(self._live)
            live = self.live_carries(eqn)
            stacked = [out in self._read for out in eqn.outs[carries:]]
            self._mark(body, _selected(body.results, live + stacked))
            for cond in eqn.blocks[:-1]:
                self._mark(cond, cond.results)
                for own, inner in zip(cond.params, body.params, strict=True):
                    if own in self._read:
                        self._read.add(inner)
        first = len(eqn.args) - carries
        return {first + k for k, alive in enumerate(self.live_carries(eqn)) if not alive}

    def has_effect(self, eqn: Eqn) -> bool:
        """Whether the equation does something beyond giving its outs."""
        if not eqn.blocks:
            return eqn.op in EFFECTS or (eqn.op == "call" and self._effectful(eqn))
        known = self._acts.get(id(eqn))
        if known is None:
            known = any(self.has_effect(inner) for block in eqn.blocks for inner in block.eqns)
            self._acts[id(eqn)] = known
        return known

    # Uses, forwards.

    def _count(self, block: Block, loop: int, results: Sequence[Atom]) -> None:
        for param in block.params:
            self._loop_of[param] = loop
            self._place_of[param] = self._place
        eqns = [eqn for eqn in block.eqns if self.is_live(eqn)]
        for eqn in eqns:
            self._place += 1
            self._places[id(eqn)] = self._place
            for out in eqn.outs:
                self._loop_of[out] = loop
                self._place_of[out] = self._place
            self._count_eqn(eqn, loop)
        self._place += 1
        # A last `if` is followed by the results on each of its sides.
        twice = eqns[-1].outs if eqns and eqns[-1].op == "if" and not self.is_settled(eqns[-1]) else None
        for atom in results:
            self._use(atom, Use(loop, self._place, passed=True), 1 if twice is None or atom in twice else 2)

    def _count_eqn(self, eqn: Eqn, loop: int) -> None:
        if known_comparison(eqn) is not None:
            return
        forms = self._forms(eqn)
        carries = eqn.params.get("carries", 0)
        live = self.live_carries(eqn) if eqn.op in ("for", "while") else []
        here = self._place
        for k, atom in enumerate(eqn.args):
            init = k - (len(eqn.args) - carries)
            if forms is not None:
                self._use(atom, Use(loop, here), _holes(forms[0], k) + (_holes(forms[1], k) if forms[1] else 0))
            elif not live or init < 0:
                self._use(atom, Use(loop, here), 2 if _is_size_or_index(eqn, k) else 1)
            elif live[init]:
                self._use(atom, Use(loop, here, passed=True), 1)
        for inner in eqn.blocks:
            repeated = eqn.op in ("for", "while", "build", "reduce")
            if repeated:
                self._loops += 1
                self._indices.update(inner.params[: len(inner.params) - carries])
            self._count(inner, self._loops if repeated else loop, self.needed_results(eqn, inner))
            if eqn.op == "withacc":
                for atom in self.needed_results(eqn, inner):
                    self._use(atom, Use(loop, self._place), 1)

    def needed_results(self, eqn: Eqn, inner: Block) -> Sequence[Atom]:
        """Those results of a block of a live equation that anything reads."""
        match eqn.op:
            case "if":
                return _selected(inner.results, [self.is_read(out) for out in eqn.outs])
            case "for" | "while" if inner is eqn.blocks[-1]:
                stacked = [self.is_read(out) for out in eqn.outs[eqn.params["carries"] :]]
                return _selected(inner.results, self.live_carries(eqn) + stacked)
            case "withacc":
                return _selected(inner.results, [self.is_read(out) for out in eqn.outs[len(inner.params) :]])
            case _:
                return inner.results

    def _use(self, atom: Atom, use: Use, times: int) -> None:
        if isinstance(atom, Var):
            self._uses.setdefault(atom, []).extend([use] * times)


def _is_size_or_index(eqn: Eqn, k: int) -> bool:
    """Whether the argument is one that is checked before it is used, and so written twice."""
    match eqn.op:
        case "build" | "reduce":
            return True
        case "index":
            return k > 0
        case "update" | "acc_add":
            return 0 < k < len(eqn.args) - 1
        case _:
            return False


def known_comparison(eqn: Eqn) -> bool | None:
    """What comes of comparing an integer or truth value with itself, of which compilers complain; else None."""
    holds = {"eq": True, "lte": True, "gte": True, "ne": False, "lt": False, "gt": False}.get(eqn.op)
    if holds is None or isinstance(eqn.args[0].type, FloatType) or eqn.args[0] != eqn.args[1]:
        return None
    return holds


def _selected(results: Sequence[Atom], wanted: Sequence[bool]) -> list[Atom]:
    return [atom for atom, want in zip(results, wanted, strict=True) if want]


def _holes(form: CppForm, k: int) -> int:
    return sum(field == str(k) for _, field, _, _ in string.Formatter().parse(form.template))


def holes(form: CppForm) -> set[int]:
    """The operands that the form mentions."""
    fields = (field for _, field, _, _ in string.Formatter().parse(form.template))
    return {int(field) for field in fields if field is not None and field.isdigit()}

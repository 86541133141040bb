"""Products in a derivative that is handed results: a quotient that a result is, or is the logarithm of, is read of it.

    s = (reduce add n (lam j (index j e)))                      y = (build n (lam j (div (index j e) s)))
    x_bar = (build n (lam j (mul (div a_bar s) (index j e))))
      ⟶      x_bar = (build n (lam j (mul a_bar (index j y))))

The sum and the exponentials are then computed for nobody. Likewise ``(exp (index j y))`` stands for e / s where the
result is u - log s and e is exp u, and ``(exp (sub x y))`` where the result is m + log s and e is exp (x - m). These
are softmax, log_softmax and logsumexp, however they are written. Only products of adjoints change, which are linear in
them; what the user has written stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ksc.ir.builder import Builder
from ksc.ir.nodes import Atom, Block, Eqn, Program, Var
from ksc.ir.rewrite import with_blocks, with_eqns
from ksc.ir.types import Float, TensorType
from ksc.passes.cost import burden
from ksc.passes.dce import remove_dead_code
from ksc.passes.numbering import Key, Numbering
from ksc.passes.simplify.scalar import is_linear

MOST = 16
"""The number of factors up to which a product is looked at."""


def read_quotients(program: Program, count: int, handed: Mapping[int, Var]) -> Program | None:
    """The program without its first ``count`` results, its products reading the parameters that hold some of these.

    Args:
        program: an optimised one, which computes the results that it is handed, before the cotangents.
        count: how many results these are.
        handed: for positions of these results the parameters that hold them.

    Returns:
        None where there is no such product, or no less to compute than without.
    """
    body = program.main.body
    numbers = Numbering.of_function(program.main)
    facts = [fact for k, param in handed.items() for fact in _facts(body, body.results[k], param, numbers)]
    changed = _Products(numbers, facts, body.params).block(body, {}) if facts else body
    if changed is body:
        return None
    found, plain = (_without(program, block, count) for block in (changed, body))
    return found if burden(found) < burden(plain) else None


def gives_quotients(program: Program) -> bool:
    """Whether a result of the program may be a quotient or the logarithm of one."""
    body = program.main.body
    numbers = Numbering.of_function(program.main)
    holder = Var("y", Float)
    return any(fact for result in body.results for fact in _facts(body, result, holder, numbers))


def _without(program: Program, body: Block, count: int) -> Program:
    main = replace(program.main, body=replace(body, results=body.results[count:]))
    return remove_dead_code(replace(program, functions={**program.functions, main.name: main}))


@dataclass(frozen=True, slots=True)
class _Fact:
    """A quotient that is known of a handed result at the indices ``at``.

    Attributes:
        result: the parameter that holds the result.
        at: the numbers of the indices.
        op: how the result comes of it: ``div`` where it is the quotient, ``sub`` where it is its logarithm, ``add``
            where it is m + log s and the quotient exp (x - m) / s.
        numerator: the number of the numerator; of m for ``add``.
        divisor: the number of the divisor.
    """

    result: Var
    at: tuple[int, ...]
    op: str
    numerator: int
    divisor: int


def _facts(block: Block, result: Atom, param: Var, numbers: Numbering) -> Iterator[_Fact]:
    """What the definition of a result says."""
    at: tuple[int, ...] = ()
    while True:
        eqn = next((eqn for eqn in block.eqns if result in eqn.outs), None)
        if eqn is None or eqn.op not in ("build", "withacc") or eqn.params.get("nested"):
            break
        (block,) = eqn.blocks
        position = eqn.outs.index(result) - (len(eqn.args) if eqn.op == "withacc" else 0)
        if position < 0:
            return
        at += numbers.made[eqn.outs[0]][0] if eqn.op == "build" else ()
        result = block.results[position]
    if eqn is None or eqn.op not in ("div", "sub", "add"):
        return
    a, b = map(numbers.atom, eqn.args)
    if eqn.op == "div":
        yield _Fact(param, at, "div", a, b)
        return
    for one, other in ((a, b), (b, a)) if eqn.op == "add" else ((a, b),):
        logarithm = numbers.keys[other]
        if logarithm.op == "log":
            numerator = one if eqn.op == "add" else numbers.of("exp", [one], ())
            yield _Fact(param, at, eqn.op, numerator, logarithm.args[0])


class _Products:
    def __init__(self, numbers: Numbering, facts: Sequence[_Fact], params: Sequence[Var]) -> None:
        self.numbers = numbers
        self.facts = facts
        self.params = params
        self.made: dict[Var, Eqn] = {}

    def block(self, block: Block, indices: Mapping[int, Var]) -> Block:
        """The block with its products changed; ``indices`` are those around it, by their numbers."""
        eqns: list[Eqn] = []
        for eqn in block.eqns:
            blocks = []
            for inner in eqn.blocks:
                own = inner.params if eqn.op in ("build", "reduce") else ()
                blocks.append(self.block(inner, {**indices, **{self.numbers.atom(param): param for param in own}}))
            new = [with_blocks(eqn, blocks)]
            if eqn.op in ("mul", "div") and is_linear(eqn.outs[0]):
                new = self.product(eqn, indices) or new
            eqns += new
            self.made.update((out, one) for one in new for out in one.outs)
        return with_eqns(block, eqns)

    def product(self, eqn: Eqn, indices: Mapping[int, Var]) -> list[Eqn]:
        """The equations of a product with a quotient read of a result; none where there is no such quotient in it."""
        factors: list[Atom] = []
        divisors: list[Atom] = []
        negative = self.take_apart(eqn, factors, divisors)
        if not 1 < len(factors) <= MOST:
            return []
        for fact in self.facts:
            for j, divisor in enumerate(divisors):
                if self.numbers.atom(divisor) != fact.divisor or not all(i in indices for i in fact.at):
                    continue
                for k, factor in enumerate(factors):
                    builder = Builder(eqn.span)
                    quotient = self.quotient(fact, factor, indices, builder)
                    if quotient is not None:
                        rest = [*factors[:k], *factors[k + 1 :], quotient]
                        return _product(builder, eqn, rest, [*divisors[:j], *divisors[j + 1 :]], negative=negative)
        return []

    def take_apart(self, eqn: Eqn, factors: list[Atom], divisors: list[Atom]) -> bool:
        """Collect the factors and divisors of a product of adjoints; whether it is the negative of their product."""
        negative = eqn.op == "neg"
        if eqn.op == "div":
            divisors.append(eqn.args[1])
        for arg in eqn.args if eqn.op == "mul" else eqn.args[:1]:
            inner = self.made.get(arg) if isinstance(arg, Var) and is_linear(arg) else None
            if inner is not None and inner.op in ("mul", "div", "neg") and len(factors) <= MOST:
                negative ^= self.take_apart(inner, factors, divisors)
            else:
                factors.append(arg)
        return negative

    def quotient(self, fact: _Fact, factor: Atom, indices: Mapping[int, Var], builder: Builder) -> Atom | None:
        """Emit the quotient of a factor and the divisor of a fact, if it is the one that is known."""
        name = fact.result.name
        if fact.op == "add":
            exponential = self.numbers.key(factor)
            exponent = self.numbers.keys[exponential.args[0]] if exponential.op == "exp" else exponential
            if exponent.op != "sub" or exponent.args[1] != fact.numerator:
                return None
            above = self.again(self.numbers.keys[exponent.args[0]], indices, builder)
            if above is None:
                return None
            value = builder.apply("sub", above, self.read(fact.result, fact.at, indices, builder), name=name)
            return builder.apply("exp", value, name=name)
        if self.numbers.atom(factor) != fact.numerator:
            return None
        value = self.read(fact.result, fact.at, indices, builder)
        return value if fact.op == "div" else builder.apply("exp", value, name=name)

    def again(self, key: Key, indices: Mapping[int, Var], builder: Builder) -> Atom | None:
        """Read an element of a parameter again; None where the value is something else."""
        tensor = self.numbers.keys[key.args[0]].what if key.op == "index" else None
        if tensor not in self.params or not all(i in indices for i in key.args[1:]):
            return None
        assert isinstance(tensor, Var)
        return self.read(tensor, key.args[1:], indices, builder)

    def read(self, tensor: Var, at: Sequence[int], indices: Mapping[int, Var], builder: Builder) -> Atom:
        """Read an element of a parameter."""
        if not isinstance(tensor.type, TensorType):
            return tensor
        return builder.emit("index", [tensor, *(indices[i] for i in at)], [Float], names=[tensor.name])[0]


def _product(
    builder: Builder, eqn: Eqn, factors: Sequence[Atom], divisors: Sequence[Atom], *, negative: bool
) -> list[Eqn]:
    """Emit a product, or the negative of one, that binds what ``eqn`` does."""
    (out,) = eqn.outs
    value, *others = factors
    if negative:
        value = builder.apply("neg", value, name=out.name)
    for factor in others:
        value = builder.apply("mul", value, factor, name=out.name)
    for divisor in divisors:
        value = builder.apply("div", value, divisor, name=out.name)
    builder.eqns[-1] = replace(builder.eqns[-1], outs=eqn.outs)
    return builder.eqns

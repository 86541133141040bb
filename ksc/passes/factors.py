"""Cotangents and tangents that are added up are multiplied afterwards by what is the same for all of them.

    s_bar = (reduce add n (lam i (mul (index i y_bar) (neg (div (div (index i e) s) s)))))
      ⟶      s_bar = (neg (div (div (reduce add n (lam i (mul (index i y_bar) (index i e)))) s) s))

It is linear in them, so it may be done in either order, to the last place. For the same reason a sum of two products,
as the tangent of a product of matrices is, is two sums, each of which may be a product of matrices again.

Deviations from a mean, ``(sub x_i m)`` where m is the sum of all x_i divided by their number, add up to 0: to
``(sub m m)``, which is NaN where a deviation is. What the user has added up stays as it is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ksc.ir.builder import Builder
from ksc.ir.liveness import prune_block
from ksc.ir.nodes import Atom, Block, Const, Eqn, Program, Var
from ksc.ir.rewrite import bound_vars, clone_block, with_blocks, with_body, with_eqns, with_functions
from ksc.ir.types import Float
from ksc.ops import PRIMITIVES
from ksc.passes.dce import remove_dead_code
from ksc.passes.product import terms_of
from ksc.passes.share import tokens
from ksc.passes.simplify.scalar import is_linear

SHORTEST = 17
"""A sum known to be shorter is written out; its terms share quotients with what is around."""

MOST = 16
"""The number of factors up to which a product is taken apart."""

Definitions = Mapping[Var, Eqn]


def take_out_factors(program: Program) -> Program:
    """Do so in all functions; the same program where there is nothing to do."""
    found = with_functions(program, lambda function: with_body(function, _block(function.body, {}, None, {})))
    return program if found is program else remove_dead_code(found)


def _block(block: Block, around: Definitions, owner: Eqn | None, lanes: Definitions) -> Block:
    """A block of ``owner``; ``around`` defines what it may read, ``lanes`` what of this is made in loops."""
    known, own = dict(around), dict(lanes)
    eqns: list[Eqn] = []
    for eqn in block.eqns:
        inner = with_blocks(eqn, [_block(body, known, eqn, own) for body in eqn.blocks])
        made = [inner]
        if eqn.op == "reduce" and eqn.params["monoid"] == "add" and any(map(_is_summed, eqn.outs)) and _is_long(eqn):
            made = _taken_out(inner, known)
            if owner is not None and owner.op == "build" and made == [inner]:
                made = _split(inner, own)
        eqns += made
        defined = {out: one for one in made for out in one.outs}
        known.update(defined)
        own.update(defined if owner is not None else {})
    return with_eqns(block, eqns)


def _is_summed(out: Var) -> bool:
    return out.type == Float and is_linear(out)


def _is_long(total: Eqn) -> bool:
    return not any(isinstance(size, Const) and int(size.value) < SHORTEST for size in total.args)


@dataclass(slots=True)
class _Factors:
    """A product: the factors and divisors that ``vary`` from term to term, and those that do not."""

    negative: bool = False
    varying: list[Var] = field(default_factory=list)
    divisors: list[Atom] = field(default_factory=list)
    fixed: list[tuple[str, Atom]] = field(default_factory=list)

    @property
    def is_single(self) -> bool:
        """Whether one factor varies, and no divisor."""
        return len(self.varying) == 1 and not self.divisors


def _taken_out(total: Eqn, known: Definitions) -> list[Eqn]:
    """The sum of what varies of the terms, and what is done to it afterwards."""
    (body,) = total.blocks
    made = {out: eqn for eqn in body.eqns for out in eqn.outs}
    products = _Terms(made, bound_vars(body))
    terms, after = Builder(total.span), Builder(total.span)
    terms.eqns = list(body.eqns)
    outs, results = list(total.outs), list(body.results)
    for k, (out, result) in enumerate(zip(total.outs, body.results, strict=True)):
        found = products.factors(result) if _is_summed(out) else _Factors()
        if not found.varying:
            continue
        mean = _mean(total, made.get(found.varying[0]), known) if found.is_single else None
        if mean is None and not found.fixed and not found.negative:
            continue
        outs[k], results[k] = Var(out.name, Float), _product(terms, found, out.name)
        value: Atom = outs[k] if mean is None else after.apply("sub", mean, mean, name=out.name)
        for op, factor in found.fixed:
            value = after.apply(op, value, factor, name=out.name)
        if found.negative:
            value = after.apply("neg", value, name=out.name)
        after.eqns[-1] = replace(after.eqns[-1], outs=(out,))
    if not after.eqns:
        return [total]
    block = terms.block(body.params, results, body.span)
    return [replace(total, outs=tuple(outs), blocks=(block,)), *after.eqns]


def _split(total: Eqn, lanes: Definitions) -> list[Eqn]:
    """A sum for each of the products of elements that terms consist of, and the sums of these; others stay together.

    Where several are summed up at once, only of what may be a product of matrices: no factor is a vector that all lanes
    share, rather than one that is made in ``lanes``.
    """
    (body,) = total.blocks
    if any(eqn.op not in PRIMITIVES and eqn.op != "index" for eqn in body.eqns):
        return [total]
    made = {out: eqn for eqn in body.eqns for out in eqn.outs}

    def addends(atom: Atom) -> Iterator[Atom]:
        eqn = made.get(atom) if isinstance(atom, Var) else None
        if eqn is not None and eqn.op == "add":
            for arg in eqn.args:
                yield from addends(arg)
        else:
            yield atom

    def summed(name: str, results: Sequence[Atom]) -> Eqn:
        block = clone_block(prune_block(Block(body.params, body.eqns, tuple(results), body.span), ()), {})
        return replace(total, outs=tuple(Var(name, result.type) for result in results), blocks=(block,))

    def is_split(part: Eqn) -> bool:
        reads = terms_of(part) or ()
        return bool(reads) and (len(total.outs) == 1 or all(len(r.args) > 2 or r.args[0] in lanes for r in reads))

    products: list[Eqn] = []
    after = Builder(total.span)
    rest: list[int] = []
    for k, (out, result) in enumerate(zip(total.outs, body.results, strict=True)):
        parts = [summed(out.name, [term]) for term in addends(result)]
        if not all(map(is_split, parts)):
            rest.append(k)
            continue
        products += parts
        if len(parts) == 1:
            products[-1] = replace(parts[0], outs=(out,))
            continue
        value: Atom = parts[0].outs[0]
        for part in parts[1:]:
            value = after.apply("add", value, part.outs[0], name=out.name)
        after.eqns[-1] = replace(after.eqns[-1], outs=(out,))
    if len(products) + len(rest) == len(total.outs) and len(products) < 2:
        return [total]
    if rest:
        left = summed("", [body.results[k] for k in rest])
        products.insert(0, replace(left, outs=tuple(total.outs[k] for k in rest)))
    return [*products, *after.eqns]


@dataclass(slots=True)
class _Terms:
    """The products in the body of a sum: what it has ``made``, and what is bound ``inside`` of it."""

    made: Definitions
    inside: set[Var]
    known: dict[Var, bool] = field(default_factory=dict)

    def factors(self, term: Atom) -> _Factors:
        """The factors of a term; what has no fixed one in it is one factor, which may be read elsewhere too."""
        found = _Factors()
        self.visit(term, found)
        return found if len(found.varying) + len(found.fixed) <= MOST else _Factors()

    def is_fixed(self, atom: Atom) -> bool:
        """Whether a factor is the same for all terms."""
        return not isinstance(atom, Var) or atom not in self.inside

    def has_fixed(self, atom: Atom) -> bool:
        """Whether something in a product can be taken out of it."""
        if not isinstance(atom, Var) or atom not in self.inside:
            return True
        if atom not in self.known:
            eqn = self.made.get(atom)
            parts = eqn.args if eqn is not None and eqn.op in ("mul", "div") else ()
            parts = parts[:1] if eqn is not None and eqn.op == "div" and not self.is_fixed(parts[1]) else parts
            self.known[atom] = (eqn is not None and eqn.op == "neg") or any(map(self.has_fixed, parts))
        return self.known[atom]

    def visit(self, atom: Atom, found: _Factors) -> None:
        if not isinstance(atom, Var) or atom not in self.inside:
            found.fixed.append(("mul", atom))
            return
        if not self.has_fixed(atom) or len(found.varying) + len(found.fixed) > MOST:
            found.varying.append(atom)
            return
        eqn = self.made[atom]
        self.visit(eqn.args[0], found)
        if eqn.op == "neg":
            found.negative = not found.negative
        elif eqn.op == "mul":
            self.visit(eqn.args[1], found)
        elif self.is_fixed(eqn.args[1]):
            found.fixed.append(("div", eqn.args[1]))
        else:
            found.divisors.append(eqn.args[1])


def _product(builder: Builder, found: _Factors, name: str) -> Atom:
    """The product of what varies."""
    product: Atom
    product, *others = found.varying
    for factor in others:
        product = builder.apply("mul", product, factor, name=name)
    for divisor in found.divisors:
        product = builder.apply("div", product, divisor, name=name)
    return product


def _mean(total: Eqn, term: Eqn | None, known: Definitions) -> Atom | None:
    """The mean that a term is the deviation from, if the sum has all of these."""
    if term is None or term.op != "sub" or len(total.args) != 1:
        return None
    for value, mean in (term.args, term.args[::-1]):
        quotient = known.get(mean) if isinstance(mean, Var) else None
        if quotient is None or quotient.op != "div" or not all(isinstance(arg, Var) for arg in quotient.args):
            continue
        of, number = (known.get(arg) for arg in quotient.args if isinstance(arg, Var))
        if of is None or number is None or of.op != "reduce" or number.op != "to_float" or of.args != number.args:
            continue
        (summed,) = (
            result for out, result in zip(of.outs, of.blocks[0].results, strict=True) if out is quotient.args[0]
        )
        if of.args == total.args and of.params == total.params and _terms(of, summed) == _terms(total, value):
            return mean
    return None


def _terms(total: Eqn, term: Atom) -> Sequence[object]:
    """What tells whether two sums are of the same terms."""
    (body,) = total.blocks
    block = prune_block(Block(body.params, body.eqns, (term,)), ())
    return [*tokens(Eqn((), "reduce", total.args, total.params, (block,)), {})]

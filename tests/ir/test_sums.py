"""Which loops only add up."""

from ksc.ir.builder import Builder
from ksc.ir.nodes import Block, Var, const
from ksc.ir.sums import are_sums
from ksc.ir.types import Bool, Float


def loop_of(step):
    """A loop with one carry, which ``step(builder, index, carry)`` gives on."""
    b = Builder()
    b.for_(const(10), [const(0.0)], lambda inner, i, carry: [step(inner, i, carry[0])])
    return next(eqn for eqn in b.eqns if eqn.op == "for")


def test_a_long_chain_of_additions_is_a_sum():
    term = Var("a", Float)

    def chain(b, _, s):
        for _ in range(3000):
            s = b.apply("add", term, s)
        return s

    assert are_sums(loop_of(chain))


def test_terms_that_share_much_are_looked_at_once():
    term = Var("a", Float)

    def shared(b, _, s):
        t = term
        for _ in range(100):
            t = b.apply("add", t, t)
        return b.apply("add", t, b.apply("sub", s, t))

    assert are_sums(loop_of(shared))


def test_many_branches_one_after_the_other_are_sums():
    test, term = Var("c", Bool), Var("a", Float)

    def branches(b, _, s):
        for _ in range(60):
            inner = Builder()
            sides = (inner.block((), (inner.apply("add", s, term),)), Block((), (), (s,)))
            (s,) = b.emit("if", [test], [Float], blocks=sides)
        return s

    assert are_sums(loop_of(branches))


def test_a_sum_that_is_looked_at_is_none():
    assert not are_sums(loop_of(lambda b, _, s: b.apply("add", s, s)))
    assert not are_sums(loop_of(lambda b, _, s: b.apply("add", s, b.apply("sin", s))))
    assert not are_sums(loop_of(lambda b, _, s: b.apply("mul", s, const(2.0))))

    def in_between(b, _, s):
        first = b.apply("add", s, const(1.0))
        return b.apply("add", first, b.apply("exp", first))

    assert not are_sums(loop_of(in_between))


def test_a_loop_that_gives_on_something_else_as_it_is_adds_nothing():
    other = Var("a", Float)

    def step(b, _, s):
        kept, added = b.for_(const(3), [other, s], lambda inner, i, x: [x[0], inner.apply("add", x[1], other)])
        return b.apply("add", kept, added)

    assert are_sums(loop_of(step))
    assert not are_sums(loop_of(lambda b, _, s: b.for_(const(3), [other], lambda inner, i, x: [x[0]])[0]))

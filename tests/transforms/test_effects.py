"""Asserts and prints happen once, in order, whatever is run again for the reverse sweep."""

import pytest

from ksc.errors import KernelRuntimeError
from ksc.ir.interpret import interpret
from ksc.ir.nodes import const
from ksc.ir.types import Float, Integer
from ksc.ir.verify import verify
from ksc.passes import optimise
from ksc.transforms import jvp, vjp
from tests.transforms.programs import call, function, program


def noisy():
    """A loop and an ``if`` around prints, and around calls of a function that prints."""

    def tell(b, x):
        for _ in range(30):
            x = b.apply("sin", x)
        b.emit("print", [x, const(";")], [])
        b.emit("assert", [b.apply("lt", x, const(0.5))], [], params={"message": "too large"})
        return [x]

    def main(b, x, n):
        def body(b, i, c):
            b.emit("print", [i, const(" ")], [])

            def then(b):
                b.emit("print", [const("then ")], [])
                return [b.apply("mul", call(b, "tell", c[0]), call(b, "tell", x))]

            (r,) = b.if_(b.apply("lt", i, const(2)), then, lambda b: [b.apply("mul", c[0], x)])
            return [r]

        return b.for_(n, [x], body)

    return program(function("tell", {"x": Float}, tell), function("f", {"x": Float, "n": Integer}, main))


@pytest.mark.parametrize("derive", [vjp, jvp, lambda p: vjp(vjp(p)), lambda p: vjp(jvp(p)), lambda p: jvp(vjp(p))])
@pytest.mark.parametrize("finish", [lambda p: p, optimise])
def test_effects_happen_once(derive, finish):
    source = noisy()
    wanted, found = [], []
    interpret(source, (0.7, 3), output=wanted.append)
    derived = finish(derive(source))
    verify(derived)
    seeds = len(derived.main.params) - 2
    interpret(derived, (0.7, 3, *[0.5] * seeds), output=found.append)
    assert found == wanted
    assert len(wanted) == 9


@pytest.mark.parametrize("derive", [vjp, jvp])
def test_a_failing_assert_stops_the_derivative(derive):
    def main(b, x):
        b.emit("assert", [b.apply("lt", x, const(1.0))], [], params={"message": "x is too large"})
        return [b.apply("mul", x, x)]

    derived = optimise(derive(program(function("f", {"x": Float}, main))))
    assert interpret(derived, (0.5, 1.0)) == (1.0,)
    with pytest.raises(KernelRuntimeError, match="x is too large"):
        interpret(derived, (1.5, 1.0))

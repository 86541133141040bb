"""Long chains of conditions mean what Python says, and nest as deep as their number has digits."""

import linecache
import math

import pytest
import torch

from ksc.frontend import Abstract, trace
from ksc.ir.interpret import interpret
from ksc.ir.types import Float, TensorType
from ksc.transforms import vjp

VECTOR = TensorType(1, Float)


def function(name, params, lines):
    text = "import math\nimport torch\n" + f"def f({params}):\n" + "".join(f"    {line}\n" for line in lines)
    file = f"<{name}>"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    namespace = {"__name__": "chains"}
    exec(compile(text, file, "exec"), namespace)
    return namespace["f"]


def elifs(n):
    sides = [line for k in range(n) for line in (("el" if k else "") + f"if x < {k}.0:", f"    r = y * {k}.5 + x * y")]
    return function(f"elif {n}", "x: float, y: float", [*sides, "else:", "    r = y * y", "r = r + y", "return r * x"])


def returns(n):
    sides = [line for k in range(n) for line in (f"if x < {k}.0:", f"    return y * {k}.5 + x * y")]
    return function(f"return {n}", "x: float, y: float", [*sides, "x = x * y", "return y * x"])


def depth(block):
    return max((1 + max(map(depth, eqn.blocks)) for eqn in block.eqns if eqn.blocks), default=0)


@pytest.mark.parametrize("write", [elifs, returns])
def test_value_and_derivative(write):
    fn = write(300)
    program = trace(fn, [Abstract(Float), Abstract(Float)]).program
    assert depth(program.main.body) <= 1 + math.ceil(math.log2(301))
    derivative = vjp(program)
    for x in (-1.0, 0.0, 0.5, 17.5, 150.0, 298.5, 299.0, 500.0):
        args = [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (x, 1.5)]
        value = fn(*args)
        assert interpret(program, (x, 1.5), width="f64") == pytest.approx((value.item(),))
        wanted = torch.autograd.grad(value, args, allow_unused=True)
        found = interpret(derivative, (x, 1.5, 1.0), width="f64")
        assert found == pytest.approx([0.0 if g is None else g.item() for g in wanted])


WAYS = ["s = s + {k}.0", "continue", "break", "return s * {k}.0", "t = s * t"]


def test_sides_that_leave_a_loop_and_sides_that_stay():
    """Some sides go on after the chain, others leave the iteration, the loop or the function."""
    sides = [
        line
        for k in range(40)
        for line in (("el" if k else "") + f"if x[i] < {k}.0:", "    " + WAYS[k % len(WAYS)].format(k=k))
    ]
    lines = ["s = 1.0", "t = 2.0", "for i in range(x.shape[0]):", *(f"    {line}" for line in sides)]
    fn = function("loop", "x: torch.Tensor", [*lines, "    s = s + t * x[i]", "return s - t"])
    program = trace(fn, [Abstract(VECTOR)]).program
    for seed in range(12):
        x = torch.rand(5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 44 - 2
        x[: seed % 5] = torch.tensor([41.0, 4.5, 39.5, 0.5, 5.5])[: seed % 5]
        assert interpret(program, (x.numpy(),), width="f64") == pytest.approx((float(fn(x)),))


def test_conditions_after_one_that_holds_are_not_asked():
    """An element that is not there stops the kernel only where Python would have asked for it."""
    sides = [line for k in range(30) for line in (("el" if k else "") + f"if x[{k}] > 0.0:", f"    r = {k}.0")]
    fn = function("elements", "x: torch.Tensor", [*sides, "else:", "    r = -1.0", "return r"])
    program = trace(fn, [Abstract(VECTOR)]).program
    x = torch.tensor([-1.0, -1.0, 1.0], dtype=torch.float64)
    assert interpret(program, (x.numpy(),), width="f64") == (2.0,)
    with pytest.raises(Exception, match="out of range"):
        interpret(program, (-x.abs().numpy(),), width="f64")


def test_conditions_known_when_traced_and_names_bound_in_conditions():
    known = ["if x > 9.0:", "    r = 9.0"]
    known += [
        line
        for k in range(30)
        for line in (f"elif {k} == 30:", "    r = text + 1", f"elif x > 8.{k:02}:", f"    r = {k}.0")
    ]
    known += ["elif True:", "    r = -x", "elif x > 'a':", "    r = None"]
    bound = [
        line for k in range(30) for line in (("el" if k else "") + f"if (v{k} := x * {k}.0) > 100.0:", f"    r = v{k}")
    ]
    for name, lines in (("known", known), ("bound", [*bound, "else:", "    r = 1.0"])):
        fn = function(name, "x: float", [*lines, "return r"])
        program = trace(fn, [Abstract(Float)]).program
        for x in (-1.0, 3.5, 8.1, 8.005, 9.5, 60.0):
            assert interpret(program, (x,), width="f64") == pytest.approx((fn(x),))

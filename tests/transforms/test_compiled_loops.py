"""The derivatives of loops that change tensors, compiled: the same numbers as by the interpreter."""

import numpy as np
import pytest
import torch

from ksc.codegen import GeneratedSource
from ksc.compiler import build, build_many, load
from ksc.ir.interpret import interpret
from ksc.ir.text import parse
from ksc.passes import optimise
from ksc.transforms import jvp, vjp
from tests.codegen.harness import EXACT, STRICT, call_tensors, tensor_source
from tests.transforms.oracle import active, float_results, random_like
from tests.transforms.tensor_loops import LOOPS


@pytest.fixture(scope="module")
def kernels():
    """By name the derivatives of each program, their arguments and their kernels."""
    rng = np.random.default_rng(0)
    cases = {}
    for name, (program, args) in LOOPS.items():
        bars = random_like(rng, float_results(program, interpret(program, args)))
        reverse = optimise(vjp(program))
        cases[f"{name}_vjp"] = reverse, [*args, *bars]
        if name in SECOND_ORDER:
            dots = random_like(rng, [args[k] for k in active(program)])
            cases[f"{name}_jvp"] = optimise(jvp(program)), [*args, *dots]
            again = random_like(rng, float_results(reverse, interpret(reverse, [*args, *bars])))
            cases[f"{name}_vjp_vjp"] = optimise(vjp(reverse)), [*args, *bars, *again]
    sources = [tensor_source(name, program) for name, (program, _) in cases.items()]
    # Some in each library: what a compiler takes to start would be half of the time for one each.
    joined = [
        GeneratedSource(f"loops{k}", "\n".join(source.text for source in sources[k::PARTS]), {}, {}, "float64")
        for k in range(PARTS)
    ]
    libraries = [load(kernel) for kernel in build_many(joined, STRICT)]
    return {name: (*case, libraries[k % PARTS]) for k, (name, case) in enumerate(cases.items())}


PARTS = 4
SECOND_ORDER = {"stencil", "triangle", "while_in_while", "rows_sometimes", "read_after_changes"}


def test_compiled(kernels):
    for name, (program, args, kernel) in kernels.items():
        truth = interpret(program, args)
        shapes = [np.shape(value) for value in truth]
        status, values = call_tensors(kernel, f"ks_{name}", program, [np.asarray(arg) for arg in args], shapes)
        assert status == 0, name
        for value, true in zip(values, truth, strict=True):
            np.testing.assert_allclose(value, true, rtol=1e-13, atol=1e-13, err_msg=name)


DEEP = """(def f (Tensor 1 Float) ((x : (Tensor 1 Float)) (n : Integer))
  (if (lte n 0) x
    (let ((y (f (build (size x) (lam (i : Integer) (sin (add (index i x) (mul 0.1 (index 0 x)))))) (sub n 1))))
      (build (size y) (lam (i : Integer) (mul (index i y) (exp (mul 0.001 (index i x)))))))))"""


def test_recursion_ten_thousand_deep_keeps_tensors():
    derived = optimise(vjp(parse(DEEP)))
    kernel = load(build(tensor_source("deep", derived), EXACT))
    x, n = np.array([0.3, 0.2, 0.1]), 10_000
    status, (bar,) = call_tensors(kernel, "ks_deep", derived, [x, np.asarray(n), np.ones(3)], [(3,)])

    point = torch.tensor(x, requires_grad=True)
    states = [point]
    for _ in range(n):
        states.append(torch.sin(states[-1] + 0.1 * states[-1][0]))
    y = states.pop()
    while states:
        y = y * torch.exp(0.001 * states.pop())
    y.sum().backward()
    assert status == 0
    np.testing.assert_allclose(bar, point.grad.numpy(), rtol=1e-9)

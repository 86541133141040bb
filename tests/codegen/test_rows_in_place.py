"""Loops over the rows of a tensor, and their derivatives, copy rows where they must and never the tensor."""

import re

import numpy as np
import pytest

from ksc.compiler import build_many, load
from ksc.ir.interpret import interpret
from ksc.ir.text import parse
from ksc.passes import optimise
from ksc.passes.pipeline import prepare
from ksc.transforms import vjp
from tests.codegen.harness import EXACT, call_tensors, tensor_source

HEAD = "(def f (Tensor 2 Float) ((x : (Tensor 2 Float))) (for (i (sub (get$1$2 (size x)) 1)) ((t x)) {}))"
BODIES = {
    "recurrence": """(let ((next (add i 1)) (a (index i t)) (b (index next t)))
      (update next t (build (size a) (lam (c : Integer) (sin (mul (index c a) (index c b)))))))""",
    "read after it was cleared": """(let ((row (index i t)) (next (add i 1))
        (u (for (c (size row)) ((u t)) (update (tuple i c) u 0.5))) (other (index next u)))
      (update next u (build (size row) (lam (c : Integer) (sin (mul (index c row) (index c other)))))))""",
    "product read after its row changed": """(let ((row (index i t)) (next (add i 1))
        (double (build (size row) (lam (c : Integer) (mul 2.0 (index c row)))))
        (u (update i t (index next t))) (other (index next u)))
      (update next u (build (size row) (lam (c : Integer) (mul (index c double) (index c other))))))""",
    "swap": """(let ((row (index i t)) (next (add i 1)) (u (update i t (index next t)))) (update next u row))""",
}


@pytest.fixture(scope="module")
def kernels():
    programs = {}
    for k, body in enumerate(BODIES.values()):
        program = prepare(parse(HEAD.format(body)))
        programs[f"f{k}"] = optimise(program)
        programs[f"g{k}"] = optimise(vjp(program))
    sources = {name: tensor_source(name, program) for name, program in programs.items()}
    built = map(load, build_many(list(sources.values()), EXACT))
    return {
        name: (program, sources[name], kernel) for (name, program), kernel in zip(programs.items(), built, strict=True)
    }


@pytest.mark.parametrize("body", BODIES)
def test_rows_alone_are_copied_in_loops(body, kernels):
    k = list(BODIES).index(body)
    rng = np.random.default_rng(0)
    x, y_bar = rng.normal(size=(6, 3)), rng.normal(size=(6, 3))
    plain = parse(HEAD.format(BODIES[body]))
    for name, args, true in (
        (f"f{k}", [x], interpret(plain, (x,))),
        (f"g{k}", [x, y_bar], interpret(vjp(plain), (x, y_bar))),
    ):
        program, source, kernel = kernels[name]
        status, (value,) = call_tensors(kernel, f"ks_{name}", program, args, [x.shape])
        assert status == 0
        np.testing.assert_allclose(value, true[0], rtol=1e-13, atol=1e-13)
        copies = re.findall(r"^( *)// copies (.*):", source.text, re.MULTILINE)
        assert all(".part(" in what for indent, what in copies if len(indent) > 4), copies

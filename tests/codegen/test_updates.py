"""A row that a loop makes for an update is made in its place, unless something still reads what was there."""

import numpy as np
import pytest

from ksc.compiler import build_many, load
from ksc.ir.interpret import interpret
from ksc.ir.text import parse
from tests.codegen.harness import EXACT, call_tensors, tensor_source

HEAD = """(def {} (Tensor 2 Float _ 9) ((x : (Tensor 2 Float _ 9)) (w : (Tensor 1 Float 9)))
  (for (i (size x 0)) ((t x)) {}))"""
ROW = "((r : (Tensor 1 Float 9)) (build 9 (lam (c : Integer) {})))"
IN_PLACE = {
    "of others": f"(let ({ROW.format('(mul 2.0 (index c w))')}) (update i t r))",
    "of its own": f"(let ({ROW.format('(add (index (tuple i c) t) (index c w))')}) (update i t r))",
    "of its own as a part": f"(let ((p (index i t)) {ROW.format('(add (index c w) (index c p))')}) (update i t r))",
    "of what is read before": f"(let ((s (index (tuple i 0) t)) {ROW.format('(mul s (index c w))')}) (update i t r))",
}
KEPT_APART = {
    "of its own elements": f"(let ({ROW.format('(mul (index (tuple i (sub 8 c)) t) (index c w))')}) (update i t r))",
    "of another row": f"(let ((j (max 0 (sub i 1))) {ROW.format('(index (tuple j (sub 8 c)) t)')}) (update i t r))",
    "of a part of it": f"(let ((p (index i t)) {ROW.format('(mul 2.0 (index (sub 8 c) p))')}) (update i t r))",
    "of its sine": f"(let ({ROW.format('(sin (index (tuple i c) t))')}) (update i t r))",
    "of its own twice": """(let ((((r : (Tensor 1 Float 9)) (s : (Tensor 1 Float 9))) (build 9 (lam (c : Integer)
        (values (add (index (tuple i c) t) 1.0) (add (index c (index i t)) (index c w))))))) (update 0 (update i t r) s))""",
    "read between": f"""(let ({ROW.format("(mul 2.0 (index c w))")} (s (index (tuple i 3) t)))
        (update i (update (tuple 0 0) t s) r))""",
    "read later": f"""(let ({ROW.format("(mul 2.0 (index c w))")} (u (update i t r)))
        (update 0 u (build 9 (lam (c : Integer) (mul (index c r) 3.0)))))""",
    "perhaps not there": f"(let ((j (sub (size x 0) (add i i))) {ROW.format('(index c w)')}) (if (gt j 0) (update (sub j 1) t r) t))",
}
BODIES = IN_PLACE | KEPT_APART
OF_ANY_SIZE = {f"{name}, of any size": BODIES[name] for name in ("of its own", "of its own elements")}


@pytest.fixture(scope="module")
def kernels():
    texts = [HEAD.format("f", body) for body in BODIES.values()]
    for body in OF_ANY_SIZE.values():
        texts.append(HEAD.format("f", body).replace("9)", "_)").replace("(build 9", "(build (size x 1)"))
    programs = {f"f{k}": parse(text.replace("def f ", f"def f{k} ", 1)) for k, text in enumerate(texts)}
    sources = [tensor_source(name, program) for name, program in programs.items()]
    built = map(load, build_many(sources, EXACT))
    return dict(zip(BODIES | OF_ANY_SIZE, zip(programs.items(), sources, built, strict=True), strict=True))


@pytest.mark.parametrize("body", BODIES | OF_ANY_SIZE)
def test_rows_are_made_in_their_place(body, kernels):
    (name, program), source, kernel = kernels[body]
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(5, 9)), rng.normal(size=9)
    status, (value,) = call_tensors(kernel, f"ks_{name}", program, [x, w], [x.shape])
    assert status == 0
    np.testing.assert_allclose(value, interpret(program, (x, w))[0], rtol=1e-14)
    assert ("ks::put(" in source.text) == (body.partition(",")[0] in KEPT_APART), source.text

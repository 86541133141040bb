"""The bytes that a reversed loop asks its host for, as docs/design/0007 states them for each kind of carry."""

import numpy as np
import pytest

from ksc.compiler import build_many, load
from ksc.ir.text import parse
from ksc.ir.types import TensorType
from ksc.passes import optimise
from ksc.transforms import vjp
from tests.codegen.harness import EXACT, Measured, call_tensors, tensor_source
from tests.transforms.tensor_loops import LOOPS

COUNTER = """(def f Float (x : (Tensor 1 Float))
  (let (((s k) (for (i (size x)) ((s 0.0) (k 7)) (values (add s (mul (index i x) (to_float k))) (add k 3))))) s))"""
WHILE = """(def f Float (x : (Tensor 1 Float))
  (let (((p i) (while ((p 1.0) (i 0)) (and (lt i (size x)) (lt p 1e9))
                 (values (add (sin p) (index i x)) (add i 1))))) p))"""
STATE = """(def f (Tensor 1 Float) (x : (Tensor 1 Float))
  (for {} (k (mul 4 (size x))) ((h (build 8 (lam (i : Integer) (index i x)))))
    (build (size h) (lam (i : Integer) (sin (add (index i x) (mul (index i h) (index 0 h))))))))"""
RECURSION = """(def power Float ((x : Float) (n : Integer)) (if (lte n 0) 1.0 (mul x (power (sin x) (sub n 1)))))
(def f Float (x : (Tensor 1 Float)) (power (index 0 x) (size x)))"""

# By the kind of carry a program, and for the size of x how many numbers its tape holds and the tensors that are carried.
KINDS = {
    "counter": (parse(COUNTER), lambda n: (0, 0)),
    "number": (LOOPS["running_product"][0], lambda n: (n, 0)),
    "number of a while": (parse(WHILE), lambda n: (4 * n, 0)),
    "elements overwritten": (LOOPS["prefix_norms_read_back"][0], lambda n: (n, 2 * n)),
    "elements overwritten in branches of inner loops": (LOOPS["bubble_sort"][0], lambda n: (3 * n * n, 2 * n)),
    "table": (LOOPS["table"][0], lambda n: (n * n, 2 * n * n)),
    "rows overwritten": (LOOPS["rows"][0], lambda n: (n * n, 2 * n * n)),
    "bound anew": (parse(STATE.format("")), lambda n: (4 * n * 8, 4 * 8)),
    "bound anew with checkpoints": (parse(STATE.format(":checkpoint 0")), lambda n: ((3 + 1) * 2 * n**0.5 * 8, 4 * 8)),
    "recursion": (parse(RECURSION), lambda n: (8 * n, 0)),
}

BESIDES = 20_000


@pytest.fixture(scope="module")
def kernels():
    derived = {f"k{k}": optimise(vjp(program)) for k, (program, _) in enumerate(KINDS.values())}
    built = build_many([tensor_source(name, program) for name, program in derived.items()], EXACT)
    opened = zip(derived.items(), map(load, built), strict=True)
    return dict(zip(KINDS, opened, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_a_reversed_loop_stays_within_its_bound(kind, kernels):
    """With a hundred times the elements, too: what is held at once is the tape and the tensors that are carried."""
    (name, program), kernel = kernels[kind]
    x_type, bar_type = (param.type for param in program.main.params)
    matrix = x_type.rank == 2
    for n in (8, 80) if matrix or kind.endswith("loops") else (20, 2000):
        x = np.random.default_rng(0).uniform(0.5, 1.0, (n, n) if matrix else n)
        sizes = {"bound anew": (8,), "bound anew with checkpoints": (8,)}.get(kind, x.shape)
        bar = np.ones(sizes if isinstance(bar_type, TensorType) else ())
        host = Measured()
        status, _ = call_tensors(kernel, f"ks_{name}", program, [x, bar], [x.shape], host=host)
        assert status == 0
        assert host.most <= 8 * sum(KINDS[kind][1](n)) + BESIDES

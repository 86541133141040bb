"""Sums of products, wherever they stand, become products of whole matrices."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

import ksc as knossos
from ksc.ir.interpret import interpret
from ksc.ir.nodes import walk
from ksc.ir.text import parse
from ksc.ir.verify import verify
from ksc.passes.contractions import take_out_additions
from ksc.passes.product import product_of


@knossos.register
def matrices(a: Tensor, b: Tensor) -> Tensor:
    return a @ b


@knossos.register
def columns(a: Tensor, b: Tensor) -> Tensor:
    return torch.tanh(b @ a.T)


@knossos.register
def layer(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    return torch.tanh(torch.nn.functional.linear(x, w, b))


@knossos.vmap(in_dims=(0, None, None, None, None))
def perceptron(x: Tensor, w: Tensor, b: Tensor, v: Tensor, c: Tensor) -> Tensor:
    return v @ torch.tanh(w @ x + b) + c


@knossos.register
def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return torch.softmax(q @ k.T / math.sqrt(q.shape[1]), 1) @ v


@knossos.vmap
def heads(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return torch.softmax(q @ k.T / math.sqrt(q.shape[1]), 1) @ v


@knossos.register
def batches(a: Tensor, b: Tensor) -> Tensor:
    return torch.bmm(a, b)


@knossos.register
def row(x: Tensor, w: Tensor) -> Tensor:
    return torch.sin(x @ w)


def perceptron_pt(x: Tensor, w: Tensor, b: Tensor, v: Tensor, c: Tensor) -> Tensor:
    linear = torch.nn.functional.linear
    return linear(torch.tanh(linear(x, w, b)), v, c)


KERNELS = {
    # A kernel, the same in PyTorch, sizes of arguments from five numbers, products in the value and in the vjp.
    "matrices": (matrices, torch.matmul, lambda n, m, k, h, o: ((n, k), (k, m)), 1, 2),
    "columns": (columns, lambda a, b: torch.tanh(b @ a.T), lambda n, m, k, h, o: ((n, k), (m, k)), 1, 3),
    "layer": (
        layer,
        lambda x, w, b: torch.tanh(torch.nn.functional.linear(x, w, b)),
        lambda n, m, k, h, o: ((n, k), (m, k), (m,)),
        1,
        3,
    ),
    "perceptron": (perceptron, perceptron_pt, lambda n, m, k, h, o: ((n, k), (h, k), (h,), (o, h), (o,)), 2, 5),
    "attention": (
        attention,
        lambda q, k, v: torch.softmax(q @ k.T / math.sqrt(q.shape[1]), 1) @ v,
        lambda n, m, k, h, o: ((n, k), (m, k), (m, o)),
        2,
        5,
    ),
    "heads": (
        heads,
        lambda q, k, v: torch.softmax(q @ k.mT / math.sqrt(q.shape[2]), 2) @ v,
        lambda n, m, k, h, o: ((h, n, k), (h, m, k), (h, m, o)),
        2,
        5,
    ),
    "batches": (batches, torch.bmm, lambda n, m, k, h, o: ((h, n, k), (h, k, m)), 1, 2),
    "row": (row, lambda x, w: torch.sin(x @ w), lambda n, m, k, h, o: ((k,), (k, m)), 1, None),
}
SIZES = [(3, 5, 17, 9, 10), (33, 20, 40, 70, 9), (1, 1, 1, 1, 1), (0, 4, 3, 2, 5), (4, 6, 0, 3, 2), (30, 40, 50, 0, 7)]


def arguments(name: str, sizes: tuple[int, ...], dtype: torch.dtype) -> list[Tensor]:
    generator = torch.Generator().manual_seed(sum(sizes))
    shapes = KERNELS[name][2](*sizes)
    return [torch.randn(*shape, generator=generator, dtype=dtype, requires_grad=True) for shape in shapes]


@pytest.mark.parametrize("name", KERNELS)
def test_each_product_is_computed_as_a_whole(name: str) -> None:
    kernel, _, _, primal, derivative = KERNELS[name]
    args = arguments(name, SIZES[0], torch.float32)
    kernel(*args)
    assert kernel.cpp.count("ks::multiply(") == primal
    if derivative is not None:
        text = kernel._latest.source("v", torch.float32).text
        assert text.count("ks::multiply(") == derivative


@pytest.mark.parametrize("name", KERNELS)
def test_values_and_gradients(name: str) -> None:
    kernel, reference, *_ = KERNELS[name]
    for sizes in SIZES:
        if name in ("attention", "heads") and 0 in sizes:
            continue
        args = arguments(name, sizes, torch.float32)
        got, want = kernel(*args), reference(*args)
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)
        seed = torch.randn(want.shape, generator=torch.Generator().manual_seed(1))
        for g, w in zip(*(torch.autograd.grad(y, args, seed) for y in (got, want)), strict=True):
            torch.testing.assert_close(g, w, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["matrices", "layer"])
def test_second_order(name: str) -> None:
    kernel = KERNELS[name][0]
    args = arguments(name, (9, 3, 4, 5, 2), torch.float64)
    assert torch.autograd.gradcheck(kernel, args)
    assert torch.autograd.gradgradcheck(kernel, args)


def test_nothing_but_a_row_and_a_column_sees_nan() -> None:
    a, b = torch.randn(20, 30), torch.randn(30, 25)
    a[3, 7], b[4, 11] = math.nan, math.inf
    got = torch.isfinite(matrices(a, b))
    want = torch.ones(20, 25, dtype=torch.bool)
    want[3], want[:, 11] = False, False
    assert torch.equal(got, want)


def test_tangents_of_products_are_products() -> None:
    a, b = (torch.randn(9, 12, 12) for _ in range(2))
    a_dot, b_dot = torch.randn_like(a), torch.randn_like(b)
    _, tangent = torch.func.jvp(batches, (a, b), (a_dot, b_dot))
    torch.testing.assert_close(tangent, a_dot @ b + a @ b_dot, rtol=1e-4, atol=1e-4)
    special, _ = batches._specialise((a, b), {})
    assert special.source("j", torch.float32).text.count("ks::multiply(") == 2


def test_a_value_and_its_tangent_are_products_of_their_own() -> None:
    args = [arg.detach() for arg in arguments("layer", SIZES[0], torch.float64)]
    dots = [torch.cos(arg) for arg in args]
    _, tangent = torch.func.jvp(layer, tuple(args), tuple(dots))
    _, wanted = torch.func.jvp(KERNELS["layer"][1], tuple(args), tuple(dots))
    torch.testing.assert_close(tangent, wanted)
    special, _ = layer._specialise(tuple(args), {})
    assert special.source("j", torch.float64).text.count("ks::multiply(") == 3


def test_threads_share_out_products() -> None:
    args = [torch.randn(300, 24, 24, requires_grad=True) for _ in range(2)]
    special, _ = batches._specialise(args, {})
    text = special.source("v", torch.float32).text
    assert text.count("ks::parallel(") == text.count("ks::multiply(") == 2
    seed, threads = torch.randn(300, 24, 24), torch.get_num_threads()
    found = []
    for count in (1, 3):
        torch.set_num_threads(count)
        found.append(torch.autograd.grad(batches(*args), args, seed))
    torch.set_num_threads(threads)
    assert all(map(torch.equal, *found))


def test_products_of_lanes_are_rows_of_results() -> None:
    q, k, v = (torch.randn(3, 9, 12) for _ in range(3))
    special, _ = heads._specialise((q, k, v), {})
    ops = [eqn.op for eqn in walk(special.program_of("v").main.body)]
    assert "acc_add" not in ops
    # What the value and its derivative need of a row is computed in one loop.
    assert ops.count("exp") == 1
    special, _ = matrices._specialise((q[0], q[0].T), {})
    program = special.program_of("vm111")
    assert all(product_of(eqn) is not None for eqn in program.main.body.eqns if eqn.op == "build")


def test_a_matrix_of_one_column() -> None:
    a, b = torch.randn(20, 30, requires_grad=True), torch.randn(30, 1, requires_grad=True)
    got = matrices(a, b)
    torch.testing.assert_close(got, a @ b, rtol=1e-4, atol=1e-4)
    seed = torch.randn(20, 1)
    for g, w in zip(*(torch.autograd.grad(y, (a, b), seed) for y in (got, a @ b)), strict=True):
        torch.testing.assert_close(g, w, rtol=1e-4, atol=1e-4)
    # Its elements lie side by side, whatever the number of columns of the tensor is when the kernel runs.
    special, _ = matrices._specialise((a, b), {})
    assert "b[i_2]" in special.source("", torch.float32).text


def test_strides() -> None:
    a, b = torch.randn(31, 20).t(), torch.randn(31, 40)[:, ::2]
    torch.testing.assert_close(matrices(a, b), a @ b, rtol=1e-4, atol=1e-4)


def test_lanes_agree_on_sizes_before_they_start() -> None:
    x, w, b, v, c = (arg.detach() for arg in arguments("perceptron", SIZES[1], torch.float32))
    for lanes in (33, 0):
        with pytest.raises(RuntimeError, match=r"w\.shape\[1\] and x\.shape\[0\] must agree"):
            perceptron(x[:lanes, :30], w, b, v, c)


@knossos.register
def beyond(a: Tensor, b: Tensor, n: int) -> Tensor:
    out = torch.zeros(n, n)
    for i in range(n):
        for j in range(n):
            total = 0.0
            for k in range(n):
                total = total + a[i, k] * b[k, j]
            out[i, j] = total
    return out


def test_what_may_be_out_of_range_is_checked() -> None:
    a, b = torch.randn(12, 12), torch.randn(12, 12)
    torch.testing.assert_close(beyond(a, b, 12), a @ b, rtol=1e-4, atol=1e-4)
    with pytest.raises(RuntimeError, match="index 12 is out of range"):
        beyond(a, b, 13)


def test_small_matrices_stay_loops() -> None:
    @knossos.vmap
    def turned(r: Tensor, x: Tensor) -> Tensor:
        return r @ x

    r, x = torch.randn(9, 3, 3), torch.randn(9, 3)
    torch.testing.assert_close(turned(r, x), torch.einsum("nij,nj->ni", r, x))
    assert "multiply" not in turned.cpp


ADDITIONS = """
(def f (Tensor 2 Float) ((a : (Tensor 2 Float)) (b : (Tensor 2 Float)) (c : (Tensor 1 Float)) (go : Bool))
  (let ((n (size a 0)) (d (size a 1)) (m (size b 1)) (db (size b 0)) (t (eq d db)) (dc (size c)) (u (eq d dc))
        (() (require t "")) (() (require u ""))
        (zeros (build (tuple n m) (lam ((i : Integer) (j : Integer)) 0.0))))
    (withacc ((acc zeros)) {body})))
"""
NEST = """
(for (i n) () (for (j m) () (for (k d) ()
  (let ((x {first}) (y (index (tuple k j) b)) (xy (mul x y))) (acc_add (tuple i j) acc xy)))))
"""
PAIRS = NEST.format(first="(index (tuple i k) a)")


@pytest.mark.parametrize(
    ("body", "goes", "products"),
    [
        (PAIRS, True, 1),
        (NEST.format(first="(index k c)"), False, 1),
        (f"(if go {PAIRS} (values))", False, 0),
        (f"(for (r 3) () {PAIRS})", False, 1),
        (f"(for (r 3) () (let ((e (eq r 1))) (if e {PAIRS} (values))))", False, 0),
        (f"(let (() {PAIRS}) {PAIRS})", False, 2),
    ],
    ids=["products", "the same in each row", "perhaps", "three times", "once in three times", "from two places"],
)
def test_additions_become_a_product_and_all_of_it_if_nothing_else_is_added(
    body: str, goes: bool, products: int
) -> None:
    program = parse(ADDITIONS.format(body=body))
    moved = take_out_additions(program)
    verify(moved)
    assert any(eqn.op == "acc_add" for eqn in walk(moved.main.body)) is not goes
    assert sum(product_of(eqn) is not None for eqn in walk(moved.main.body)) == products
    generator = torch.Generator().manual_seed(0)
    a, b, c = (
        torch.randn(*sizes, generator=generator, dtype=torch.float64).numpy() for sizes in ((3, 4), (4, 2), (4,))
    )
    for go in (True, False):
        (got,), (want,) = interpret(moved, (a, b, c, go)), interpret(program, (a, b, c, go))
        torch.testing.assert_close(torch.as_tensor(got), torch.as_tensor(want))


@knossos.register
def without_first_row(a: torch.Tensor, b: torch.Tensor):
    return a[1:] @ b


def test_what_a_product_multiplies_may_be_a_slice() -> None:
    special, _ = without_first_row.example((torch.ones(20, 30), torch.ones(30, 20)))
    for derivation, count in (("", 1), ("v", 2)):
        made = [product_of(eqn) for eqn in walk(special.program_of(derivation).main.body)]
        assert sum(product is not None for product in made) == count

"""Loops in stretches over which quotients stay the same: values and errors are the interpreter's, no iteration divides."""

import re

import numpy as np
import pytest
import torch

import ksc as knossos
from ksc.compiler import build, load
from ksc.errors import KernelRuntimeError
from ksc.ir.interpret import interpret
from ksc.ir.text import parse
from ksc.ir.verify import verify
from tests.codegen.harness import EXACT, Host, call_tensors, tensor_source

QUOTIENTS = parse("""
(entry f)
(def f (Values (Tensor 2 Integer) (Tensor 2 Integer) (Tensor 2 Integer) (Tensor 2 Float) (Tensor 1 Float))
       ((x : (Tensor 1 Float)) (n : Integer) (m : Integer) (a : Integer) (b : Integer) (c : Integer))
  (let (((q r s v)
         (build (tuple n m)
           (lam ((i : Integer) (j : Integer))
             (let ((row (mul i a))
                   (p (add row j))
                   (q (idiv p b))
                   (r (imod p b))
                   (far (sub j a))
                   (s (imod far c))
                   (outer (imod q c))
                   (at (imod outer 3))
                   (y (index at x))
                   (z (index a x))
                   (w (to_float r))
                   (u (mul y w))
                   (v (add u z)))
               (values q r s v)))))
        (t (build m (lam (j : Integer)
             (reduce add n (lam (i : Integer) (let ((k (imod i b)) (w (to_float k)) (y (index a x))) (mul w y))))))))
    (values q r s v t)))
""")


@pytest.fixture(scope="module")
def quotients():
    verify(QUOTIENTS)
    return load(build(tensor_source("f", QUOTIENTS), EXACT))


LARGE = 2**63 - 1
CASES = [
    (n, m, a, b, c)
    for n, m in ((0, 5), (3, 0), (1, 1), (3, 40))
    for a, b, c in (
        (2, 7, 3), (0, 40, 40), (1, 1, 1), (2, 41, 5), (1, -4, 7), (2, 5, -3), (1, LARGE, -LARGE), (2, -1, 2),
        (2, 0, 3), (1, 3, 0), (3, 4, 5), (-1, 4, 5), (4, 0, 0),
    )
]  # fmt: skip


@pytest.mark.parametrize(("n", "m", "a", "b", "c"), CASES)
def test_values_and_errors_are_those_of_the_interpreter(quotients, n, m, a, b, c):
    args = (np.array([2.0, -3.0, 0.5]), n, m, a, b, c)
    host = Host()
    arrays = [args[0], *(np.array(arg, np.int64) for arg in args[1:])]
    status, outs = call_tensors(quotients, "ks_f", QUOTIENTS, arrays, [(n, m)] * 4 + [(m,)], host=host)
    try:
        expected = interpret(QUOTIENTS, args)
    except KernelRuntimeError as error:
        assert status != 0 and host.error is not None
        assert host.error[1] == error.span.line
        return
    assert status == 0, host.error
    for out, value in zip(outs, expected, strict=True):
        np.testing.assert_array_equal(out, np.asarray(value).reshape(out.shape))


WRAPPING = parse("""
(entry f)
(def f (Values (Tensor 1 Integer) (Tensor 1 Integer)) ((m : Integer) (a : Integer) (b : Integer))
  (build m (lam (j : Integer) (let ((p (add j a))) (values (idiv p b) (imod p b))))))
""")


def test_sums_that_wrap_are_divided_as_they_are():
    kernel = load(build(tensor_source("f", WRAPPING), EXACT))
    for a in (LARGE - 30, -LARGE - 1):
        for b in (7, 2**62, LARGE, -LARGE - 1):
            arrays = [np.array(arg, np.int64) for arg in (64, a, b)]
            status, outs = call_tensors(kernel, "ks_f", WRAPPING, arrays, [(64,)] * 2)
            assert status == 0
            for out, value in zip(outs, interpret(WRAPPING, (64, a, b)), strict=True):
                np.testing.assert_array_equal(out, value)


def group_norm(x: torch.Tensor, groups: int):
    n, c, h, w = x.shape
    y = x.reshape(n, groups, -1)
    y = (y - y.mean(-1, keepdim=True)) * torch.rsqrt(y.var(-1, keepdim=True, unbiased=False) + 1e-5)
    return y.reshape(n, c, h, w)


def rolled(x: torch.Tensor, shift: int):
    return torch.roll(x, shift, -1) * torch.roll(x, (3, -1), (0, -1))


@pytest.mark.parametrize("f", [group_norm, rolled])
def test_no_innermost_loop_divides_or_stops(f):
    kernel = knossos.register(f)
    x = torch.randn(2, 6, 5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    for number in (3, 2):
        bar = torch.sin(torch.arange(x.numel(), dtype=x.dtype)).reshape(x.shape)
        given, expected = kernel(x, number), f(x, number)
        torch.testing.assert_close(given, expected, rtol=1e-12, atol=1e-12)
        for one, other in zip(torch.autograd.grad(given, x, bar), torch.autograd.grad(expected, x, bar), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-10)
    special, _ = kernel._specialise((x, 2), {})
    for derivation in ("", "v"):
        text = special.source(derivation, x.dtype).text
        innermost = re.findall(r"\n( +)for \(.*\n((?:\1 (?!.*for \().*\n)+)\1\}", text)
        assert innermost
        assert not any("idiv" in body or "imod" in body or "rt." in body for _, body in innermost)


def halves(x: torch.Tensor, more: int):
    y = torch.zeros(2 * x.shape[0] + more)
    for i in range(2 * x.shape[0] + 1):
        y[i] = x[i // 2] + x[(i // 2) // 1]
    return y


def pairs(x: torch.Tensor):
    c, w = x.shape
    return x.reshape(c // 2, 2, w).permute(0, 2, 1).reshape(c // 2, 2 * w) * 2.0


def test_quotients_are_known_to_be_in_range_only_where_they_are():
    x = torch.arange(12.0).reshape(4, 3)
    kernel = knossos.register(pairs)
    assert torch.equal(kernel(x), pairs(x))
    assert "ks::outside" not in kernel.cpp
    with pytest.raises(RuntimeError, match="index 3 is out of range"):
        knossos.register(halves)(x[0], 1)


def scaled(x: torch.Tensor, w: torch.Tensor):
    n, c, h = x.shape
    return (x.reshape(n, 2, c // 2, h) * w[:, None, None]).reshape(n, c, h) * 2.0


def test_what_a_stretch_adds_up_is_one_number_in_it():
    x, w = torch.randn(2, 4, 19, dtype=torch.float64), torch.randn(2, dtype=torch.float64)
    special, _ = knossos.register(scaled)._specialise((x, w), {})
    loops = special.source("v", x.dtype).text
    assert re.search(r"KS_SUM\(w_bar\w*\)\n", loops)

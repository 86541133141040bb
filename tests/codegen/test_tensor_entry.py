"""The calling convention of tensor entries: strides, storage, sizes, errors."""

import numpy as np
import pytest

from ksc.codegen import Unit
from ksc.codegen.cpp import generate
from ksc.compiler import build, load
from ksc.errors import InvalidIRError
from ksc.ir.builder import Builder
from ksc.ir.nodes import Function, Program, Var
from ksc.ir.text import parse
from ksc.ir.types import BoxType
from tests.codegen.harness import EXACT, Host, call_tensors, stored_as, tensor_source

ROWS = """
(def rows (Values (Tensor 1 Float) Integer (Tensor 2 Bool) Float)
  ((m : (Tensor 2 Float)) (k : (Tensor 1 Integer)) (flag : (Tensor 1 Bool)) (scale : Float))
  (values
    (build (size m 0) (lam (i : Integer) (mul scale (reduce add (size m 1) (lam (j : Integer) (index (tuple i j) m))))))
    (reduce add (size k) (lam (i : Integer) (index i k)))
    (build (tuple (size m 1) (size flag)) (lam ((i : Integer) (j : Integer)) (and (index j flag) (gt scale 1.0))))
    scale))
"""


@pytest.fixture(scope="module", params=["float32", "float64", "float16"])
def rows(request):
    program = parse(ROWS)
    return request.param, program, load(build(tensor_source("rows", program, request.param), EXACT))


LAYOUTS = {
    "contiguous": lambda a: a,
    "transposed": lambda a: np.ascontiguousarray(a.T).T,
    "every other": lambda a: np.repeat(a, 2, axis=a.ndim - 1)[..., ::2],
    "reversed": lambda a: np.ascontiguousarray(a[::-1])[::-1],
    "shared": lambda a: np.broadcast_to(a[:1], a.shape),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(3, 5), (1, 1), (1, 4), (4, 1), (0, 3), (3, 0), (0, 0)])
def test_any_strides(rows, layout, shape):
    dtype, program, kernel = rows
    if layout == "shared" and shape[0] == 0:
        shape = (2, 2)
    count = shape[0]
    arguments = (np.arange(np.prod(shape)).reshape(shape), np.arange(count) * 7, np.arange(count) % 2 == 0, 2.0)
    given = [
        np.asarray(a, stored_as(p.type, dtype))
        if np.ndim(a) == 0
        else LAYOUTS[layout](np.asarray(a, stored_as(p.type, dtype)))
        for a, p in zip(arguments, program.main.params, strict=True)
    ]
    m, k, flag, scale = given
    host = Host()
    shapes = [(shape[0],), (), (shape[1], count), ()]
    status, outs = call_tensors(kernel, "ks_rows", program, given, shapes, dtype, host)
    assert (status, host.error, host.blocks) == (0, None, [])
    np.testing.assert_array_equal(outs[0], 2 * m.astype(np.float64).sum(1))
    assert outs[1] == k.sum()
    np.testing.assert_array_equal(outs[2], np.broadcast_to(flag, shapes[2]))
    assert outs[3] == scale


def test_descriptors_without_strides_are_contiguous(rows):
    dtype, program, kernel = rows
    given = [np.ones((2, 3), dtype), np.array([5]), np.array([True]), np.array(3.0, dtype)]
    status, outs = call_tensors(kernel, "ks_rows", program, given, [(2,), (), (3, 1), ()], dtype, strides=False)
    assert status == 0
    np.testing.assert_array_equal(outs[0], [9, 9])


def test_result_of_another_size_is_refused(rows):
    dtype, program, kernel = rows
    given = [np.ones((2, 3), dtype), np.array([5]), np.array([True]), np.array(3.0, dtype)]
    host = Host()
    status, _ = call_tensors(kernel, "ks_rows", program, given, [(2,), (), (1, 3), ()], dtype, host)
    assert status == 1
    assert host.error == (6, 0, "a result has other sizes than were computed for it")
    assert host.blocks == []


@pytest.mark.parametrize(
    ("text", "shapes"),
    [
        ("(def f (Values) ((x : (Tensor 1 Float))) (values))", []),
        ("(def f (Tensor 1 Float) ((x : (Tensor 1 Float))) x)", [(3,)]),
        ("(def f (Values (Tensor 1 Float) (Tensor 1 Float)) ((x : (Tensor 1 Float))) (values x x))", [(3,), (3,)]),
        ("(def f Float ((x : (Tensor 1 Float))) 2.5)", [()]),
    ],
)
def test_results_that_need_no_work(text, shapes):
    program = parse(text)
    kernel = load(build(tensor_source("f", program), EXACT))
    x = np.array([1.0, 2.0, 3.0])
    status, outs = call_tensors(kernel, "ks_f", program, [x], shapes)
    assert status == 0
    for out in outs:
        np.testing.assert_array_equal(out, x if out.ndim else 2.5)


def test_boxes_do_not_leave_a_kernel():
    box = Var("b", BoxType("saved"))
    program = Program({"f": Function("f", Builder().block([box], []))}, "f", {"saved": ()})
    with pytest.raises(InvalidIRError, match="scalars and tensors"):
        generate(Unit("f", [("", program)], kind="tensor"))


def test_a_unit_holds_several_entries():
    program = parse(ROWS)
    source = generate(Unit("rows", [("", program), ("m10", program)], kind="tensor"))
    assert source.entries == {"": "ks_rows", "m10": "ks_rows_vmap10"}

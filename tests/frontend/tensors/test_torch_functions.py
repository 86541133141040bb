"""Calls of torch functions that are turned down, stop a kernel, or differ from torch on purpose."""

import math

import pytest
import torch
from torch.nn import functional as F

from ksc.errors import KernelRuntimeError, KnossosError
from ksc.frontend import Abstract, trace
from ksc.frontend.library import known_function
from ksc.frontend.tensors.refusals import REFUSED
from ksc.frontend.tensors.table import OWNERS, TABLE
from ksc.ir.types import Bool, Float, Integer, TensorType
from ksc.transforms import vjp
from tests.ops.tensor_oracle import check, run

MATRIX = Abstract(TensorType(2, Float))
VECTOR = Abstract(TensorType(1, Float))
INTEGERS = Abstract(TensorType(1, Integer))
TRUTHS = Abstract(TensorType(1, Bool))


@pytest.fixture(autouse=True)
def double():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


REFUSALS = [
    (lambda x: torch.sum(x, out=x), "sum() with out=", "bind the result"),
    (lambda x: torch.sin(x, out=x), "sin() with out=", "bind the result"),
    (lambda x: torch.softmax(x, 0, out=x), "softmax() with out=", "bind the result"),
    (lambda x: F.relu(x, inplace=True), "relu() with inplace=True", "x = relu(x)"),
    (lambda x: torch.sum(x, dims=1), "the argument 'dims'", "it is sum(input, dim, keepdim, dtype)"),
    (lambda x: torch.sum(x, 5), "no dimension 5", "use -2 to 1"),
    (lambda x: torch.sum(x, (0, 0)), "a dimension twice", "once"),
    (lambda x: torch.sum(), "not given its argument 'input'", "it is sum"),
    (lambda x: torch.zeros(2, dtype=torch.float32), "dtype=torch.float32", "x.dtype"),
    (lambda x: torch.zeros(2, dtype=torch.int32), "dtype=torch.int32", "torch.int64"),
    (lambda x: torch.rand(3), "draws random numbers", "pass the random tensor as an argument"),
    (lambda x: torch.randn_like(x), "draws random numbers", "pass the random tensor"),
    (lambda x: F.dropout(x), "draws random numbers", "mask"),
    (lambda x: F.mse_loss(x, x, reduction="average"), "reduction is not known", "'mean'"),
    (lambda x: F.batch_norm(x, x[0], x[0], training=True), "running statistics", "training=False"),
    (lambda x: torch.unique(x), "depends on the elements", "mask"),
    (lambda x: torch.linalg.eig(x), "eig()", "outside"),
    (lambda x: torch.mode(x), "mode()", "argmax()"),
    (lambda x: torch.lobpcg(x), "lobpcg()", "kernels know"),
    (lambda x: torch.einsum("ij,j->i", x), "2 terms", "one term per tensor"),
    (lambda x: torch.einsum("i->i", x), "the term 'i'", "one letter per dimension"),
    (lambda x: torch.einsum("ij->ik", x), "output 'ik'", "once"),
    (lambda x: torch.mm(x, torch.zeros(3)), "2 and 2 dimensions", "matmul()"),
    (lambda x: torch.cat([]), "of no tensors", "at least one"),
    (lambda x: torch.cat([x, torch.zeros(3)]), "different numbers of dimensions", "unsqueeze"),
    (lambda x: torch.tensor([[1.0], [1.0, 2.0]]), "different lengths", "equal length"),
    (lambda x: F.one_hot(torch.arange(3)), "without num_classes", "pass num_classes"),
    (lambda x: torch.eye(2) + torch.eye(3), "sizes 2 and 3 must agree", "fit together"),
    (lambda x: torch.zeros(3) @ torch.zeros(2), "sizes 3 and 2 must agree", "fit together"),
    (lambda x: F.pad(x, (1, 1), mode="mirror"), "mode='mirror'", "'reflect'"),
    (lambda x: torch.mean(torch.arange(3)), "floating point", "x * 1.0"),
    (lambda x: 1.0 if x > 0 else 2.0, "ambiguous", ".any()"),
    (lambda x: float(x), "is not a number", ".sum()"),
    (lambda x: x + None, "not defined", "tensors and numbers"),
    (lambda x: (x > 0) - (x < 1), "not defined on truth values", "logical_xor"),
    (lambda x: torch.linalg.matrix_norm(x, 2), "ord=2", "'fro'"),
    (lambda x: torch.max(torch.zeros(0)), "no elements", None),
    (lambda x: F.interpolate(x[None], size=4, mode="bilinear"), "needs 4 dimensions, not 3", "another mode"),
    (lambda x: F.interpolate(x[None], scale_factor=0.3), "how the product is rounded", "give size"),
    (lambda x: torch.bincount(torch.arange(3)), "size would depend", "minlength"),
    (lambda x: x.scatter_reduce(0, torch.zeros(1, 1, dtype=torch.int64), x, "max"), "reduce='max'", "'amax'"),
    (lambda x: F.grid_sample(x, x), "4 or of 5 dimensions, not 2 and 2", "reshape"),
    (lambda x: F.grid_sample(x, x, "cubic"), "mode='cubic'", "'bicubic'"),
    (lambda x: torch.arange(3, 0), "sign of the step", None),
]


@pytest.mark.parametrize(("function", "reason", "instead"), REFUSALS, ids=[reason for _, reason, _ in REFUSALS])
def test_refusals(function, reason, instead):
    with pytest.raises(KnossosError) as caught:
        trace(function, [MATRIX])
    assert reason in caught.value.message
    assert instead is None or instead in str(caught.value.remedy)
    assert caught.value.span is not None
    assert caught.value.span.file == __file__


STOPS = [
    (lambda x: torch.amax(x), (torch.zeros(0, 3),), "no elements"),
    (lambda x: x + torch.zeros(4), (torch.zeros(2, 3),), "must be 4"),
    (lambda x: x @ x, (torch.zeros(2, 3),), "must agree"),
    (lambda x: torch.zeros(x.shape[0] - 3), (torch.zeros(2, 3),), "negative"),
    (lambda x: torch.linalg.inv(x), (torch.zeros(2, 2),), "singular"),
    (lambda x: torch.linalg.cholesky(x), (-torch.eye(2),), "positive definite"),
    (lambda x: F.pad(x, (3, 0), mode="reflect"), (torch.zeros(2, 3),), "reflected"),
    (lambda x: F.interpolate(x[None], size=x.shape[0]), (torch.zeros(0, 3),), "a size is zero"),
    (lambda x: x.masked_scatter(x < 1.0, x[0]), (torch.zeros(2, 3),), "fewer elements"),
    (lambda x: torch.bincount(x[0].long(), minlength=2), (2.0 * torch.ones(2, 3),), "not below minlength"),
    (lambda x: F.fold(x, (2, 2), 2), (torch.zeros(4, 2),), "a column for each window"),
    (lambda x: torch.pixel_shuffle(x[:, :, None], 2), (torch.zeros(2, 3),), "squares do not divide"),
    (lambda x: torch.topk(x, 4).values, (torch.zeros(2, 3),), "larger than the dimension"),
]


@pytest.mark.parametrize(("function", "args", "message"), STOPS, ids=[message for *_, message in STOPS])
def test_run_time_errors_name_the_line_of_the_call(function, args, message):
    program = trace(function, [MATRIX]).program
    with pytest.raises(KernelRuntimeError) as caught:
        run(program, args)
    assert message in caught.value.message
    assert caught.value.span.file == __file__


def test_index_out_of_range():
    program = trace(lambda x, n: torch.index_select(x, 0, n), [MATRIX, INTEGERS]).program
    with pytest.raises(KernelRuntimeError, match="out of range"):
        run(program, [torch.zeros(2, 3), torch.tensor([2])])


def test_a_size_of_one_at_run_time_is_not_stretched():
    program = trace(lambda x, y: x + y, [VECTOR, VECTOR]).program
    with pytest.raises(KernelRuntimeError, match="must agree"):
        run(program, [torch.zeros(1), torch.zeros(3)])


@pytest.mark.parametrize("matrix", [[[0.0, 1.0], [0.0, 2.0]], [[1.0, 2.0], [2.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]]])
def test_the_derivative_of_the_determinant_of_a_singular_matrix_is_that_of_the_polynomial(matrix):
    program = vjp(trace(lambda x: torch.det(x), [MATRIX]).program)
    (a, b), (c, d) = matrix
    (found,) = run(program, [torch.tensor(matrix), torch.tensor(1.0)])
    torch.testing.assert_close(found, torch.tensor([[d, -c], [-b, a]]))


def number_in(n):
    return math.sqrt(n) + float(n) + n.item() + abs(n) + max(n, 2.0) + int(n)


def test_tensors_of_one_element_are_numbers_where_python_wants_them():
    check(number_in, [torch.tensor(3.0)], order=0)
    check(lambda x: len(x) * x + isinstance(x, torch.Tensor) + sum([x, x]), [torch.tensor([1.0, 2.0])])


def test_every_refused_name_is_one_of_torch_and_has_a_remedy():
    for name, (reason, instead) in REFUSED.items():
        assert any(hasattr(owner, name) for owner in OWNERS.values()), name
        assert reason and instead


def test_the_table_knows_functions_by_identity():
    assert all(known_function(obj) is not None for obj in TABLE)
    assert known_function(torch.Tensor.sum) is not None
    assert known_function(torch.Tensor) is None
    assert known_function(len) is not None

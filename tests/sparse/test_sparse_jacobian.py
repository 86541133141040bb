"""Sparse Jacobians against dense ones of ``torch.func``, the number of directions they take, and declared patterns."""

import math
import pickle
from dataclasses import dataclass

import pytest
import torch

import ksc as knossos
from ksc.errors import ArgumentError, DifferentiationError

DOUBLE = torch.float64
ORDER = (3, 0, 4, 1, 2)


def rand(*sizes):
    generator = torch.Generator().manual_seed(sum(sizes) + 1)
    return torch.rand(*sizes, dtype=DOUBLE, generator=generator) + 0.1


def stencil(x: torch.Tensor):
    return torch.sin(x[2:]) - 2.0 * x[1:-1] ** 2 + x[1:-1] * x[:-2]


def burgers(x: torch.Tensor):
    out = torch.zeros_like(x)
    for i in range(x.shape[0]):
        left = x[i - 1] if i > 0 else 0.0
        right = x[i + 1] if i + 1 < x.shape[0] else 0.0
        out[i] = x[i] * (right - left) + 0.1 * (right - 2.0 * x[i] + left)
    return out


def laplacian(u: torch.Tensor):
    inner = u[1:-1, :-2] + u[1:-1, 2:] + u[:-2, 1:-1] + u[2:, 1:-1] - 4.0 * u[1:-1, 1:-1]
    return inner + torch.exp(u[1:-1, 1:-1])


def elementwise(x: torch.Tensor):
    return torch.sin(x) * x


def rowwise(x: torch.Tensor):
    return torch.softmax(x, 1)


def arrow(x: torch.Tensor):
    return x * x + x[0]


def dense_row(x: torch.Tensor):
    return torch.sum(x * x)


def gathered(x: torch.Tensor):
    return torch.stack([x[i] * x[i] for i in ORDER])


def reversed_(x: torch.Tensor):
    return torch.flip(x, (0,)) * 2.0


def chain(x: torch.Tensor):
    out = torch.zeros_like(x)
    s = 1.0
    for i in range(x.shape[0]):
        s = s * x[i] + torch.sin(x[i])
        out[i] = s
    return out


def updates(x: torch.Tensor):
    y = x.clone()
    for i in range(1, x.shape[0]):
        y[i] = x[i] * x[i - 1]
        y[0] += 2.0 * x[i]
    return y


def overwritten(x: torch.Tensor):
    y = torch.cumsum(x, 0)
    y[1] = x[0]
    return y


def rounded(x: torch.Tensor):
    return x + torch.floor(torch.sum(x))


CASES = [
    (stencil, (9,), 3),
    (burgers, (8,), 3),
    (laplacian, (5, 6), None),
    (elementwise, (6,), 1),
    (elementwise, (3, 4), 1),
    (rowwise, (4, 3), 3),
    (arrow, (5,), None),
    (dense_row, (6,), 1),
    (gathered, (5,), 1),
    (reversed_, (5,), 1),
    (chain, (6,), 6),
    (updates, (6,), 3),
    (overwritten, (4,), None),
    (rounded, (5,), 1),
    (elementwise, (0,), 0),
    (elementwise, (2, 0), 0),
]


@pytest.mark.parametrize("mode", ["auto", "forward", "reverse"])
@pytest.mark.parametrize("f, sizes, directions", CASES)
def test_the_matrix_is_the_dense_jacobian(f, sizes, directions, mode):
    x = rand(*sizes)
    sparse = knossos.jacobian(f, mode=mode, sparse="csr")
    matrix = sparse(x)
    assert matrix.layout == torch.sparse_csr
    assert matrix.shape == (f(x).numel(), x.numel())
    assert (matrix.crow_indices().dtype, matrix.dtype) == (torch.int64, DOUBLE)
    torch.sparse_csr_tensor(
        matrix.crow_indices(), matrix.col_indices(), matrix.values(), matrix.shape, check_invariants=True
    )
    if x.numel():
        dense = torch.func.jacrev(f)(x).reshape(f(x).numel(), x.numel())
        torch.testing.assert_close(matrix.to_dense(), dense)
        pattern = sparse.pattern(x).to_dense()
        assert not dense[~pattern].any()
    if mode == "auto" and directions is not None:
        assert sparse.directions(x) == directions


@pytest.mark.parametrize("n", [3, 10, 300])
def test_a_tridiagonal_matrix_takes_three_directions_whatever_its_size(n):
    sparse = knossos.jacobian(burgers, sparse="csr")
    x = rand(n)
    assert sparse.directions(x) == 3
    _, _, plan = sparse._plan((x,), {})
    seen = []
    call = plan.products.call("primal")

    def counted(*args):
        seen.append([len(table) for table in args[1:]])
        return call(*args)

    plan.products.call = lambda kind: counted
    matrix = sparse(x)
    assert seen == [[3]]
    assert matrix.values().numel() == 3 * n - 2
    torch.testing.assert_close(matrix.to_dense(), knossos.jacobian(burgers)(x))


def branches(x: torch.Tensor):
    if torch.sum(x) > 0.0:
        y = x * 2.0
    else:
        y = torch.flip(x, (0,)) * 3.0
    return y


def early(x: torch.Tensor):
    out = torch.zeros_like(x)
    s = 0.0
    for i in range(x.shape[0]):
        s += x[i] * x[i]
        if s > 2.0:
            break
        out[i] = math.sqrt(s + 1.0)
    return out


def repeated(x: torch.Tensor):
    y = x
    while torch.max(y) < 4.0:
        y = torch.roll(y, 1) * 2.0 + 3.0
    return y


def by_data(x: torch.Tensor):
    i = int(x[0])
    y = x * 2.0
    y[i] = x[1] * x[2]
    return y


@pytest.mark.parametrize("f, dense", [(branches, 8), (early, 10), (repeated, 16), (by_data, None)])
def test_a_pattern_holds_for_all_values(f, dense):
    sparse = knossos.jacobian(f, sparse="csr")
    patterns = []
    for x in (rand(4), -rand(4), 3.0 * rand(4) + 0.4, torch.zeros(4, dtype=DOUBLE)):
        x = x.abs() if f is by_data else x
        matrix = sparse(x)
        torch.testing.assert_close(matrix.to_dense(), knossos.jacobian(f)(x), equal_nan=True)
        patterns.append(sparse.pattern(x).to_dense())
    assert all(torch.equal(pattern, patterns[0]) for pattern in patterns)
    assert dense is None or patterns[0].sum() == dense


def springs(x: torch.Tensor, ends: torch.Tensor, stiff: torch.Tensor):
    out = torch.zeros(ends.shape[0])
    for k in range(ends.shape[0]):
        out[k] = stiff[k] * (x[ends[k, 1]] - x[ends[k, 0]]) ** 2
    return out


def test_integers_are_known():
    x, stiff = rand(6), rand(4)
    sparse = knossos.jacobian(springs, (2, 0), sparse="csr")
    for ends in (torch.tensor([[0, 1], [2, 3], [4, 5], [1, 2]]), torch.tensor([[0, 1], [0, 2], [0, 3], [5, 0]])):
        by_stiff, by_x = sparse(x, ends, stiff)
        want_stiff, want_x = knossos.jacobian(springs, (2, 0))(x, ends, stiff)
        torch.testing.assert_close(by_stiff.to_dense(), want_stiff)
        torch.testing.assert_close(by_x.to_dense(), want_x)
        assert (by_stiff.values().numel(), by_x.values().numel()) == (4, 8)


@dataclass(frozen=True)
class Line:
    slope: torch.Tensor
    start: float


def test_structures():
    def f(line: Line, x: torch.Tensor):
        return {"y": line.slope * x + line.start, "n": x.shape[0], "total": torch.sum(x)}

    line, x = Line(rand(3), 0.5), rand(3)
    found = knossos.jacobian(f, (0, 1), sparse="csr")(line, x)
    dense = knossos.jacobian(f, (0, 1))(line, x)
    assert found["n"] is None
    torch.testing.assert_close(found["y"][0].slope.to_dense(), dense["y"][0].slope)
    torch.testing.assert_close(found["y"][0].start.to_dense().reshape(3), dense["y"][0].start)
    torch.testing.assert_close(found["total"][1].to_dense().reshape(3), dense["total"][1])
    assert found["total"][0].slope.values().numel() == 0


def test_numbers():
    def polar(r: float, phi: float):
        return r * math.cos(phi), r

    (x_r, x_phi), (y_r, y_phi) = knossos.jacobian(polar, (0, 1), sparse="csr")(2.0, 0.3)
    assert x_r.to_dense().tolist() == [[pytest.approx(math.cos(0.3))]]
    assert x_phi.to_dense().tolist() == [[pytest.approx(-2.0 * math.sin(0.3))]]
    assert (y_r.to_dense().tolist(), y_phi.values().numel()) == ([[1.0]], 0)


def test_dtypes_and_views():
    x = rand(12).float()[::2]
    matrix = knossos.jacobian(stencil, sparse="csr")(x)
    assert matrix.dtype == torch.float32
    torch.testing.assert_close(matrix.to_dense(), torch.func.jacrev(stencil)(x))


def energy(x: torch.Tensor):
    return torch.sum((x[1:] - x[:-1]) ** 4) + torch.sum(torch.sin(x))


def test_a_sparse_hessian():
    x = rand(9)
    sparse = knossos.hessian(energy, sparse="csr")
    torch.testing.assert_close(sparse(x).to_dense(), torch.func.hessian(energy)(x))
    assert sparse.directions(x) == 3
    matrix = knossos.register(energy).hessian(x, sparse="csr")
    assert matrix.values().numel() == 3 * 9 - 2


def test_the_values_are_differentiable():
    x = rand(7).requires_grad_()
    matrix = knossos.jacobian(stencil, sparse="csr")(x)
    matrix.values().sum().backward()
    wanted = rand(7).requires_grad_()
    torch.func.jacrev(stencil)(wanted).sum().backward()
    torch.testing.assert_close(x.grad, wanted.grad)


def tridiagonal(n):
    return torch.ones(n, n).tril(1).triu(-1).bool()


@pytest.mark.parametrize("mode", ["auto", "forward", "reverse"])
@pytest.mark.parametrize("layout", ["strided", "coo", "csr"])
def test_a_declared_pattern(mode, layout):
    x = rand(8)
    pattern = tridiagonal(8)
    if layout == "coo":
        pattern = pattern.double().to_sparse_coo()
    if layout == "csr":
        pattern = pattern.double().to_sparse_csr()
    sparse = knossos.jacobian(burgers, mode=mode, sparse=pattern)
    torch.testing.assert_close(sparse(x).to_dense(), knossos.jacobian(burgers)(x))
    assert sparse.directions(x) == 3
    torch.testing.assert_close(knossos.register(burgers).jacobian(x, sparse=pattern).to_dense(), sparse(x).to_dense())


@pytest.mark.parametrize("mode", ["auto", "forward", "reverse"])
@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
@pytest.mark.parametrize("at", [(0, 0), (3, 4), (7, 6)])
def test_a_declared_pattern_that_lacks_a_place_is_refused(at, dtype, mode):
    pattern = tridiagonal(8)
    pattern[at] = False
    with pytest.raises(DifferentiationError, match="lacks a place"):
        knossos.jacobian(burgers, mode=mode, sparse=pattern)(rand(8).to(dtype))


def test_declared_patterns_must_fit():
    with pytest.raises(ArgumentError, match="3 x 8 is declared for a matrix of 8 x 8"):
        knossos.jacobian(burgers, sparse=torch.ones(3, 8))(rand(8))
    with pytest.raises(ArgumentError, match="two dimensions"):
        knossos.jacobian(burgers, sparse=torch.ones(8))
    with pytest.raises(ArgumentError, match="for 2 matrices"):
        knossos.jacobian(lambda x, y: x * y, (0, 1), sparse=torch.ones(2, 2))(rand(2), rand(2))
    both = (torch.eye(2), torch.eye(2))
    by_x, by_y = knossos.jacobian(lambda x, y: x * y, (0, 1), sparse=both)(rand(2), 2.0 * rand(2))
    torch.testing.assert_close((by_x.to_dense(), by_y.to_dense()), (torch.diag(2.0 * rand(2)), torch.diag(rand(2))))


def test_what_is_refused():
    with pytest.raises(ArgumentError, match="maps"):
        knossos.vmap(elementwise).jacobian(rand(3, 2), sparse="csr")
    with pytest.raises(ArgumentError, match="not known"):
        knossos.jacobian(elementwise, sparse="coo")
    with pytest.raises(ArgumentError, match="not known"):
        knossos.jacobian(elementwise, sparse="csr", mode="sideways")
    with pytest.raises(DifferentiationError, match="declare the pattern"):
        knossos.jacobian(burgers, sparse="csr")(rand(60_000))


def test_row_wise_functions_of_any_size():
    x = rand(30_000, 2)
    sparse = knossos.jacobian(rowwise, sparse="csr")
    assert sparse.directions(x) == 2
    matrix = sparse(x)
    assert matrix.values().numel() == 4 * 30_000
    torch.testing.assert_close(matrix.values(), knossos.jacobian(rowwise, sparse="blocks")(x).reshape(-1))


@knossos.register
def doubled(x: torch.Tensor):
    return 2.0 * x


def test_they_pickle():
    again = pickle.loads(pickle.dumps(knossos.jacobian(doubled, sparse="csr")))
    assert again(rand(2)).to_dense().tolist() == [[2.0, 0.0], [0.0, 2.0]]
    assert knossos.jacobian(doubled, sparse="csr") is knossos.jacobian(doubled, sparse="csr")

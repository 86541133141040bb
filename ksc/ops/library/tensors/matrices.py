"""Linear algebra of small dense matrices: Gauss with partial pivoting, Cholesky, triangular systems, powers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ksc.ops.library.tensors.forms import each_matrix, require


def pivot_of(a: Tensor, k: int) -> int:
    """The row at or below ``k`` with the largest entry in column ``k``."""
    best = k
    for i in range(k + 1, a.shape[0]):
        if abs(a[i, k]) > abs(a[best, k]):
            best = i
    return best


def swapped(a: Tensor, k: int, other: int) -> Tensor:
    """A copy with two rows exchanged."""
    order = torch.arange(a.shape[0])
    order = torch.where(order == k, other, torch.where(order == other, k, order))
    return torch.index_select(a, 0, order)


def eliminated(a: Tensor) -> tuple[Tensor, float]:
    """The upper triangle of the factors, and the sign of the exchanges of rows: 0 where a pivot is zero."""
    u = a.clone()
    sign = 1.0
    for k in range(a.shape[0]):
        best = pivot_of(u, k)
        if best != k:
            u = swapped(u, k, best)
            sign = -sign
        if u[k, k] == 0.0:
            sign = 0.0
        else:
            for i in range(k + 1, a.shape[0]):
                factor = u[i, k] / u[k, k]
                for j in range(k + 1, a.shape[0]):
                    u[i, j] = u[i, j] - factor * u[k, j]
    return u, sign


def det_of_one(a: Tensor) -> Tensor:
    """The product of the pivots; of a singular matrix the polynomial, whose derivatives are right there too."""
    u, sign = eliminated(a)
    if sign == 0.0:
        return det_without_division(a)
    return sign * torch.prod(torch.diag(u))


def det_without_division(a: Tensor) -> Tensor:
    """The determinant by the recurrence of Faddeev and LeVerrier."""
    n = a.shape[0]
    identity = torch.eye(n)
    power = torch.eye(n)
    last = torch.ones(())
    for k in range(n):
        step = a @ power
        last = -torch.trace(step) / (k + 1)
        power = step + last * identity
    return last if n % 2 == 0 else -last


def det(input: Tensor) -> Tensor:
    """The determinant."""
    return each_matrix(det_of_one, input)


def slogdet_of_one(a: Tensor) -> tuple[float, Tensor]:
    """The sign of the determinant and the logarithm of its absolute value."""
    u, sign = eliminated(a)
    pivots = torch.diag(u)
    negative = torch.count_nonzero(pivots < 0.0)
    if negative % 2 == 1:
        sign = -sign
    return sign, torch.sum(torch.log(torch.abs(pivots)))


def slogdet(input: Tensor) -> tuple[float, Tensor]:
    """The sign of the determinant and the logarithm of its absolute value."""
    return each_matrix(slogdet_of_one, input)


def logdet_of_one(a: Tensor) -> Tensor:
    """The logarithm of the determinant, NaN where that is negative."""
    sign, size = slogdet_of_one(a)
    return size if sign >= 0.0 else size * torch.nan


def logdet(input: Tensor) -> Tensor:
    """The logarithm of the determinant."""
    return each_matrix(logdet_of_one, input)


def solved(a: Tensor, b: Tensor) -> Tensor:
    """The matrix ``x`` of ``a @ x = b``."""
    n = a.shape[0]
    u = a.clone()
    x = b.clone()
    for k in range(n):
        best = pivot_of(u, k)
        if best != k:
            u = swapped(u, k, best)
            x = swapped(x, k, best)
        assert u[k, k] != 0.0, "the matrix is singular"
        for i in range(k + 1, n):
            factor = u[i, k] / u[k, k]
            for j in range(k + 1, n):
                u[i, j] = u[i, j] - factor * u[k, j]
            for j in range(b.shape[1]):
                x[i, j] = x[i, j] - factor * x[k, j]
    return back_substituted(u, x)


def back_substituted(u: Tensor, b: Tensor) -> Tensor:
    """The matrix ``x`` of ``u @ x = b`` for an upper triangle ``u``; what is below it is not read."""
    n = u.shape[0]
    x = b.clone()
    for back in range(n):
        i = n - 1 - back
        for j in range(b.shape[1]):
            rest = x[i, j]
            for k in range(i + 1, n):
                rest = rest - u[i, k] * x[k, j]
            x[i, j] = rest / u[i, i]
    return x


def forward_substituted(low: Tensor, b: Tensor) -> Tensor:
    """The matrix ``x`` of ``low @ x = b`` for a lower triangle; what is above it is not read."""
    x = b.clone()
    for i in range(low.shape[0]):
        for j in range(b.shape[1]):
            rest = x[i, j]
            for k in range(i):
                rest = rest - low[i, k] * x[k, j]
            x[i, j] = rest / low[i, i]
    return x


def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:  # noqa: N803
    """The tensor ``X`` of ``A @ X = B`` (or ``X @ A = B``); ``B`` may be a vector."""
    if B.dim() == 1:
        return each_matrix(solved, A, B.unsqueeze(-1)).squeeze(-1)
    vectors = B.dim() == A.dim() - 1
    require(not vectors, "B may be a matrix or vectors, as its sizes tell", "write B.unsqueeze(-1), or B.unsqueeze(0)")
    if not left:
        return each_matrix(solved, A.mT, B.mT).mT
    return each_matrix(solved, A, B)


def inverse_of_one(a: Tensor) -> Tensor:
    """The inverse."""
    return solved(a, torch.eye(a.shape[0]))


def inv(A: Tensor) -> Tensor:  # noqa: N803
    """The inverse."""
    return each_matrix(inverse_of_one, A)


def inverse(input: Tensor) -> Tensor:
    """The inverse."""
    return each_matrix(inverse_of_one, input)


def solve_triangular(
    A: Tensor,  # noqa: N803
    B: Tensor,  # noqa: N803
    *,
    upper: bool,
    left: bool = True,
    unitriangular: bool = False,
) -> Tensor:
    """The tensor ``X`` of ``A @ X = B`` (or ``X @ A = B``) for a triangle ``A``; the rest of it is not read."""
    if not left:
        return solve_triangular(A.mT, B.mT, upper=not upper, unitriangular=unitriangular).mT
    triangle = with_unit_diagonal(A) if unitriangular else A
    return each_matrix(back_substituted if upper else forward_substituted, triangle, B)


def with_unit_diagonal(a: Tensor) -> Tensor:
    """The matrix with ones on its diagonal."""
    return torch.where(torch.eye(a.shape[-1], dtype=torch.bool), 1.0, a)


def cholesky_of_one(a: Tensor) -> Tensor:
    """The lower triangle; both halves of the matrix are read, so its derivative is symmetric."""
    n = a.shape[0]
    low = torch.zeros(n, n)
    for j in range(n):
        pivot = a[j, j]
        for k in range(j):
            pivot = pivot - low[j, k] * low[j, k]
        assert pivot > 0.0, "the matrix is not positive definite"
        root = torch.sqrt(pivot)
        low[j, j] = root
        for i in range(j + 1, n):
            rest = 0.5 * (a[i, j] + a[j, i])
            for k in range(j):
                rest = rest - low[i, k] * low[j, k]
            low[i, j] = rest / root
    return low


def cholesky(input: Tensor, *, upper: bool = False) -> Tensor:
    """The triangle whose product with its transpose is the matrix."""
    low = each_matrix(cholesky_of_one, input)
    return low.mT.clone() if upper else low


def cholesky_solve(B: Tensor, L: Tensor, upper: bool = False) -> Tensor:  # noqa: N803
    """The matrix ``X`` of ``L @ L.T @ X = B``."""
    low = L.mT if upper else L
    return each_matrix(back_substituted, low.mT, each_matrix(forward_substituted, low, B))


def matrix_power(input: Tensor, n: int) -> Tensor:
    """The product of ``n`` equal factors, of the inverse where ``n`` is negative."""
    if n < 0:
        return matrix_power(inverse(input), -n)
    if n == 0:
        return each_matrix(identity_like, input)
    if n == 1:
        return input.clone()
    half = matrix_power(input, n // 2)
    square = half @ half
    return square if n % 2 == 0 else square @ input


def identity_like(a: Tensor) -> Tensor:
    """Ones on the diagonal."""
    return torch.eye(a.shape[0], dtype=a.dtype)


def exponential_of_one(a: Tensor) -> Tensor:
    """The series of a matrix halved until it is small, squared as often."""
    n = a.shape[0]
    size = torch.amax(torch.sum(torch.abs(a), 1)) if n > 0 else torch.zeros(())
    halvings = 0
    while size > 0.5 and halvings < 60:
        size = size * 0.5
        halvings = halvings + 1
    small = a * 0.5**halvings
    term = torch.eye(n)
    total = torch.eye(n)
    for k in range(1, 17):
        term = (term @ small) / k
        total = total + term
    for _ in range(halvings):
        total = total @ total
    return total


def matrix_exp(input: Tensor) -> Tensor:
    """The exponential of a matrix."""
    return each_matrix(exponential_of_one, input)


def multi_dot(tensors: Sequence[Tensor]) -> Tensor:
    """The product of several matrices, from left to right."""
    result = tensors[0]
    for tensor in tensors[1:]:
        result = result @ tensor
    return result


def of_kind(result: Tensor, input: Tensor) -> Tensor:
    """The result, which must not be of floats where the input is of integers."""
    same = result.is_floating_point() == input.is_floating_point()
    require(same, "the factors of integers are not integers", "give integers, or convert the tensors")
    return result


def addmm(
    input: Tensor,
    mat1: Tensor,
    mat2: Tensor,
    *,
    beta: float = 1,
    alpha: float = 1,
) -> Tensor:
    """``beta * input + alpha * (mat1 @ mat2)``."""
    return of_kind(beta * input + alpha * torch.mm(mat1, mat2), input)


def addmv(input: Tensor, mat: Tensor, vec: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """``beta * input + alpha * (mat @ vec)``."""
    return of_kind(beta * input + alpha * torch.mv(mat, vec), input)


def baddbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """``beta * input + alpha * (batch1 @ batch2)`` for each matrix of a batch."""
    return of_kind(beta * input + alpha * torch.bmm(batch1, batch2), input)


def addr(input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """``beta * input + alpha * outer(vec1, vec2)``."""
    return of_kind(beta * input + alpha * torch.outer(vec1, vec2), input)

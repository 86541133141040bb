"""Factors of matrices as torch gives them: eigenvectors, singular vectors, QR, LU, and inverses made of them."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from ksc.custom import custom_jvp
from ksc.ops.library.tensors.forms import each_of, require, sized, smaller
from ksc.ops.library.tensors.matrices import back_substituted, forward_substituted, pivot_of
from ksc.ops.library.tensors.spectral import eigenpairs, eigenvalues, singular_triplets, singular_values


class Eigenpairs(NamedTuple):
    """What linalg.eigh() gives."""

    eigenvalues: Tensor
    eigenvectors: Tensor


class Singular(NamedTuple):
    """What linalg.svd() gives."""

    U: Tensor
    S: Tensor
    Vh: Tensor


class Orthogonal(NamedTuple):
    """What linalg.qr() gives."""

    Q: Tensor
    R: Tensor


class Factored(NamedTuple):
    """What linalg.lu_factor() gives."""

    LU: Tensor
    pivots: Tensor


class Solution(NamedTuple):
    """What of linalg.lstsq() kernels have."""

    solution: Tensor


def require_half(half: str) -> None:
    """Refuse the name of no half of a matrix."""
    require(half in ("L", "U"), "UPLO is 'L' or 'U'", "name the half that is read")


def lower_pairs(a: Tensor) -> Eigenpairs:
    """Those of the matrix whose lower half is given."""
    values, vectors = eigenpairs(a, False)
    return Eigenpairs(sized(values, a.shape[0]), sized(vectors, a.shape[0], a.shape[0]))


def upper_pairs(a: Tensor) -> Eigenpairs:
    """Those of the matrix whose upper half is given."""
    values, vectors = eigenpairs(a, True)
    return Eigenpairs(sized(values, a.shape[0]), sized(vectors, a.shape[0], a.shape[0]))


def lower_values(a: Tensor) -> Tensor:
    """Those of the matrix whose lower half is given."""
    return sized(eigenvalues(a, False), a.shape[0])


def upper_values(a: Tensor) -> Tensor:
    """Those of the matrix whose upper half is given."""
    return sized(eigenvalues(a, True), a.shape[0])


def eigh(A: Tensor, UPLO: str = "L") -> Eigenpairs:  # noqa: N803
    """The eigenvalues of symmetric matrices, the smallest first, and their eigenvectors as columns."""
    require_half(UPLO)
    assert A.shape[-1] == A.shape[-2], "the matrix is not square"
    return each_of(lower_pairs if UPLO == "L" else upper_pairs, A)


def eigvalsh(A: Tensor, UPLO: str = "L") -> Tensor:  # noqa: N803
    """The eigenvalues of symmetric matrices, the smallest first."""
    require_half(UPLO)
    assert A.shape[-1] == A.shape[-2], "the matrix is not square"
    return each_of(lower_values if UPLO == "L" else upper_values, A)


def triplets(a: Tensor) -> Singular:
    """Those of one matrix."""
    k = smaller(a.shape[0], a.shape[1])
    u, s, v = singular_triplets(a)
    return Singular(sized(u, a.shape[0], k), sized(s, k), sized(v, a.shape[1], k).mT.clone())


def svd(A: Tensor, full_matrices: bool = True, *, driver: str | None = None) -> Singular:  # noqa: N803
    """Left singular vectors as columns, singular values, the largest first, right singular vectors as rows."""
    if full_matrices:
        assert A.shape[-1] == A.shape[-2], "of a matrix that is not square svd() gives full_matrices=False alone"
    return each_of(triplets, A)


def sizes_of_one(a: Tensor) -> Tensor:
    """Those of one matrix."""
    return sized(singular_values(a), smaller(a.shape[0], a.shape[1]))


def svdvals(A: Tensor, *, driver: str | None = None) -> Tensor:  # noqa: N803
    """The singular values, the largest first."""
    return each_of(sizes_of_one, A)


def reflected(a: Tensor) -> tuple[Tensor, Tensor]:
    """The factors Q and R of a matrix with as many rows as columns or more: by reflections, with LAPACK's signs."""
    m, n = a.shape
    r = a.clone()
    q = torch.eye(m)
    for j in range(n):
        below = torch.zeros(())
        for i in range(j + 1, m):
            below = below + r[i, j] * r[i, j]
        if below > 0.0:
            head = r[j, j].clone()
            size = torch.sqrt(head * head + below)
            end = -size if head >= 0.0 else size
            rows = torch.arange(m)
            vector = torch.where(rows > j, r[:, j] / (head - end), torch.where(rows == j, 1.0, 0.0))
            scaled = vector * ((end - head) / end)
            r -= scaled[:, None] * (vector @ r)[None, :]
            q -= (q @ scaled)[:, None] * vector[None, :]
    return q[:, :n].clone(), torch.triu(r[:n])


@custom_jvp
def orthogonal_factor(a: Tensor) -> tuple[Tensor, Tensor]:
    """The factors Q and R of a matrix with as many rows as columns or more."""
    return reflected(a)


@orthogonal_factor.defjvp
def orthogonal_factor_jvp(primals: tuple[Tensor], tangents: tuple[Tensor]) -> object:
    """What of the change the triangle takes up, and the turn that is left."""
    (a,), (a_dot,) = primals, tangents
    q, r = orthogonal_factor(a)
    change = a_dot @ back_substituted(r, torch.eye(r.shape[0]))
    inner = q.mT @ change
    taken = torch.triu(inner) + torch.tril(inner, -1).mT
    return (q, r), (change - q @ taken, taken @ r)


def reduced_qr(a: Tensor) -> Orthogonal:
    """That of one matrix; columns beyond the square are seen from Q."""
    k = smaller(a.shape[0], a.shape[1])
    first, second = orthogonal_factor(a[:, :k].clone())
    q, r = sized(first, a.shape[0], k), sized(second, k, k)
    rest = q.mT @ a
    wide = torch.zeros(k, a.shape[1]) + rest
    wide[:, :k] = r
    return Orthogonal(q, wide)


def qr(A: Tensor, mode: str = "reduced") -> Orthogonal:  # noqa: N803
    """An orthogonal factor and a triangle."""
    require(mode == "reduced", "qr() in another mode", "use mode='reduced'")
    return each_of(reduced_qr, A)


@partial(custom_jvp, nondiff_argnums=(1, 2))
def pseudoinverse(a: Tensor, atol: float, rtol: float) -> Tensor:
    """The inverse where there is one, of singular values above a tolerance."""
    u, s, v = singular_triplets(a)
    cut = torch.zeros(()) + atol
    if s.shape[0] > 0:
        one = s[0] / s[0]
        spacing = torch.abs(3.0 * (4.0 * one / 3.0 - one) - one)
        relative = spacing * max(a.shape[0], a.shape[1]) if rtol < 0.0 else torch.zeros(()) + rtol
        cut = torch.maximum(cut, relative * s[0])
    large = s > cut
    inverse: Tensor = (v * torch.where(large, 1.0 / torch.where(large, s, 1.0), 0.0)[None, :]) @ u.mT
    return inverse


@pseudoinverse.defjvp
def pseudoinverse_jvp(atol: float, rtol: float, primals: tuple[Tensor], tangents: tuple[Tensor]) -> object:
    """Golub and Pereyra, The differentiation of pseudo-inverses and nonlinear least squares problems, 1973."""
    (a,), (a_dot,) = primals, tangents
    p = pseudoinverse(a, atol, rtol)
    rows = (p @ p.mT) @ a_dot.mT
    columns = (a_dot.mT @ p.mT) @ p
    return p, rows - (rows @ a) @ p + columns - (p @ a) @ columns - (p @ a_dot) @ p


def inverse_of(a: Tensor, limits: Tensor) -> Tensor:
    """That of one matrix, for the two tolerances."""
    return sized(pseudoinverse(a, limits[0, 0], limits[0, 1]), a.shape[1], a.shape[0])


def pinv(
    A: Tensor,  # noqa: N803
    *,
    atol: float | None = None,
    rtol: float | None = None,
    hermitian: bool = False,
) -> Tensor:
    """The pseudoinverse, singular values below a tolerance taken as zero."""
    least = 0.0 if atol is None else atol
    relative = (-1.0 if atol is None else 0.0) if rtol is None else rtol
    return each_of(inverse_of, A, torch.tensor([[least, relative]]))


def pinverse(input: Tensor, rcond: float = 1e-15) -> Tensor:
    """The pseudoinverse."""
    return pinv(input, rtol=rcond)


def least_squares(a: Tensor, b: Tensor) -> Tensor:
    """That of one matrix: the shortest of all solutions with the least error."""
    return sized(pseudoinverse(a, 0.0, -1.0), a.shape[1], a.shape[0]) @ b


def lstsq(A: Tensor, B: Tensor, rcond: float | None = None, *, driver: str | None = None) -> Solution:  # noqa: N803
    """The solutions with the least error, the shortest ones; kernels have no residuals, rank or singular values."""
    require(rcond is None, "lstsq() with rcond", "leave it out, or use pinv()")
    assert A.shape[-2] == B.shape[-2], "A and B have different numbers of rows"
    return Solution(each_of(least_squares, A, B))


def factored(a: Tensor) -> Factored:
    """Both triangles in one matrix, the pivots counted from 1: Gauss with partial pivoting."""
    n = a.shape[0]
    u = a.clone()
    pivots = torch.zeros(n, dtype=torch.int64)
    for k in range(n):
        best = pivot_of(u, k)
        pivots[k] = best + 1
        if best != k:
            for j in range(n):
                other = u[best, j].clone()
                u[best, j] = u[k, j].clone()
                u[k, j] = other
        assert u[k, k] != 0.0, "the matrix is singular"
        for i in range(k + 1, n):
            u[i, k] = u[i, k] / u[k, k]
            for j in range(k + 1, n):
                u[i, j] = u[i, j] - u[i, k] * u[k, j]
    return Factored(u, pivots)


def lu_factor(A: Tensor, *, pivot: bool = True) -> Factored:  # noqa: N803
    """The triangles of a square matrix, and the rows that were exchanged."""
    require(pivot, "lu_factor() without pivots", "leave pivot out")
    assert A.shape[-1] == A.shape[-2], "the matrix is not square"
    return each_of(factored, A)


def exchanged(b: Tensor, pivots: Tensor, backwards: bool) -> Tensor:
    """The rows exchanged as the pivots say, in turn."""
    n = b.shape[0]
    x = b.clone()
    for step in range(n):
        k = n - 1 - step if backwards else step
        other = pivots[k, 0] - 1
        if other != k:
            for j in range(b.shape[1]):
                kept = x[other, j].clone()
                x[other, j] = x[k, j].clone()
                x[k, j] = kept
    return x


def with_ones(a: Tensor) -> Tensor:
    """The matrix with ones on its diagonal."""
    return torch.where(torch.eye(a.shape[0], dtype=torch.bool), 1.0, a)


def solved_by_factors(lu: Tensor, pivots: Tensor, b: Tensor) -> Tensor:
    """The matrix ``x`` of ``a @ x = b``."""
    return back_substituted(lu, forward_substituted(with_ones(lu), exchanged(b, pivots, False)))


def solved_by_transposed_factors(lu: Tensor, pivots: Tensor, b: Tensor) -> Tensor:
    """The matrix ``x`` of ``a.mT @ x = b``."""
    return exchanged(back_substituted(with_ones(lu).mT, forward_substituted(lu.mT, b)), pivots, True)


def lu_solve(
    LU: Tensor,  # noqa: N803
    pivots: Tensor,
    B: Tensor,  # noqa: N803
    *,
    left: bool = True,
    adjoint: bool = False,
) -> Tensor:
    """The tensor ``X`` of ``A @ X = B`` (or ``X @ A = B``) for a matrix given by lu_factor()."""
    rows = pivots.unsqueeze(-1)
    if not left:
        return lu_solve(LU, pivots, B.mT, adjoint=not adjoint).mT
    assert LU.shape[-1] == B.shape[-2], "the matrix and B have different numbers of rows"
    return each_of(solved_by_transposed_factors if adjoint else solved_by_factors, LU, rows, B)

"""Eigenvalues, singular values and orthogonal factors of small matrices, and what is made of them.

The factors are found by Jacobi's method, which rotates pairs of rows or columns until they are orthogonal (Golub and
Van Loan, Matrix Computations, 8.5 and 8.6; Demmel and Veselić, Jacobi's method is more accurate than QR, 1992), and by
Householder's reflections (5.2 there) with the signs of LAPACK. Each has a rule of its own for its derivative, the one
that torch documents, so that derivatives do not go through the iteration: equal eigenvalues or singular values give
infinities or NaN in the derivative of their vectors, and are no matter for that of the values.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from ksc.custom import custom_jvp

SWEEPS = 40
"""How often all pairs are rotated at most; some six times are enough for a matrix of ten rows."""


def tangent_of(half: Tensor) -> Tensor:
    """The smaller root ``t`` of ``t² + 2 half t = 1``: the tangent of the angle that makes a pair orthogonal."""
    size = 1.0 / (torch.abs(half) + torch.sqrt(1.0 + half * half))
    return size if half >= 0.0 else -size


def turn(a: Tensor, p: int, q: int, c: Tensor, s: Tensor) -> None:
    """Turn the columns ``p`` and ``q`` in place."""
    for k in range(a.shape[0]):
        first = a[k, p].clone()
        second = a[k, q].clone()
        a[k, p] = c * first - s * second
        a[k, q] = s * first + c * second


def diagonalised(lower: Tensor) -> tuple[Tensor, Tensor]:
    """The eigenvalues of a symmetric matrix, in no order, and its eigenvectors as columns."""
    n = lower.shape[0]
    a = lower.clone()
    v = torch.eye(n)
    sweeps = 0
    moved = True
    while moved and sweeps < SWEEPS:
        moved = False
        sweeps = sweeps + 1
        for p in range(n):
            for q in range(p + 1, n):
                size = abs(a[p, p]) + abs(a[q, q])
                if size + abs(a[p, q]) != size:
                    moved = True
                    t = tangent_of((a[q, q] - a[p, p]) / (2.0 * a[p, q]))
                    c = torch.rsqrt(1.0 + t * t)
                    turn(a, p, q, c, t * c)
                    turn(a.mT, p, q, c, t * c)
                    turn(v, p, q, c, t * c)
    return torch.diag(a), v


def symmetric(a: Tensor, upper: bool) -> Tensor:
    """The symmetric matrix of which one half is read."""
    half = torch.triu(a) if upper else torch.tril(a)
    return half + half.mT - torch.diag(torch.diag(a))


@partial(custom_jvp, nondiff_argnums=(1,))
def eigenpairs(a: Tensor, upper: bool) -> tuple[Tensor, Tensor]:
    """The eigenvalues of a symmetric matrix, the smallest first, and its eigenvectors as columns."""
    values, vectors = diagonalised(symmetric(a, upper))
    ordered, places = torch.sort(values)
    return ordered, torch.index_select(vectors, 1, places)


@eigenpairs.defjvp
def eigenpairs_jvp(upper: bool, primals: tuple[Tensor], tangents: tuple[Tensor]) -> object:
    """The vectors turn towards each other by what couples them over the distance of their values."""
    (a,), (a_dot,) = primals, tangents
    values, vectors = eigenpairs(a, upper)
    coupling = vectors.mT @ (0.5 * (a_dot + a_dot.mT)) @ vectors
    apart = values[None, :] - values[:, None]
    turned = off_diagonal(coupling, apart)
    return (values, vectors), (torch.diag(coupling), vectors @ turned)


def off_diagonal(a: Tensor, b: Tensor) -> Tensor:
    """The quotients of the elements of two square matrices, 0 on the diagonal."""
    same = torch.eye(a.shape[0], dtype=torch.bool)
    return torch.where(same, 0.0, a / torch.where(same, 1.0, b))


@partial(custom_jvp, nondiff_argnums=(1,))
def eigenvalues(a: Tensor, upper: bool) -> Tensor:
    """The eigenvalues of a symmetric matrix, the smallest first."""
    values: Tensor
    values, _ = eigenpairs(a, upper)
    return values


@eigenvalues.defjvp
def eigenvalues_jvp(upper: bool, primals: tuple[Tensor], tangents: tuple[Tensor]) -> object:
    """A value moves as the matrix does between its vector."""
    (a,), (a_dot,) = primals, tangents
    values, vectors = eigenpairs(a, upper)
    return values, torch.sum(vectors * ((0.5 * (a_dot + a_dot.mT)) @ vectors), 0)


def orthogonalised(a: Tensor) -> tuple[Tensor, Tensor]:
    """The product of a matrix and a rotation whose columns are orthogonal, and the rotation."""
    n = a.shape[1]
    w = a.clone()
    v = torch.eye(n)
    sweeps = 0
    moved = True
    while moved and sweeps < SWEEPS:
        moved = False
        sweeps = sweeps + 1
        for p in range(n):
            for q in range(p + 1, n):
                first = torch.sum(w[:, p] * w[:, p])
                second = torch.sum(w[:, q] * w[:, q])
                both = torch.sum(w[:, p] * w[:, q])
                size = torch.sqrt(first) * torch.sqrt(second)
                if size + abs(both) != size:
                    moved = True
                    t = tangent_of((second - first) / (2.0 * both))
                    c = torch.rsqrt(1.0 + t * t)
                    turn(w, p, q, c, t * c)
                    turn(v, p, q, c, t * c)
    return w, v


def completed(u: Tensor, j: int) -> None:
    """Make column ``j``, with all after it zero, one that is orthogonal to those before."""
    place = torch.argmin(torch.sum(u * u, 1))
    vector = -(u @ u[place])
    vector[place] = vector[place] + 1.0
    vector = vector - u @ (u.mT @ vector)
    u[:, j] = vector / torch.sqrt(torch.sum(vector * vector))


@custom_jvp
def singular_triplets(a: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Left singular vectors as columns, singular values, the largest first, and right singular vectors as columns."""
    w, v = orthogonalised(a)
    k = min(a.shape[0], a.shape[1])
    sizes, order = torch.sort(torch.sqrt(torch.sum(w * w, 0)), descending=True)
    values, places = sizes[:k].clone(), order[:k]
    columns = torch.index_select(w, 1, places)
    u = torch.zeros(a.shape[0], k)
    for j in range(k):
        if values[0] + 0.125 * values[j] != values[0]:
            u[:, j] = columns[:, j] / values[j]
        else:
            completed(u, j)
    return u, values, torch.index_select(v, 1, places)


@singular_triplets.defjvp
def singular_triplets_jvp(primals: tuple[Tensor], tangents: tuple[Tensor]) -> object:
    """The vectors turn towards each other, and into the directions that no vector has."""
    (a,), (a_dot,) = primals, tangents
    u, s, v = singular_triplets(a)
    coupling = u.mT @ a_dot @ v
    row, column = s[None, :], s[:, None]
    apart = (row - column) * (row + column)
    left = off_diagonal(coupling * row + column * coupling.mT, apart)
    right = off_diagonal(column * coupling + coupling.mT * row, apart)
    u_dot = u @ left + beyond(a_dot @ v - u @ coupling, s)
    v_dot = v @ right + beyond(a_dot.mT @ u - v @ coupling.mT, s)
    return (u, s, v), (u_dot, torch.diag(coupling), v_dot)


def beyond(columns: Tensor, s: Tensor) -> Tensor:
    """Columns divided by singular values, where there are fewer columns than rows; else zeros."""
    fewer = (columns.shape[1] < columns.shape[0]) & torch.ones(columns.shape, dtype=torch.bool)
    return torch.where(fewer, columns / torch.where(fewer, s[None, :], 1.0), 0.0)


@custom_jvp
def singular_values(a: Tensor) -> Tensor:
    """The singular values, the largest first."""
    s: Tensor
    _, s, _ = singular_triplets(a)
    return s


@singular_values.defjvp
def singular_values_jvp(primals: tuple[Tensor], tangents: tuple[Tensor]) -> object:
    """A value moves as the matrix does between its vectors."""
    (a,), (a_dot,) = primals, tangents
    u, s, v = singular_triplets(a)
    return s, torch.sum(u * (a_dot @ v), 0)

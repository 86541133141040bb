"""Where a matrix may be different from zero, and which of its columns can share a direction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ksc.errors import ArgumentError

Indices = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, slots=True, eq=False)
class Pattern:
    """The places of a matrix in compressed row storage: those of row i are ``columns[starts[i] : starts[i + 1]]``."""

    starts: Indices
    columns: Indices
    width: int

    @property
    def height(self) -> int:
        """The number of rows."""
        return len(self.starts) - 1

    @property
    def rows(self) -> Indices:
        """The row of each place."""
        return np.repeat(np.arange(self.height), np.diff(self.starts))

    def transposed(self) -> Pattern:
        """The pattern of the transposed matrix."""
        order = np.argsort(self.columns, kind="stable")
        starts = np.concatenate(([0], np.cumsum(np.bincount(self.columns, minlength=self.width))))
        return Pattern(starts.astype(np.int64), self.rows[order], self.height)


def from_sets(sets: Sequence[int], start: int, width: int) -> Pattern:
    """The pattern whose row i has the elements ``start`` to ``start + width`` of the ith set, given as bits."""
    window = (1 << width) - 1
    rows: list[Indices] = []
    known: dict[int, Indices] = {}
    for bits in sets:
        row = known.get(bits)
        if row is None:
            row = known[bits] = _elements((bits >> start) & window)
        rows.append(row)
    lengths = [len(row) for row in rows]
    starts = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
    return Pattern(starts, np.concatenate(rows) if rows else np.zeros(0, np.int64), width)


def _elements(bits: int) -> Indices:
    if not bits:
        return np.zeros(0, np.int64)
    # Sets are mostly narrow: what lies below the first element is not unpacked.
    first = (bits & -bits).bit_length() - 1
    bits >>= first
    raw = np.frombuffer(bits.to_bytes((bits.bit_length() + 7) // 8, "little"), np.uint8)
    return np.flatnonzero(np.unpackbits(raw, bitorder="little")).astype(np.int64) + first


def from_tensor(declared: torch.Tensor) -> Pattern:
    """The pattern that a user declares: a matrix of bools, or a sparse one whose stored places count.

    Raises ArgumentError where it is no matrix.
    """
    if declared.dim() != 2:
        raise ArgumentError(
            f"a pattern has two dimensions, not {declared.dim()}",
            remedy="give a row for each element of the result and a column for each element of the argument",
        )
    if declared.layout == torch.strided:
        at = declared.detach().cpu().nonzero()
    else:
        at = declared.detach().cpu().to_sparse().coalesce().indices().T
    rows, columns = at[:, 0].numpy(), at[:, 1].numpy()
    height, width = declared.shape
    starts = np.concatenate(([0], np.cumsum(np.bincount(rows, minlength=height))))
    return Pattern(starts.astype(np.int64), columns.astype(np.int64), width)


def diagonal_blocks(count: int, height: int, width: int) -> Pattern:
    """The pattern of ``count`` full blocks on the diagonal."""
    columns = np.arange(count)[:, None, None] * width + np.arange(width)
    columns = np.broadcast_to(columns, (count, height, width)).reshape(-1)
    return Pattern(np.arange(count * height + 1) * width, columns, count * width)


def stacked(patterns: Sequence[Pattern]) -> Pattern:
    """Patterns of one width, one below the other."""
    ends = np.cumsum([0, *(len(pattern.columns) for pattern in patterns)])
    starts = [pattern.starts[:-1] + end for pattern, end in zip(patterns, ends, strict=False)]
    columns = np.concatenate([pattern.columns for pattern in patterns])
    return Pattern(np.concatenate([*starts, ends[-1:]]).astype(np.int64), columns, patterns[0].width)


@dataclass(frozen=True, slots=True, eq=False)
class Colouring:
    """A colour for each column, from 0; two columns that have a row in common differ."""

    of: Indices
    count: int

    def seeds(self, dtype: torch.dtype) -> torch.Tensor:
        """A direction for each colour, with 1 at its columns: (count, columns)."""
        table = torch.zeros(self.count, len(self.of), dtype=dtype)
        coloured = np.flatnonzero(self.of >= 0)
        table[torch.from_numpy(self.of[coloured]), torch.from_numpy(coloured)] = 1.0
        return table


def colour_columns(pattern: Pattern) -> Colouring:
    """A colouring of the columns, greedy: Curtis, Powell and Reid, On the estimation of sparse Jacobian matrices, 1974.

    Columns take the least colour that is free, in their own order, which is best possible for bands; where that needs
    more colours than a row has places, also in the order of falling degree (Welsh and Powell, 1967), and the better one
    counts. A column without a place has the colour -1.
    """
    lengths = np.diff(pattern.starts)
    least = int(lengths.max(initial=0))
    transposed = pattern.transposed()
    first = _greedy(transposed, range(pattern.width))
    if first.count == least:
        return first
    degrees = [
        int(lengths[transposed.columns[transposed.starts[j] : transposed.starts[j + 1]]].sum())
        for j in range(pattern.width)
    ]
    second = _greedy(transposed, sorted(range(pattern.width), key=lambda j: -degrees[j]))
    return second if second.count < first.count else first


def _greedy(transposed: Pattern, order: Sequence[int]) -> Colouring:
    colours = np.full(transposed.height, -1, np.int64)
    taken = [0] * transposed.width
    count = 0
    starts, rows = transposed.starts.tolist(), transposed.columns.tolist()
    for j in order:
        own = rows[starts[j] : starts[j + 1]]
        if not own:
            continue
        used = 0
        for row in own:
            used |= taken[row]
        free = ~used & (used + 1)
        for row in own:
            taken[row] |= free
        colours[j] = free.bit_length() - 1
        count = max(count, free.bit_length())
    return Colouring(colours, count)

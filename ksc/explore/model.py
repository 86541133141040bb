"""What the page shows, as plain data; ``page.py`` makes HTML of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from ksc.ir.nodes import Span

Language = Literal["python", "ir", "cpp"]


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a pane: what it says, what in the user's source it came from, and its number if not that of the row."""

    text: str
    spans: tuple[Span, ...] = ()
    number: int | None = None


@dataclass(frozen=True, slots=True)
class Count:
    """A number that may depend on sizes: as a formula, and its value where all sizes are known."""

    formula: str
    value: int | None = None


@dataclass(frozen=True, slots=True)
class Pane:
    """One version of the program.

    Attributes:
        group: what it belongs to: ``Python``, ``value``, ``vjp``, ``jvp``, ``C++``.
        title: which of the group it is.
        language: how its text is coloured.
        rows: its lines.
        note: what was done to come here, and why.
        counts: how big it is and what it costs, by name.
        same: whether it is what the one before it is.
    """

    group: str
    title: str
    language: Language
    rows: Sequence[Row]
    note: str = ""
    counts: dict[str, Count] = field(default_factory=dict)
    same: bool = False


@dataclass(frozen=True, slots=True)
class Curves:
    """Samples of a function of one number and of its derivative; None stands for what is no finite number."""

    name: str
    argument: str
    xs: Sequence[float]
    values: Sequence[float | None]
    slopes: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Page:
    """All of it.

    Attributes:
        title: the kernel's name.
        subtitle: its signature and place.
        panes: all versions, those of a group one after the other.
        shown: which of them are side by side at first.
        curves: the plot, for a function of one number.
        remarks: what could not be shown, and why.
    """

    title: str
    subtitle: str
    panes: Sequence[Pane]
    shown: Sequence[int]
    curves: Curves | None = None
    remarks: Sequence[str] = ()

"""The saved measurements as a table of ratios."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ksc.bench.peers import HAND, OURS

LIMIT = 1.05
"""What a ratio is marked beyond."""


@dataclass(frozen=True, slots=True)
class Row:
    """One cell: the fastest and the median time of each peer, in seconds."""

    kernel: str
    size: str
    mode: str
    threads: int
    fastest: Mapping[str, float]
    median: Mapping[str, float]

    @property
    def best(self) -> str | None:
        """The fastest peer, the one by hand left out."""
        others = [name for name in self.fastest if name not in (OURS, HAND)]
        return min(others, key=lambda name: self.fastest[name], default=None)

    def ratio(self, peer: str | None) -> float | None:
        """The kernel's time over the peer's."""
        time = self.fastest.get(peer) if peer is not None else None
        return None if time is None else self.fastest[OURS] / time

    @property
    def is_within(self) -> bool:
        """Whether neither the one by hand nor the best peer is faster, but for noise."""
        return all(ratio is None or ratio <= LIMIT for ratio in (self.ratio(HAND), self.ratio(self.best)))


def read(path: Path) -> list[Row]:
    """The rows of a file that pytest-benchmark saved."""
    fastest: dict[tuple[str, str, str, int], dict[str, float]] = {}
    median: dict[tuple[str, str, str, int], dict[str, float]] = {}
    for entry in json.loads(path.read_text("utf-8"))["benchmarks"]:
        info = entry["extra_info"]
        key = info["kernel"], info["size"], info["mode"], info["threads"]
        fastest.setdefault(key, {})[info["peer"]] = entry["stats"]["min"]
        median.setdefault(key, {})[info["peer"]] = entry["stats"]["median"]
    return [Row(*key, times, median[key]) for key, times in fastest.items()]


def markdown(rows: list[Row]) -> str:
    """The table; a ratio below 1 means that the kernel is faster, one beyond the limit has an asterisk."""
    heads = ["threads", "kernel", "size", "mode", "fastest", "median", "/ hand C++", "/ best peer", "", "/ others"]
    lines = [heads, ["--:", "---", "--:", "---", "--:", "--:", "--:", "--:", "---", "---"]]
    for row in rows:
        best = row.best
        others = sorted((n for n in row.fastest if n not in (OURS, HAND, best)), key=lambda n: row.fastest[n])
        lines.append(
            [
                str(row.threads),
                row.kernel,
                row.size,
                row.mode,
                duration(row.fastest[OURS]),
                duration(row.median[OURS]),
                _ratio(row.ratio(HAND)),
                _ratio(row.ratio(best)),
                best or "",
                ", ".join(f"{name} {row.ratio(name):.2f}" for name in others),
            ]
        )
    widths = [max(len(line[k]) for line in lines) for k in range(len(heads))]
    rule = [cell if cell == "---" else "-" * (width - 1) + ":" for cell, width in zip(lines[1], widths, strict=True)]
    lines[1] = [cell.ljust(width, "-") for cell, width in zip(rule, widths, strict=True)]
    return "\n".join("| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |" for line in lines)


def summary(rows: list[Row]) -> str:
    """How many cells are within the limit, and which are not."""
    beyond = [f"{row.kernel} {row.size} {row.mode}, {row.threads} threads" for row in rows if not row.is_within]
    text = f"{len(rows) - len(beyond)} of {len(rows)} cells within {LIMIT} of hand C++ and of the best peer"
    return "\n".join([text, *(f"  beyond: {name}" for name in beyond)])


def _ratio(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.2f}{'*' if value > LIMIT else ''}"


def duration(seconds: float) -> str:
    """A time with three digits and its unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"

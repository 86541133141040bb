"""`make opinfo`: PyTorch's own samples through kernels, as a report.

    python -m tests.ops.opinfo.report [--output build/doc/opinfo.md] [--jobs 2] [NAME …]

Exits with status 1 where a sample gives something other than PyTorch does.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from tests.ops.opinfo.checks import Status
from tests.ops.opinfo.database import operators, title
from tests.ops.opinfo.survey import FULL, SHORT, Extent, Finding, survey

COLUMNS = [status for status in Status if status is not Status.INVALID]


@dataclass(frozen=True)
class Section:
    """What the samples of one operator came to."""

    title: str
    findings: list[Finding]

    def count(self, status: Status, *, errors: bool = False) -> int:
        return sum(f.outcome.status is status for f in self.findings if f.error is errors)

    @property
    def wrong(self) -> list[Finding]:
        return [f for f in self.findings if f.outcome.status is Status.WRONG]

    @property
    def supported(self) -> bool:
        return self.count(Status.PASSED) + self.count(Status.ANNOTATED) > 0

    def messages(self, status: Status) -> Counter[str]:
        return Counter(
            f.outcome.message.partition("\n")[0] for f in self.findings if f.outcome.status is status and not f.error
        )


def section(number: int, extent: Extent) -> Section:
    op = operators()[number]
    return Section(title(op), list(survey(op, extent)))


def start() -> None:
    torch.set_num_threads(1)


def surveyed(names: Sequence[str], extent: Extent, jobs: int) -> list[Section]:
    """The sections of the operators named, or of all."""
    numbers = [k for k, op in enumerate(operators()) if not names or title(op) in names or op.name in names]
    context = multiprocessing.get_context("fork")
    with context.Pool(jobs, start) as pool:
        return list(pool.imap(partial(section, extent=extent), numbers))


def written(sections: Sequence[Section]) -> str:
    """The report as Markdown."""
    tried = [s for s in sections if s.supported or s.wrong]
    others = [s for s in sections if s not in tried]
    lines = [
        "# PyTorch's own samples",
        "",
        f"`torch.testing`'s descriptions of operators with PyTorch {torch.__version__}: each sample is a call in a",
        "kernel, whose value, cotangents and tangents are compared with PyTorch's. `make opinfo` writes this report.",
        "",
        *_table(_totals(tried, others)),
        "",
        "## Operators that kernels know",
        "",
        *_table(_rows(tried)),
        "",
        "## Why samples of these are refused",
        "",
        *_reasons(tried, Status.REFUSED),
        "",
        "## What stops them at run time",
        "",
        *_reasons(tried, Status.STOPPED),
        "",
        "## Operators that are refused altogether",
        "",
        *(f"- `{s.title}`: {_only_reason(s)}" for s in others),
        "",
    ]
    if any(s.wrong for s in sections):
        lines += ["## Wrong", "", *(line for s in sections for f in s.wrong for line in _wrong(s, f))]
    return "\n".join(lines)


def _totals(tried: Sequence[Section], others: Sequence[Section]) -> Iterable[Sequence[object]]:
    yield "", "operators", *(status.value for status in COLUMNS), "errors raised"
    for what, sections in (("known", tried), ("refused", others)):
        counts = (sum(s.count(status) for s in sections) for status in COLUMNS)
        yield what, len(sections), *counts, sum(s.count(Status.REFUSED, errors=True) for s in sections)


def _rows(sections: Sequence[Section]) -> Iterable[Sequence[object]]:
    yield "operator", *(status.value for status in COLUMNS), "errors raised"
    for s in sections:
        yield f"`{s.title}`", *(s.count(status) for status in COLUMNS), s.count(Status.REFUSED, errors=True)


def _table(rows: Iterable[Sequence[object]]) -> Iterable[str]:
    for k, row in enumerate(rows):
        yield f"| {' | '.join(map(str, row))} |"
        if k == 0:
            yield f"|{' --- |' * len(row)}"


def _reasons(sections: Sequence[Section], status: Status) -> Iterable[str]:
    for s in sections:
        for message, count in s.messages(status).most_common():
            yield f"- `{s.title}` ({count}): {message}"


def _only_reason(s: Section) -> str:
    for status in (Status.REFUSED, Status.STOPPED, Status.UNSPELLED, Status.INVALID):
        if found := s.messages(status):
            return found.most_common(1)[0][0]
    return "no sample that a kernel can be called with"


def _wrong(s: Section, f: Finding) -> Iterable[str]:
    yield f"### `{s.title}`, {f.what}: {f.shapes}"
    yield from ("", "```python", f.source.rstrip(), "```", "", "```", f.outcome.message.rstrip(), "```", "")


def main() -> int:
    parser = argparse.ArgumentParser(description="PyTorch's own samples through kernels, as a report.")
    parser.add_argument("names", nargs="*", help="operators; all by default")
    parser.add_argument("--output", type=Path, default=Path("build/doc/opinfo.md"))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--short", action="store_true", help="as few samples as the test takes")
    options = parser.parse_args()
    sections = surveyed(options.names, SHORT if options.short else FULL, options.jobs)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(written(sections))
    wrong = sum(len(s.wrong) for s in sections)
    passed = sum(s.count(Status.PASSED) + s.count(Status.ANNOTATED) for s in sections)
    sys.stdout.write(f"{passed} samples passed, {wrong} wrong; {options.output}\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

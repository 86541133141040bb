"""The errors of Knossos: one hierarchy, each with a code, a reason, a remedy and, where known, the user's line."""

from __future__ import annotations

import linecache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ksc.ir.nodes import Span


class KnossosError(Exception):
    """Base of every error raised by this package.

    ``code`` (such as ``"KS101"``) is stable and documented; ``remedy`` says what to do instead; ``span`` is the place
    in the user's source, shown with a caret.
    """

    default_code = "KS000"

    def __init__(
        self, message: str, *, remedy: str | None = None, span: Span | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.span = span
        self.code = code or self.default_code

    def __str__(self) -> str:
        lines = [f"[{self.code}] {self.message}"]
        if self.span is not None:
            lines = [f"{self.span.file}:{self.span.line}:{self.span.col + 1}: {lines[0]}", *caret(self.span)]
        if self.remedy:
            lines.append(f"  instead: {self.remedy}")
        return "\n".join(lines)


def caret(span: Span) -> list[str]:
    """The source line of ``span`` with the range underlined, or nothing where the source is not to be had."""
    source = linecache.getline(span.file, span.line).rstrip("\n") or span.text
    if not source.strip():
        return []
    end = span.end_col if span.end_line == span.line else len(source)
    width = max(1, min(end, len(source)) - span.col)
    return [f"    {source}", f"    {' ' * span.col}{'^' * width}"]


class UnsupportedError(KnossosError):
    """The function uses Python that has no meaning in a kernel."""

    default_code = "KS100"


class TypeMismatchError(KnossosError, TypeError):
    """Types inside a function do not fit together."""

    default_code = "KS200"


class ArgumentError(KnossosError, TypeError):
    """A kernel was called with arguments that do not fit its parameters."""

    default_code = "KS300"


class DifferentiationError(KnossosError):
    """A derivative was asked for that does not exist or is not known."""

    default_code = "KS400"


class BuildError(KnossosError):
    """The generated code could not be built."""

    default_code = "KS500"


class CacheError(KnossosError):
    """The folder of built kernels cannot be used or trusted."""

    default_code = "KS600"


class KernelRuntimeError(KnossosError, RuntimeError):
    """A running kernel stopped: a failed assert, an integer divided by zero, an index out of range, deep recursion."""

    default_code = "KS700"


class InvalidIRError(KnossosError):
    """The IR breaks one of its own rules; text given by a user, or a bug in a pass."""

    default_code = "KS800"


class MissingExtraError(KnossosError, ImportError):
    """An optional package is not installed."""

    default_code = "KS920"

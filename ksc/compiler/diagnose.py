"""From the compiler's messages to an error that names the generated line and the Python line."""

from __future__ import annotations

import re

from ksc.codegen.unit import GeneratedSource
from ksc.errors import BuildError
from ksc.ir.nodes import Span

# As GCC and clang write it, file:line:column:, and as nvcc does, file(line):.
_ERROR = re.compile(
    r"^(?P<file>[^\s:(][^:\n(]*)[:(](?P<line>\d+)(?:\):|:(?:\d+:)?)"
    r" (?:fatal )?error(?: #[\w-]+)?: (?P<message>.*)$",
    re.MULTILINE,
)


def compile_failure(source: GeneratedSource, file_name: str, output: str) -> BuildError:
    """The error for a source that the compiler refused, from its first message about that source."""
    found = next((m for m in _ERROR.finditer(output) if m["file"].endswith(file_name)), None)
    if found is None:
        found = _ERROR.search(output)
    if found is None:
        return BuildError(
            f"compiling {source.name} failed:\n{output.strip()}",
            remedy="see what ksc doctor says of the compiler",
            code="KS502",
        )
    message = f"compiling {source.name} failed: {found['message']}"
    span = None
    if found["file"].endswith(file_name):
        number = int(found["line"])
        span = python_place(source, number)
        lines = source.text.splitlines()
        text = lines[number - 1].strip() if number <= len(lines) else ""
        message += f"\n  {file_name}:{number}: {text}"
    return BuildError(
        message, remedy="this is a fault of the compiler's code generation; please report it", span=span, code="KS502"
    )


def python_place(source: GeneratedSource, line: int) -> Span | None:
    """Where in the user's source a generated line comes from, or the nearest line above it that says."""
    above = [k for k in source.line_map if k <= line]
    return source.line_map[max(above)] if above else None

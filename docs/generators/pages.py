"""From a page as it is written to the page as Sphinx reads it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping

from docs.generators import architecture, drawings, errors, exporting, figures, language, showing
from docs.generators.running import run_blocks

GENERATORS: Mapping[str, Callable[..., str]] = {
    "statements": language.statements,
    "expressions": language.expressions,
    "refused-syntax": language.refused_syntax,
    "operators": language.python_operators,
    "builtins": language.builtins,
    "methods": language.methods,
    "library": language.library,
    "functions": language.functions,
    "torch": language.torch_names,
    "refused-torch": language.refused_torch,
    "primitives": language.primitives,
    "error": errors.entry,
    "exceptions": errors.exceptions,
    "files": architecture.files,
    "passes": architecture.passes,
    "cpp": showing.cpp,
    "ir": showing.ir,
    "explored": showing.explored,
    "part": showing.part,
    "commands": showing.commands,
    "record": showing.record,
    "definition": showing.definition,
    "targets": exporting.targets,
    "exported": exporting.exported,
    "figure": figures.figure,
    "accuracy": drawings.accuracy,
    "written": drawings.written,
}

_LINE = re.compile(r"^<!-- generate: (.+?) -->$", re.MULTILINE)


def page(name: str, text: str) -> str:
    """The text of a page with all that it generates, and with what its code prints where it asks for that.

    Raises KeyError for a generator that there is none of, RuntimeError where a block does not do what the page says.
    """

    def generated(found: re.Match[str]) -> str:
        generator, *arguments = shlex.split(found[1])
        return GENERATORS[generator](*arguments)

    return _LINE.sub(generated, run_blocks(name, text))

"""Running the Python of a page, as a notebook does: what a block prints follows it.

A page with the line ``<!-- run -->`` has its blocks run one after another; with ``<!-- run: apart -->`` each is run by
itself, after ``PREAMBLE``. What stands behind ``python`` where a block begins says more of it: ``raises=KS101`` that it
stops with this error, which then follows it; ``shows=cpp`` that it prints C++, and ``function=f`` that this one of its
functions alone follows; ``silent`` that nothing follows it.
"""

from __future__ import annotations

import ast
import contextlib
import io
import linecache
import os
import re
import sys
from types import ModuleType

from docs.generators.showing import functions_of
from ksc.errors import KnossosError

PREAMBLE = "import math\nimport torch\nimport ksc as knossos\n"

_MODE = re.compile(r"^<!-- run(: apart)? -->$", re.MULTILINE)
_BLOCK = re.compile(r"^```python(?P<options>[^\n]*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


def run_blocks(name: str, text: str) -> str:
    """The page with what its blocks print; as it is where it does not ask for that.

    Raises RuntimeError, which names the line of the page, where a block fails or does not do what the page says.
    """
    mode = _MODE.search(text)
    if mode is None:
        return text
    stem = re.sub(r"\W", "_", name.lower())
    shared = _module(stem)
    count = 0

    def with_output(found: re.Match[str]) -> str:
        nonlocal count
        count += 1
        options = dict(option.partition("=")[::2] for option in found["options"].split())
        module = _module(f"{stem}_{count}") if mode[1] else shared
        if mode[1]:
            exec(PREAMBLE, module.__dict__)
        try:
            printed = _run(found["code"], module, f"{stem}_{count}.py", options.get("raises"))
        except Exception as error:
            line = text.count("\n", 0, found.start()) + 1
            raise RuntimeError(f"docs/{name}.md:{line}: {type(error).__name__}: {error}") from error
        block = f"```python\n{found['code']}```"
        if not printed or "silent" in options:
            return block
        if "function" in options:
            printed = functions_of(printed)[options["function"]]
        language = "text" if "raises" in options else options.get("shows", "text")
        return f"{block}\n\n```{{code-block}} {language}\n:class: output\n\n{printed.rstrip()}\n```"

    return _BLOCK.sub(with_output, text)


def _module(name: str) -> ModuleType:
    # Dataclasses, pickle and inspect look a function's module up by its name.
    module = sys.modules[name] = ModuleType(name)
    return module


def _run(code: str, module: ModuleType, file: str, raises: str | None) -> str:
    """What the code prints, its last expression included, or the text of the error that it is to stop with."""
    linecache.cache[file] = len(code), None, code.splitlines(keepends=True), file
    body = ast.parse(code, file).body
    last = ast.Expression(body.pop().value) if body and isinstance(body[-1], ast.Expr) else None  # type: ignore[attr-defined]
    printed = io.StringIO()
    environment = dict(os.environ)
    try:
        with contextlib.redirect_stdout(printed):
            exec(compile(ast.Module(body, []), file, "exec"), module.__dict__)
            value = eval(compile(last, file, "eval"), module.__dict__) if last is not None else None
            if value is not None:
                print(value if isinstance(value, str) else repr(value))  # noqa: T201  into the page
    except KnossosError as error:
        if raises is None or error.code != raises:
            raise
        return f"{type(error).__name__}: {error}"
    finally:
        os.environ.clear()
        os.environ.update(environment)
    if raises is not None:
        raise AssertionError(f"the block was to stop with {raises}")
    return printed.getvalue()

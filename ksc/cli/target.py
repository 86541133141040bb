"""``FILE.py:NAME``: the kernel or function that a command is about."""

from __future__ import annotations

import argparse
import difflib
import importlib
import importlib.util
import inspect
import sys
import traceback
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ksc.errors import KnossosError
from ksc.ir.nodes import Span

if TYPE_CHECKING:
    from ksc.kernel import Kernel


class TargetError(KnossosError):
    """What ``FILE.py:NAME`` names cannot be had."""

    default_code = "KS900"


def add_target(parser: argparse.ArgumentParser) -> None:
    """The positional argument that the commands share."""
    target = parser.add_argument(
        "target",
        metavar="FILE.py:NAME",
        help="a kernel in a file, or a plain function, which is then taken elementwise",
    )
    # Read by shtab, see ``ksc.cli.completion``.
    target.complete = {"bash": "_shtab_compgen_files", "zsh": "_files", "tcsh": "f"}  # type: ignore[attr-defined]
    parser.add_argument(
        "--args",
        metavar="PYTHON",
        help="the arguments of a call to compile for, where annotations do not tell the dimensions of tensors: Python "
        "that the file could contain, such as 'torch.rand(4, 4), 3'",
    )


def load_object(target: str) -> object:
    """Import the file of ``FILE.py:NAME`` and give what ``NAME`` (dots allowed) stands for.

    Raises TargetError where there is no such file or name, or where the file fails to import.
    """
    file, colon, name = target.rpartition(":")
    if not colon or not name or not file:
        raise TargetError(f"{target!r} does not say which function", remedy="FILE.py:NAME, such as relu3.py:vrelu3")
    path = Path(file)
    if not path.is_file():
        raise TargetError(f"there is no file {file}")
    if path.suffix != ".py":
        raise TargetError(f"{file} is not a Python file")
    found: object = import_file(path)
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise TargetError(f"{file} has no {name}", remedy=_suggestion(part, found)) from None
    return found


def load_module(target: str) -> ModuleType:
    """Import ``FILE.py``, or a module by its dotted name as ``python -m`` would find it.

    Raises TargetError where there is none, or where it fails to import.
    """
    path = Path(target)
    if path.suffix == ".py":
        if not path.is_file():
            raise TargetError(f"there is no file {target}")
        return import_file(path)
    with _on_path(Path.cwd()), _import_errors(path):
        if _found_at(target) is None:
            raise TargetError(f"there is no module {target}", remedy="a file such as kernels.py, or a module's name")
        return importlib.import_module(target)


def load_kernel(target: str, args: str | None = None) -> Kernel:
    """The kernel that ``FILE.py:NAME`` stands for, specialised to ``args``, the text of a call's arguments, if given.

    A plain function becomes one: ``register`` if it takes a tensor, else ``elementwise``. Raises TargetError where the
    name stands for neither, or ``args`` cannot be evaluated.
    """
    import ksc
    from ksc.kernel import Kernel

    found = load_object(target)
    if inspect.isfunction(found):
        takes_tensor = any("Tensor" in str(annotation) for annotation in inspect.get_annotations(found).values())
        found = ksc.register(found) if takes_tensor else ksc.elementwise(found)
    if not isinstance(found, Kernel):
        raise TargetError(f"{target.rpartition(':')[2]} is a {type(found).__name__}, not a kernel or a function")
    if args is not None:
        found.compile(evaluated_args(args, found.__wrapped__), derivations=())
    return found


def evaluated_args(args: str, fn: Callable[..., object]) -> tuple[Any, ...]:
    """The arguments that a text stands for where the function was defined, ``torch`` being known in any case."""
    import torch

    names = {"torch": torch, **getattr(fn, "__globals__", {})}
    try:
        given: tuple[Any, ...] = eval(f"({args},)" if args.strip() else "()", names)
    except Exception as error:
        raise TargetError(f"--args {args!r}: {type(error).__name__}: {error}") from error
    return given


def import_file(path: Path) -> ModuleType:
    """Import a Python file as ``python FILE.py`` would find its neighbours, leaving ``sys.path`` as it was.

    A file inside a package is imported by its dotted name, so its relative imports work.
    """
    path = path.resolve()
    root, name = _dotted_name(path)
    # A file named like a module found elsewhere (test.py, torch.py) must not take that module's place.
    spare = f"ksc_file_{path.stem}_{zlib.crc32(bytes(path)):08x}"
    for known in (name, spare):
        if _file_of(sys.modules.get(known)) == path:
            return sys.modules[known]
    if "." not in name and (not name.isidentifier() or _found_at(name) not in (None, path)):
        name = spare
    with _on_path(root), _import_errors(path):
        if "." not in name:
            return _import_as(name, path)
        module = importlib.import_module(name)
    if _file_of(module) != path:
        raise TargetError(f"{path} cannot be imported: another {name} is at {_file_of(module)}")
    return module


def _import_as(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses, pickle and inspect look a function's module up by its name.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _dotted_name(path: Path) -> tuple[Path, str]:
    """The folder to import from, and the module's name as seen from there."""
    parts = [path.stem]
    root = path.parent
    while (root / "__init__.py").is_file():
        parts.insert(0, root.name)
        root = root.parent
    return root, ".".join(parts)


def _found_at(name: str) -> Path | None:
    if name in sys.modules:
        return _file_of(sys.modules[name])
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    return Path(spec.origin).resolve() if spec and spec.origin and spec.has_location else None


def _file_of(module: ModuleType | None) -> Path | None:
    file = getattr(module, "__file__", None)
    return Path(file).resolve() if file else None


@contextmanager
def _on_path(folder: Path) -> Iterator[None]:
    before = list(sys.path)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path[:] = before


@contextmanager
def _import_errors(path: Path) -> Iterator[None]:
    """Report whatever a user's file raises while it runs at the line that raised it.

    A KnossosError goes through as it is, since it names its own line.
    """
    try:
        yield
    except KnossosError:
        raise
    except SyntaxError as error:
        raise TargetError(f"{type(error).__name__}: {error.msg}", span=_syntax_span(error)) from error
    except (Exception, SystemExit) as error:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == path]
        message = f"{path.name} cannot be imported: {type(error).__name__}: {error}"
        raise TargetError(message, span=_frame_span(frames[-1]) if frames else None) from error


def _syntax_span(error: SyntaxError) -> Span | None:
    if error.filename is None or error.lineno is None:
        return None
    column = max(0, (error.offset or 1) - 1)
    end_column = max(column + 1, (error.end_offset or 1) - 1)
    return Span(error.filename, error.lineno, column, error.end_lineno or error.lineno, end_column, error.text or "")


def _frame_span(frame: traceback.FrameSummary) -> Span | None:
    if frame.lineno is None:
        return None
    column, end_column = frame.colno or 0, frame.end_colno or 0
    return Span(frame.filename, frame.lineno, column, frame.end_lineno or frame.lineno, end_column, frame.line or "")


def _suggestion(name: str, owner: object) -> str | None:
    from ksc.kernel import Kernel

    names = [
        key
        for key, value in vars(owner).items()
        if not key.startswith("_") and (inspect.isfunction(value) or isinstance(value, Kernel))
    ]
    close = difflib.get_close_matches(name, names, n=3) or sorted(names)[:8]
    return f"one of {', '.join(close)}" if close else None

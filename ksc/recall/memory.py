"""The traces that earlier processes left, one file for each kernel and structure of arguments.

    <build root>/torch_extensions/.traces/relu3-0123456789abcdef.json

A file holds the latest few, since a function made by another one exists with several closures.
"""

from __future__ import annotations

import functools
import hashlib
import json
import linecache
import os
import sys
import tempfile
import time
import tokenize
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ksc.compiler.store import TRACES, Store, file_stem, stores, writable_store
from ksc.errors import CacheError
from ksc.frontend.values import Abstract, Static, Struct, Value
from ksc.paths import PACKAGE_DIR
from ksc.recall.facts import Facts, NotPlainError, from_json, to_json
from ksc.recall.reach import Reach, UnknownReachError

if TYPE_CHECKING:
    from ksc.mapping import Mapping
    from ksc.specialise import Lanes
    from ksc.steps import Step

FORMAT = 1
MAX_TRACES = 8
"""How many traces a file holds."""


class Memory:
    """The traces of one function for one structure of arguments.

    Made before the function is traced, since what is kept must be older than that.
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        params: Sequence[Value],
        steps: Sequence[Step],
        mapping: Mapping,
        lanes: Sequence[Lanes],
    ) -> None:
        self._began = time.time_ns()
        self._roots = [fn, *(root for param in params for root in _roots(param))]
        words = (
            str(FORMAT), package_state(), sys.version, torch.__version__, str(getattr(fn, "__module__", "")),
            str(getattr(fn, "__qualname__", "")), repr(mapping), repr(tuple(steps)), repr(tuple(lanes)),
            *map(_text, params),
        )  # fmt: skip
        self._key = hashlib.sha256("\0".join(words).encode("utf-8", "surrogatepass")).hexdigest()
        self._file = f"{file_stem(getattr(fn, '__name__', ''))}-{self._key[:16]}.json"

    def recall(self) -> Facts | None:
        """What an earlier process found out, if everything that it read is the same now, else None.

        Raises CacheError where somebody else could have written it.
        """
        for store in stores():
            for trace in self._read(store):
                facts = self._recalled(trace)
                if facts is not None:
                    return facts
        return None

    def _recalled(self, trace: dict[str, Any]) -> Facts | None:
        try:
            names = iter(trace["names"])
            reach = Reach(self._roots, lambda fn: next(names))
            if reach.digest != trace["digest"]:
                return None
            return from_json(trace["facts"], reach.classes, tuple(reach.guards[place] for place in trace["guards"]))
        except (UnknownReachError, ValueError, KeyError, TypeError, IndexError, StopIteration):
            return None

    def _read(self, store: Store) -> list[dict[str, Any]]:
        path = store.folder / TRACES / self._file
        if not path.is_file():
            return []
        store.require_trusted(path)
        try:
            content = json.loads(path.read_text("utf-8"))
            traces = content["traces"] if content["key"] == self._key else []
        except (OSError, ValueError, KeyError, TypeError):
            return []
        return [trace for trace in traces if isinstance(trace, dict)] if isinstance(traces, list) else []

    def remember(self, facts: Facts) -> bool:
        """Keep what a trace in this process found out; whether that is so.

        It is not where something cannot be told exactly, or may have changed since the trace began.
        """
        try:
            trace = self._described(facts)
            if trace is None:
                return False
            store = writable_store()
            folder = store.folder / TRACES
            folder.mkdir(mode=0o755, parents=True, exist_ok=True)
            store.require_trusted(folder)
            others = [other for other in self._read(store) if other.get("digest") != trace["digest"]]
            content = {"key": self._key, "traces": [trace, *others[: MAX_TRACES - 1]]}
            _replace(folder / self._file, json.dumps(content))
        except (UnknownReachError, NotPlainError, OSError, CacheError):
            return False
        return True

    def _described(self, facts: Facts) -> dict[str, Any] | None:
        from ksc.recall.names import written_names

        if facts.calls_back or _state_of_package() != package_state():
            return None
        reach = Reach(self._roots, written_names)
        places = {(id(guard.container), guard.name): k for k, guard in enumerate(reach.guards)}
        read: list[int] = []
        for guard in facts.guards:
            place = places.get((id(guard.container), guard.name))
            # What is not found by name, or changed meanwhile, could change unnoticed.
            if place is None or reach.guards[place].seen is not guard.seen or not guard.holds():
                return None
            read.append(place)
        if not all(_read_as_it_is(path, self._began) for path in reach.files):
            return None
        return {
            "digest": reach.digest,
            "names": reach.written,
            "guards": read,
            "facts": to_json(facts, reach.classes),
        }


@functools.cache
def package_state() -> str:
    """A hash that changes with the files of this package, by their times and sizes as Python knows its modules."""
    return _state_of_package()


def _state_of_package() -> str:
    digest = hashlib.sha256(str(PACKAGE_DIR).encode())
    pending = [str(PACKAGE_DIR)]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if entry.is_dir(follow_symlinks=False):
                    if entry.name != "__pycache__":
                        pending.append(entry.path)
                elif entry.name.endswith((".py", ".jinja")):
                    state = entry.stat()
                    digest.update(f"{entry.path} {state.st_mtime_ns} {state.st_size}\0".encode())
    return digest.hexdigest()


def _read_as_it_is(path: str, began: int) -> bool:
    """Whether a source has been since ``began``, in nanoseconds since 1970, what a trace has read."""
    state = os.stat(path)
    if max(state.st_mtime_ns, state.st_ctime_ns) >= began - _CLOCK_STEP:
        return False
    try:
        with tokenize.open(path) as file:
            text = file.read()
    except (SyntaxError, UnicodeDecodeError):
        return False
    return text.rstrip("\n") == "".join(linecache.getlines(path)).rstrip("\n")


_CLOCK_STEP = 20_000_000
"""The times of files lag behind the clock by as much, in nanoseconds."""


def _replace(path: Path, text: str) -> None:
    """Write a file at once: who reads it meanwhile finds the old one or the new one."""
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, prefix=".", delete=False) as file:
        file.write(text)
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)


def _roots(value: Value) -> list[Any]:
    """The objects in the abstract value of a parameter."""
    match value:
        case Static(obj):
            return [obj]
        case Struct(cls=cls, items=items):
            return [cls, *(root for item in items for root in _roots(item))]
        case _:
            return []


def _text(value: Value) -> str:
    """The abstract value of a parameter as text; its objects are part of the digest."""
    match value:
        case Abstract():
            return repr({name: str(getattr(value, name)) for name in value.__dataclass_fields__})
        case Struct(cls=cls, items=items, keys=keys):
            return f"{cls.__qualname__} {keys} [{', '.join(map(_text, items))}]"
        case _:
            return type(value).__name__

"""What a trace has read from outside the function, so that a later change of it can be noticed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from operator import is_
from types import CellType, FunctionType, ModuleType
from typing import Any


class _Missing:
    """Marks a name that was looked up and not there."""

    def __repr__(self) -> str:
        return "<missing>"


MISSING = _Missing()

OF_FUNCTIONS = ("__code__", "__defaults__", "__kwdefaults__", "__annotations__")
"""What a trace reads of a function."""


@dataclass(frozen=True, slots=True, eq=False)
class Guard:
    """``container`` (a closure's cell, the dict of a module, or any object) held ``seen`` under ``name``."""

    container: CellType | Mapping[str, Any] | object
    name: str
    seen: object

    def holds(self) -> bool:
        """Whether the same object is still there."""
        return self.current() is self.seen

    def current(self) -> object:
        """What is there now, or MISSING."""
        match self.container:
            case CellType():
                try:
                    return self.container.cell_contents
                except ValueError:
                    return MISSING
            case dict():
                return self.container.get(self.name, MISSING)
            case _:
                return getattr(self.container, self.name, MISSING)


class Contents:
    """What a list or dict held, each item the very object that it was."""

    def __init__(self, container: list[Any] | dict[Any, Any]) -> None:
        self._container = container
        self.items = _items_of(container)

    @property
    def unchanged(self) -> bool:
        """Whether it holds the same still."""
        now = _items_of(self._container)
        return len(now) == len(self.items) and all(map(is_, now, self.items))


def _items_of(container: list[Any] | dict[Any, Any]) -> tuple[Any, ...]:
    """The items of a list; the keys of a dict, and then its values."""
    return (*container, *container.values()) if isinstance(container, dict) else tuple(container)


def place_of(container: object, name: str) -> object:
    """What to look ``name`` up in: of a module its dict, which is faster, unless it makes the attribute on demand."""
    return vars(container) if isinstance(container, ModuleType) and name in vars(container) else container


def _is_ours(module: object) -> bool:
    """Whether a module of that name belongs to this package."""
    return str(module).partition(".")[0] == "ksc"


class GuardSet:
    """The guards of a trace, each place once."""

    def __init__(self) -> None:
        self._guards: dict[tuple[int, str], Guard] = {}

    def record(self, container: object, name: str, seen: object) -> None:
        """Note that ``container`` held ``seen`` under ``name``; what belongs to this package is taken to be fixed."""
        container = place_of(container, name)
        if isinstance(container, dict) and _is_ours(container.get("__name__")):
            return
        if isinstance(container, ModuleType) and _is_ours(container.__name__):
            return
        if isinstance(container, FunctionType) and _is_ours(container.__module__):
            return
        self._guards.setdefault((id(container), name), Guard(container, name, seen))

    def record_contents(self, container: list[Any] | dict[Any, Any]) -> tuple[Any, ...]:
        """Note what a list or dict holds, and give it: its items, or its keys and then its values."""
        key = id(container), "unchanged"
        if key not in self._guards:
            # The container of the guard holds the list or dict, so that no other gets its id.
            self._guards[key] = Guard(Contents(container), "unchanged", True)
        found = self._guards[key].container
        assert isinstance(found, Contents)
        return found.items

    def record_function(self, function: FunctionType) -> None:
        """Note what a trace reads of a function: its code, its defaults and its annotations."""
        for name in OF_FUNCTIONS:
            self.record(function, name, getattr(function, name))
        if _is_ours(function.__module__):
            return
        code, annotations = function.__code__, function.__annotations__
        for name in (*code.co_varnames[: code.co_argcount + code.co_kwonlyargcount], "return"):
            self.record(annotations, name, annotations.get(name, MISSING))
        for name, seen in (function.__kwdefaults__ or {}).items():
            self.record(function.__kwdefaults__, name, seen)

    def freeze(self) -> tuple[Guard, ...]:
        """All guards, in the order of reading."""
        return tuple(self._guards.values())

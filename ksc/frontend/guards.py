"""What a trace has read from outside the function, so that a later change of it can be noticed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import CellType, FunctionType, ModuleType
from typing import Any


class _Missing:
    """Marks a name that was looked up and not there."""

    def __repr__(self) -> str:
        return "<missing>"


MISSING = _Missing()
_FIXED = ("math", "torch", "ksc")


@dataclass(frozen=True, slots=True, eq=False)
class Guard:
    """``container`` (a closure's cell, a module's globals, or any object) held ``seen`` under ``name``."""

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


class GuardSet:
    """The guards of a trace, each place once."""

    def __init__(self) -> None:
        self._guards: dict[tuple[int, str], Guard] = {}

    def record(self, container: object, name: str, seen: object) -> None:
        """Note that ``container`` held ``seen`` under ``name``; what belongs to the libraries is taken to be fixed."""
        if isinstance(container, ModuleType) and container.__name__.partition(".")[0] in _FIXED:
            return
        if isinstance(container, dict) and str(container.get("__name__")).startswith("ksc."):
            return
        if isinstance(container, FunctionType) and str(container.__module__).startswith("ksc."):
            return
        self._guards.setdefault((id(container), name), Guard(container, name, seen))

    def freeze(self) -> tuple[Guard, ...]:
        """All guards, in the order of reading."""
        return tuple(self._guards.values())

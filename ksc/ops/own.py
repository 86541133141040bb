"""Python's ``math`` for the compiler's own arithmetic, which goes on when a program replaces a function of it."""

from __future__ import annotations

import importlib.util
import math as _shared
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import math as math
else:

    def _own(module: ModuleType) -> ModuleType:
        """A module of C made once more, so that it has all its functions."""
        spec = importlib.util.find_spec(module.__name__)
        if spec is None or spec.loader is None:
            return module
        made = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(made)
        return made

    math = _own(_shared)

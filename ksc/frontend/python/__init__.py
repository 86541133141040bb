"""Python's built-in functions, by identity: how a call of each is traced."""

from __future__ import annotations

from typing import Any

from ksc.frontend.iterators import ITERATORS
from ksc.frontend.python.calls import Handler
from ksc.frontend.python.items import ITEMS
from ksc.frontend.python.numbers import NUMBERS

BUILTINS: dict[Any, Handler] = {**NUMBERS, **ITEMS, **ITERATORS}

"""The Python function behind an object that can be called."""

from __future__ import annotations

from functools import lru_cache
from types import FunctionType


def plain_function(obj: object) -> FunctionType | None:
    """The Python function that a call of ``obj`` runs, or None where there is none.

    A kernel names it as ``__knossos_function__``; a cache of ``functools`` wraps it. A wrapper that is itself a
    function is not looked through: what it adds would be lost.
    """
    for _ in range(100):
        if isinstance(obj, FunctionType):
            return obj
        inner = getattr(obj, "__knossos_function__", None)
        if inner is None and isinstance(obj, _CACHE_TYPE):
            inner = obj.__wrapped__
        if inner is None:
            return None
        obj = inner
    return None


_CACHE_TYPE = type(lru_cache(lambda: None))

"""What the user sees of the compiler at work: its logger, and tracebacks that end where the user's code called it.

``KSC_LOG`` (``debug``, ``info``, ``warning``, ``error``) shows what the logger ``ksc`` reports, on standard error; an
application that configures ``logging`` itself needs it not. ``KSC_TRACEBACK=full`` keeps the compiler's own frames.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Mapping
from functools import wraps
from typing import ParamSpec, TypeVar

from ksc.errors import KnossosError

LOG_VARIABLE = "KSC_LOG"
TRACEBACK_VARIABLE = "KSC_TRACEBACK"
LEVELS = ("debug", "info", "warning", "error")

P = ParamSpec("P")
R = TypeVar("R")


def configure_logging(environ: Mapping[str, str] = os.environ) -> None:
    """Show what the logger ``ksc`` reports from the level of ``KSC_LOG`` on; a level that is none is warned of."""
    level = environ.get(LOG_VARIABLE, "").lower()
    if not level:
        return
    if level not in LEVELS:
        warnings.warn(f"{LOG_VARIABLE}={level} is none of {', '.join(LEVELS)}", RuntimeWarning, stacklevel=2)
        return
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s: %(message)s", "%H:%M:%S"))
    logger = logging.getLogger("ksc")
    logger.setLevel(level.upper())
    logger.addHandler(handler)
    logger.propagate = False


def without_own_frames(method: Callable[P, R]) -> Callable[P, R]:
    """Errors of the method come without the frames below it: they show the user's line, not the compiler's."""

    @wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        # IPython and pytest leave such frames out by themselves.
        __tracebackhide__ = True
        try:
            return method(*args, **kwargs)
        except KnossosError as error:
            if os.environ.get(TRACEBACK_VARIABLE) == "full":
                raise
            raise error.with_traceback(None)  # noqa: B904  it is the same error

    return call

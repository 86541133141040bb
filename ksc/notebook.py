"""How a kernel shows itself in a notebook."""

from __future__ import annotations

import html
import inspect
from collections.abc import Callable
from typing import Any

_PRE = "overflow:auto;max-height:30em;margin:0;white-space:pre;font-family:monospace;line-height:1.3"
_PANE = f'<div style="flex:1;min-width:20em"><b>{{title}}</b><pre style="{_PRE}">{{text}}</pre></div>'


def kernel_html(title: str, fn: Callable[..., Any], cpp: str) -> str:
    """The Python source and the C++ side by side, as HTML."""
    try:
        source = inspect.getsource(fn)
    except (OSError, TypeError):
        source = "(the source is not to be had)"
    panes = "".join(
        _PANE.format(title=name, text=html.escape(text)) for name, text in (("Python", source), ("C++", cpp))
    )
    return f'<div><code>{html.escape(title)}</code><div style="display:flex;gap:1em">{panes}</div></div>'

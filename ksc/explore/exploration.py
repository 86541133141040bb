"""``kernel.explore()``: the page of a kernel, opened in a browser or shown in a notebook."""

from __future__ import annotations

import webbrowser
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ksc.explore.collect import collect
from ksc.explore.page import frame, render
from ksc.paths import build_root

if TYPE_CHECKING:
    from ksc.arguments import Leaf
    from ksc.kernel import Kernel


class Exploration:
    """A page about a kernel.

    Attributes:
        html: its text, complete in itself.
        path: where it was written, if it was.
    """

    def __init__(self, name: str, html: str) -> None:
        self.name = name
        self.html = html
        self.path: Path | None = None

    def save(self, path: str | Path) -> Exploration:
        """Write the page to a file and give it back."""
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(self.html, encoding="utf-8")
        return self

    def open(self) -> Exploration:
        """Show the page in the browser, writing it below the folder of built kernels if it has no file yet."""
        if self.path is None:
            self.save(build_root() / "explore" / f"{self.name}.html")
        assert self.path is not None
        webbrowser.open(self.path.resolve().as_uri())
        return self

    def __repr__(self) -> str:
        return f"<knossos page about {self.name}{f' at {self.path}' if self.path else ''}>"

    def _repr_html_(self) -> str:
        return frame(self.html)


def explore(
    kernel: Kernel,
    example_inputs: Iterable[Any] | None = None,
    *,
    path: str | Path | None = None,
    dtype: torch.dtype | None = None,
    plot_range: tuple[float, float] = (-3.0, 3.0),
) -> Exploration:
    """See ``Kernel.explore``."""
    special, leaves = kernel.example(example_inputs)
    page = collect(kernel, special, [_sizes(leaf) for leaf in leaves], dtype or torch.get_default_dtype(), plot_range)
    exploration = Exploration(kernel.__name__, render(page))
    if path is not None:
        return exploration.save(path)
    return exploration if _in_notebook() else exploration.open()


def _sizes(leaf: Leaf) -> list[int] | int | None:
    """The sizes of an argument, the mapped dimensions first, or what integer it is."""
    if isinstance(leaf.value, torch.Tensor):
        order = leaf.order or range(leaf.value.dim())
        return [leaf.value.shape[axis] for axis in order]
    return leaf.value if leaf.kind == "int" else None


def _in_notebook() -> bool:
    """Whether what an expression gives is shown as HTML."""
    try:
        from IPython import get_ipython  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        return False
    shell = get_ipython()
    return shell is not None and hasattr(shell, "kernel")

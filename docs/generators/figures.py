"""The figures, drawn when the site is built, once for a light page and once for a dark one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from docs.generators.drawings import FIGURES, Draw

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build" / "doc" / "figures"
INK = {"light": "#333333", "dark": "#cfd0d0"}


def figure(name: str, caption: str) -> str:
    """A figure by name, with what it shows, which is also what is read out in its place."""
    parts = []
    for mode in INK:
        path = FOLDER / f"{name}-{mode}.svg"
        _draw(FIGURES[name], path, mode)
        parts.append(f"```{{image}} ../build/doc/figures/{path.name}\n:class: only-{mode}\n:alt: {caption}\n```")
    return "\n\n".join([*parts, f"*{caption}*"])


def _draw(draw: Draw, path: Path, mode: str) -> None:
    # The object interface of matplotlib: no display, no global state.
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    ink = INK[mode]
    colours: dict[Any, str] = {f"{place}.color": ink for place in ("text", "xtick", "ytick")} | {
        "axes.edgecolor": ink,
        "axes.labelcolor": ink,
    }
    with rc_context({**colours, "svg.fonttype": "none", "font.size": 11, "svg.hashsalt": "knossos"}):
        drawn = Figure(figsize=(6.4, 3.2), layout="constrained")
        FigureCanvasSVG(drawn)
        axes = drawn.subplots()
        axes.patch.set_alpha(0)
        axes.grid(alpha=0.2)
        draw(axes)
        axes.spines[["top", "right"]].set_visible(False)
        if axes.get_legend() is None and axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        drawn.savefig(path, transparent=True, metadata={"Date": None})

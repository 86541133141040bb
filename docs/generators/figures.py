"""The figures, drawn when the site is built, once for a light page and once for a dark one."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ksc.cli.target import import_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build" / "doc" / "figures"
EPOCHS = 10

Draw = Callable[["Axes"], None]
INK = {"light": "#333333", "dark": "#cfd0d0"}
FIRST, SECOND = "#2a7fba", "#e07b39"


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
        draw(axes)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.2)
        axes.legend(frameon=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        drawn.savefig(path, transparent=True, metadata={"Date": None})


def _relu3(axes: Axes) -> None:
    import torch

    kernel = _example("dl-activations/relu3").vrelu3
    x = torch.linspace(-1.5, 2.0, steps=351)
    axes.plot(x, kernel(x), color=FIRST, linewidth=2.2, label="relu3")
    axes.plot(x, kernel.vjp(x, torch.ones_like(x)), color=SECOND, linewidth=2.2, label="its derivative")
    axes.plot(x, torch.relu(x), color=FIRST, linewidth=1, linestyle=":", label="ReLU")
    axes.margins(x=0)


def _training(axes: Axes) -> None:
    ours, theirs = training()
    epochs = range(1, EPOCHS + 1)
    axes.plot(epochs, ours.losses, color=FIRST, linewidth=3.5, alpha=0.6, label="relu3 compiled by Knossos")
    axes.plot(epochs, theirs.losses, color=SECOND, linewidth=1.6, linestyle=(0, (5, 3)), label="relu3 in PyTorch")
    axes.set_xlabel("epoch")
    axes.set_ylabel("mean loss")
    axes.margins(x=0)


@cache
def training() -> tuple[Any, Any]:
    """The histories of two trainings from one seed, with the kernel and with the PyTorch reference."""
    digits = _example("dl-activations/relu3_digits")
    # Its progress is for a terminal.
    with contextlib.redirect_stderr(io.StringIO()):
        ours = digits.train(digits.vrelu3.nnModule, epochs=EPOCHS)
        return ours, digits.train(digits.Relu3Reference(), epochs=EPOCHS)


def accuracy() -> str:
    """How many digits both networks recognise."""
    ours, theirs = training()
    apart = max(abs(a - b) for a, b in zip(ours.losses, theirs.losses, strict=True))
    return (
        f"After {EPOCHS} epochs {ours.accuracy:.1%} of the digits that were held out are recognised with Knossos and "
        f"{theirs.accuracy:.1%} with PyTorch; the curves differ by {apart:.0e} at most."
    )


def _mixture(axes: Axes) -> None:
    fit = _example("ml-gmm/fit")
    x, _ = fit.sample(300)
    _, means, _, _ = fit.fit(x, 3)
    axes.scatter(x[:, 0], x[:, 1], s=6, color=FIRST, alpha=0.5, label="points")
    axes.scatter(means[:, 0], means[:, 1], s=90, marker="x", color=SECOND, linewidth=2.5, label="means found")
    axes.set_aspect("equal")


FIGURES: Mapping[str, Draw] = {"relu3": _relu3, "training": _training, "mixture": _mixture}


def _example(name: str) -> Any:
    return import_file(ROOT / "examples" / f"{name}.py")

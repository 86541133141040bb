"""What the figures show: the examples at work."""

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
EPOCHS = 10

Draw = Callable[["Axes"], None]
FIRST, SECOND = "#2a7fba", "#e07b39"


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
    _legend_beside(axes)


def _legend_beside(axes: Axes) -> None:
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.02, 0.5))


def _adjustment(axes: Axes) -> None:
    adjust = _example("cv-ba/adjust")
    scene, guess = adjust.synthetic_scene()
    adjusted, _ = adjust.solve(guess)
    first = scene.camera_of == 0
    seen = scene.features[first]
    before, after = (seen + adjust.errors_of(*found.observations())[first] for found in (guess, adjusted))
    for start, end in zip(seen, before, strict=True):
        axes.plot(*zip(start, end, strict=True), color=SECOND, linewidth=0.8, alpha=0.6)
    axes.scatter(*seen.T, s=46, facecolors="none", edgecolors=FIRST, linewidth=1.2, label="seen")
    axes.scatter(*before.T, s=8, color=SECOND, label="from the first guess")
    axes.scatter(*after.T, s=8, color=FIRST, label="after the adjustment")
    axes.set_aspect("equal")
    axes.set_xlabel("pixels")
    _legend_beside(axes)


def _hand(axes: Axes) -> None:
    import torch

    track = _example("cv-hand/track")
    model, which, pose = track.synthetic()
    points = track.seen_in(pose, model, which)
    found, _ = track.track(model, which, points)
    for label, each, colour in (
        ("the hand at rest", torch.zeros_like(found), SECOND),
        ("the pose found", found, FIRST),
    ):
        places = track.joints(each, model)[:, :2]
        for bone, parent in enumerate(model.parents.tolist()):
            if parent >= 0:
                ends = torch.stack([places[parent], places[bone]])
                axes.plot(*ends.T, color=colour, linewidth=2.0, alpha=0.8, label=label if bone == 1 else None)
    axes.scatter(*points[:, :2].T, s=14, facecolors="none", edgecolors=FIRST, linewidth=0.8, label="points seen")
    axes.set_aspect("equal")
    _legend_beside(axes)


def _characters(axes: Axes) -> None:
    _, losses = characters()
    axes.plot(losses, color=FIRST, linewidth=2.2, label="cross entropy, nats a character")
    axes.set_xlabel("round")
    axes.set_ylim(bottom=0)
    axes.margins(x=0)


@cache
def characters() -> tuple[Any, list[float]]:
    """The character model after its training, and its loss in each round."""
    lstm = _example("dl-lstm/lstm_cell")
    with contextlib.redirect_stderr(io.StringIO()):
        model, losses = lstm.train()
    return model, losses


def written() -> str:
    """How the character model goes on with a beginning."""
    start = "the loom of "
    model, losses = characters()
    text = _example("dl-lstm/lstm_cell").write_on(model, start, 48)
    return f"After {len(losses)} rounds it goes on with `{start.strip()}` as: `{text.strip()}`"


def _mandelbrot(axes: Axes) -> None:
    import torch

    mandelbrot = _example("numerics/mandelbrot")
    re, im = mandelbrot.grid(480, 384)
    times = mandelbrot.escape_times(re, im)
    by_re, by_im = mandelbrot.escape_times.grad(*torch.broadcast_tensors(re, im), argnums=(0, 1))
    steepness = torch.log10(1.0 + torch.hypot(by_re, by_im)).where(times < 200.0, torch.nan)
    shown = axes.imshow(steepness, extent=(-2.2, 0.8, -1.2, 1.2), cmap="viridis", aspect="equal", origin="lower")
    axes.figure.colorbar(shown, ax=axes, label="log10 of the slope")
    axes.grid(visible=False)


FIGURES: Mapping[str, Draw] = {
    "relu3": _relu3,
    "training": _training,
    "mixture": _mixture,
    "adjustment": _adjustment,
    "hand": _hand,
    "characters": _characters,
    "mandelbrot": _mandelbrot,
}
"""The figures by name."""


def _example(name: str) -> Any:
    return import_file(ROOT / "examples" / f"{name}.py")

"""``ksc demo``: the way from a Python function to a trained network."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ksc.cli.target import TargetError, import_file
from ksc.errors import KnossosError
from ksc.paths import build_root, examples_dir

if TYPE_CHECKING:
    from torch import Tensor

    from ksc.kernel import Kernel

REQUIRED = ("sklearn", "matplotlib", "tqdm")
CLANG_STYLE = "{BasedOnStyle: LLVM, IndentWidth: 4, ColumnLimit: 110, SortIncludes: Never}"
VALUE_COLOUR, REFERENCE_COLOUR = "#1b6ca8", "#e07b39"


class DemoError(KnossosError):
    """The demo lacks something, or found Knossos and PyTorch to disagree."""

    default_code = "KS910"


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = commands.add_parser("demo", help="from relu3 to a network trained with it")
    parser.add_argument("--epochs", type=_positive, default=20, help="passes over the training data (20)")
    parser.add_argument("--out", type=Path, help="folder for the plots and the C++ (build/doc)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Compile relu3, plot it, and train a network with it beside the PyTorch reference."""
    missing = [name for name in REQUIRED if importlib.util.find_spec(name) is None]
    if missing:
        raise DemoError(f"the demo needs {', '.join(missing)}", remedy="pip install 'ksc[examples]'")
    out: Path = args.out or build_root() / "doc"
    out.mkdir(parents=True, exist_ok=True)
    example = _example("relu3")
    _compile(example, out)
    _plot(example, out)
    _train(_example("relu3_digits"), args.epochs, out)
    return 0


def _compile(example: ModuleType, out: Path) -> None:
    import torch

    kernel: Kernel = example.vrelu3
    _headline("1. A function of one number, in Python")
    print(f"relu3(0.5) = {example.relu3(0.5):.6f}     plain Python, as before")

    _headline("2. The same function on tensors, compiled on first use")
    x = torch.arange(-3, 3, step=0.1)
    start = time.perf_counter()
    y = kernel(x)
    seconds = time.perf_counter() - start
    _agree("value", y, example.relu3_pt(x))
    print(f"vrelu3(t): {x.numel()} elements, compiled and computed in {seconds:.2f} s; the PyTorch reference agrees")

    _headline("3. Its derivative, from the source")
    gradient = kernel.vjp(x, torch.ones_like(x))
    _agree("derivative", gradient, _reference_gradient(example, x))
    print("vrelu3.vjp(t, ones): autograd, through the reference, agrees")

    _headline("4. The C++")
    pretty = out / "relu3.cpp"
    pretty.write_text(prettify(kernel.cpp), encoding="utf-8")
    print(f"built    {kernel.source_path}")
    print(f"to read  {pretty}")


def _plot(example: ModuleType, out: Path) -> None:
    import torch

    x = torch.linspace(-2.0, 3.0, steps=501)
    value, gradient = out / "relu3-plot.png", out / "relu3-grad-plot.png"
    kernel: Kernel = example.vrelu3
    curves(value, x, {"relu3": kernel(x), "ReLU": torch.relu(x)}, "relu3 and ReLU", "value")
    slopes = {"relu3": kernel.vjp(x, torch.ones_like(x)), "ReLU": (x > 0).float()}
    curves(gradient, x, slopes, "Derivatives of relu3 and ReLU", "derivative")
    _headline("5. Plots")
    print(value)
    print(gradient)


def _train(example: ModuleType, epochs: int, out: Path) -> None:
    import torch

    _headline("6. A network with it, on 1,797 handwritten digits")
    ours = example.train(example.vrelu3.nnModule, epochs=epochs, label="with Knossos")
    theirs = example.train(example.Relu3Reference(), epochs=epochs, label="with PyTorch")
    losses = {"Knossos": torch.tensor(ours.losses), "PyTorch": torch.tensor(theirs.losses)}
    plot = out / "relu3-digits-plot.png"
    curves(plot, torch.arange(1, epochs + 1), losses, "Training loss", "mean loss", "epoch")
    apart = (losses["Knossos"] - losses["PyTorch"]).abs().max().item()
    print(f"last loss          {ours.losses[-1]:.4f} with Knossos, {theirs.losses[-1]:.4f} with PyTorch")
    print(f"curves differ by   {apart:.1e} at most")
    print(f"held-out accuracy  {ours.accuracy:.1%} with Knossos, {theirs.accuracy:.1%} with PyTorch")
    print(plot)


def curves(path: Path, x: Tensor, ys: dict[str, Tensor], title: str, y_label: str, x_label: str = "x") -> None:
    """Save a line plot of at most two named curves over ``x``, the second one dashed."""
    # The object interface of matplotlib: no display, no global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(6.0, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    styles: Sequence[dict[str, Any]] = (
        {"color": VALUE_COLOUR, "linewidth": 2.4},
        {"color": REFERENCE_COLOUR, "linewidth": 1.6, "linestyle": (0, (5, 3))},
    )
    for (label, y), style in zip(ys.items(), styles, strict=True):
        axes.plot(x.numpy(), y.detach().numpy(), label=label, **style)
    axes.set_title(title, loc="left")
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.margins(x=0)
    if not x.is_floating_point():
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False)
    figure.savefig(path, dpi=160)


def prettify(cpp: str) -> str:
    """The C++ as clang-format sets it, or as it is where that is not installed."""
    tool = shutil.which("clang-format") or shutil.which("clang-format", path=str(Path(sys.executable).parent))
    if tool is None:
        return cpp
    command = [tool, f"--style={CLANG_STYLE}", "--assume-filename=kernel.cpp"]
    done = subprocess.run(command, input=cpp, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else cpp


def _reference_gradient(example: ModuleType, x: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    example.relu3_pt(x).sum().backward()
    assert x.grad is not None
    return x.grad


def _agree(what: str, ours: Tensor, theirs: Tensor) -> None:
    import torch

    if not torch.allclose(ours, theirs, rtol=1e-5, atol=1e-6):
        raise DemoError(f"the {what} of Knossos differs from the reference by {(ours - theirs).abs().max():.1e}")


def _example(name: str) -> ModuleType:
    path = examples_dir() / "dl-activations" / f"{name}.py"
    if not path.is_file():
        raise TargetError(f"the example {path} is missing", remedy="install ksc again")
    return import_file(path)


def _headline(text: str) -> None:
    print(f"\n{text}\n{'-' * len(text)}", flush=True)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("at least 1 is needed")
    return value

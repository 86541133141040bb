"""``python -m ksc.bench.gpu``: kernels on a GPU beside PyTorch's, against the speed at which the GPU copies.

Times are those of the device, between two events, the least of several runs; of a launch alone, those of the host.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

import ksc as knossos
from ksc.bench import gpu_jax, gpu_products
from ksc.cli.target import import_file
from ksc.paths import build_root, examples_dir

Call = Callable[[], Any]
DEVICE = "cuda"
LAUNCHES = 2000
PRODUCTS = "KSC_CUDA_PRODUCTS"
WARM_UPS = 2
LONG_ENOUGH = 5000.0
"""Milliseconds of one peer on one row, after which it is not run again."""


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table.

    Attributes:
        name: what is computed.
        times: for each peer, in milliseconds; NaN where it could not be run.
        bytes: what is read and written at least; 0 where that says nothing.
        failures: why a peer could not be run.
    """

    name: str
    times: dict[str, float]
    bytes: int = 0
    failures: dict[str, str] = field(default_factory=dict)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, save; gives 0 also where there is no GPU, which it says, and 1 where some of the rows failed."""
    parser = argparse.ArgumentParser(prog="python -m ksc.bench.gpu", description="Time kernels on a GPU.")
    parser.add_argument("--only", nargs="+", default=[], choices=GROUPS, help="some of the rows")
    parser.add_argument("--scale", type=float, default=1.0, help="of all sizes, for a quick look")
    parser.add_argument("--json", type=Path, default=build_root() / "bench" / "gpu.json")
    parser.add_argument("--table", action="store_true", help="print what the file has; nothing is measured")
    options = parser.parse_args(arguments)
    if options.table:
        record = json.loads(options.json.read_text("utf-8"))
        sys.stdout.write(f"{table([Row(**row) for row in record['rows']], record['copy_gb_per_s'])}\n")
        return 0
    if not torch.cuda.is_available():
        sys.stdout.write("No GPU is visible to PyTorch: nothing was measured.\n")
        return 0
    torch.set_float32_matmul_precision("highest")
    copy = copy_bandwidth()
    rows: list[Row] = []
    failed: list[str] = []
    options.json.parent.mkdir(parents=True, exist_ok=True)
    for name in options.only or GROUPS:
        try:
            for row in GROUPS[name](options.scale):
                rows.append(row)
                # What has been measured is there, whatever comes of the rest.
                _save(options.json, rows, copy)
                sys.stdout.write(f"{_line(row, copy)}\n")
                sys.stdout.flush()
        except Exception:
            sys.stderr.write(f"{name}: {traceback.format_exc()}")
            failed.append(name)
    sys.stdout.write(f"\n{table(rows, copy)}\n\n")
    sys.stdout.write(f"{options.json}\n")
    return 1 if failed else 0


def _save(place: Path, rows: Sequence[Row], copy: float) -> None:
    record = {
        "gpu": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "copy_gb_per_s": copy,
        "rows": [asdict(row) for row in rows],
    }
    place.write_text(json.dumps(record, indent=2), "utf-8")


def milliseconds(call: Call, runs: int = 20) -> float:
    """The least time on the device; the cache is emptied before each run."""
    if isinstance(call, gpu_jax.JaxCall):
        return call.milliseconds(runs)
    for _ in range(WARM_UPS):
        call()
    flush = torch.empty(64 << 20, dtype=torch.int32, device=DEVICE)
    best, spent = math.inf, 0.0
    for _ in range(runs):
        if spent > LONG_ENOUGH:
            break
        flush.zero_()
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        begin.record()
        call()
        end.record()
        end.synchronize()
        best = min(best, begin.elapsed_time(end))
        spent += begin.elapsed_time(end)
    return best


def copy_bandwidth() -> float:
    """Of a copy of 1 GiB, read plus write, in GB/s."""
    source = torch.empty(1 << 28, device=DEVICE)
    target = torch.empty_like(source)
    return float(2 * source.numel() * 4 / milliseconds(lambda: target.copy_(source)) / 1e6)


def measured(name: str, peers: dict[str, Call], moved: int = 0) -> Row:
    """A row; a peer that raises is left out, with its reason."""
    times, failures = {}, {}
    for peer, call in peers.items():
        try:
            times[peer] = milliseconds(call)
        except Exception as failed:
            times[peer], failures[peer] = math.nan, f"{type(failed).__name__}: {failed}".splitlines()[0]
        torch.cuda.empty_cache()
    return Row(name, times, moved, failures)


def example(place: str) -> ModuleType:
    """A file of the examples."""
    return import_file(examples_dir() / f"{place}.py")


def backward(function: Callable[..., torch.Tensor], *args: torch.Tensor) -> Call:
    """A call of the backward pass alone, whose first call runs the forward pass."""

    @cache
    def prepared() -> tuple[torch.Tensor, list[torch.Tensor], torch.Tensor]:
        inputs = [arg.detach().requires_grad_() for arg in args]
        y = function(*inputs)
        return y, inputs, torch.ones_like(y)

    def call() -> Any:
        y, inputs, seed = prepared()
        return torch.autograd.grad(y, inputs, seed, retain_graph=True)

    return call


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """By PyTorch's compiler."""
    torch._dynamo.reset()
    done: Callable[..., Any] = torch.compile(function, dynamic=False)
    return done


def add_jax(forward: dict[str, Call], reverse: dict[str, Call], function: Callable[..., Any], x: torch.Tensor) -> None:
    """Both directions by JAX, where it has a GPU."""
    if gpu_jax.sees_a_gpu():
        forward["JAX"], reverse["JAX"] = gpu_jax.forward(function, x), gpu_jax.backward(function, x)


def elementwise(scale: float) -> Iterator[Row]:
    """relu3 and gelu."""
    relu3, gelu = example("dl-activations/relu3"), example("dl-activations/gelu")
    both = ((relu3, "relu3", relu3.vrelu3, relu3.relu3_pt), (gelu, "gelu", gelu.vgelu, gelu.gelu_pt_builtin))
    x = torch.randn(max(1, int(scale * (1 << 26))), device=DEVICE)
    for module, name, kernel, eager in both:
        fast = compiled(eager)
        forward: dict[str, Call] = {
            "ours": partial(kernel, x),
            "eager": partial(eager, x),
            "compile": partial(fast, x),
        }
        reverse = {"ours": backward(kernel, x), "eager": backward(eager, x), "compile": backward(fast, x)}
        add_jax(forward, reverse, getattr(module, f"{name}_jax"), x)
        yield measured(f"{name} forward 2^{math.log2(x.numel()):.0f}", forward, 8 * x.numel())
        yield measured(f"{name} backward 2^{math.log2(x.numel()):.0f}", reverse, 12 * x.numel())


def blocks(scale: float) -> Iterator[Row]:
    """vsqrl."""
    sqrl = example("dl-capsule/sqrl")
    for count, side in ((1_000_000, 4), (100_000, 16)):
        x = torch.randn(max(1, int(scale * count)), side, side, device=DEVICE)
        fast = compiled(sqrl.vsqrl_pt)
        title = f"{x.shape[0]}x{side}x{side}"
        forward: dict[str, Call] = {
            "ours": partial(sqrl.vsqrl, x),
            "eager": partial(sqrl.vsqrl_pt, x),
            "compile": partial(fast, x),
        }
        reverse = {
            "ours": backward(sqrl.vsqrl, x),
            "eager": backward(sqrl.vsqrl_pt, x),
            "compile": backward(fast, x),
        }
        add_jax(forward, reverse, sqrl.vsqrl_jax, x)
        yield measured(f"vsqrl forward {title}", forward, 4 * (x.numel() + x.shape[0]))
        yield measured(f"vsqrl backward {title}", reverse, 4 * (2 * x.numel() + x.shape[0]))


POINTS = 1 << 18
"""So many at a time, for which there is memory; a compiler unrolls the loop over them."""


def gmm_by_hand(
    alphas: torch.Tensor, means: torch.Tensor, icf: torch.Tensor, x: torch.Tensor, gamma: float, m: int
) -> torch.Tensor:
    """The objective of examples/ml-gmm in matrix products, as one writes it in PyTorch; the prior is left out."""
    d = x.shape[1]
    q, packed = icf[:, :d], icf[:, d:]
    rows, columns = torch.tril_indices(d, d, -1, device=x.device)
    places = columns * (2 * d - columns - 1) // 2 + rows - columns - 1
    factors = torch.diag_embed(torch.exp(q)).index_put(
        (torch.arange(len(q), device=x.device)[:, None], rows, columns), packed[:, places]
    )
    total = x.new_zeros(())
    for part in torch.split(x, POINTS):
        moved = torch.einsum("kij,nj->nki", factors, part) - torch.einsum("kij,kj->ki", factors, means)
        total = total + torch.logsumexp(alphas + q.sum(1) - 0.5 * moved.square().sum(2), 1).sum()
    return total - x.shape[0] * torch.logsumexp(alphas, 0)


def mixture(scale: float) -> Iterator[Row]:
    """The gradient of a Gaussian mixture."""
    gmm = example("ml-gmm/gmm")
    n, d, components = max(1, int(scale * 1_000_000)), 64, 50
    given = [torch.randn(components), torch.randn(components, d), 0.1 * torch.randn(components, d * (d + 1) // 2)]
    alphas, means, icf = (value.to(DEVICE) for value in given)
    x = torch.randn(n, d, device=DEVICE)
    by_hand = torch.func.grad(gmm_by_hand, argnums=(0, 1, 2))
    fast = compiled(by_hand)
    peers: dict[str, Call] = {
        name: partial(peer, alphas, means, icf, x, 1.0, 0)
        for name, peer in (("ours", gmm.gradient), ("eager", by_hand), ("compile", fast))
    }
    if gpu_jax.sees_a_gpu():
        peers["JAX"] = gpu_jax.mixture(alphas, means, icf, x)
    yield measured(f"GMM gradient n{n} d{d} K{components}", peers)


def products(scale: float) -> Iterator[Row]:
    """Products of matrices, where PyTorch has cuBLAS, without TF32; those that ours sends there by the grid as well."""
    for name, function, dtype, shapes in gpu_products.CASES:
        small = [tuple(max(1, int(scale * size)) for size in shape) for shape in shapes]
        args = [torch.randn(shape, dtype=dtype, device=DEVICE) for shape in small]
        peers: dict[str, Callable[..., Any]] = {
            "ours": knossos.register(function),
            "eager": function,
            "compile": compiled(function),
        }
        yield measured(f"{name} forward", {peer: partial(call, *args) for peer, call in peers.items()})
        yield measured(f"{name} backward", {peer: backward(call, *args) for peer, call in peers.items()})
        ours = peers["ours"]
        with by_the_grid():
            yield measured(f"{name} forward, by the grid", {"ours": partial(ours, *args)})
            yield measured(f"{name} backward, by the grid", {"ours": backward(ours, *args)})


@contextmanager
def by_the_grid() -> Iterator[None]:
    """Keep all products of matrices in the kernel."""
    before = os.environ.get(PRODUCTS, "")
    os.environ[PRODUCTS] = "grid"
    try:
        yield
    finally:
        os.environ[PRODUCTS] = before


def launches(scale: float) -> Iterator[Row]:
    """What a call of 16 elements costs the host."""
    relu3 = example("dl-activations/relu3").vrelu3
    x = torch.randn(16, device=DEVICE)

    def per_call(call: Call) -> float:
        best = math.inf
        for _ in range(10):
            torch.cuda.synchronize()
            began = time.perf_counter()
            for _ in range(LAUNCHES):
                call()
            best = min(best, time.perf_counter() - began)
            torch.cuda.synchronize()
        return 1e3 * best / LAUNCHES

    del scale
    relu3(x)
    yield Row("launch of 16 elements", {"ours": per_call(lambda: relu3(x)), "eager": per_call(lambda: torch.relu(x))})


GROUPS: dict[str, Callable[[float], Iterator[Row]]] = {
    "elementwise": elementwise,
    "vsqrl": blocks,
    "launch": launches,
    "gmm": mixture,
    "products": products,
}


def table(rows: Sequence[Row], copy: float) -> str:
    """In Markdown: milliseconds, and what part of a copy's speed ours has."""
    lines = [f"A copy moves {copy:.0f} GB/s.", "", "| ms | ours | eager | torch.compile | JAX | of a copy's speed |"]
    lines.append("| --- | --- | --- | --- | --- | --- |")
    lines += [_line(row, copy) for row in rows]
    lines += [f"{row.name}, {peer}: {reason}" for row in rows for peer, reason in row.failures.items()]
    return "\n".join(lines)


def _line(row: Row, copy: float) -> str:
    ours = row.times["ours"]
    part = f"{100 * row.bytes / ours / 1e6 / copy:.0f} %" if row.bytes else ""
    shown = [f"{row.times[peer]:.4g}" if peer in row.times else "" for peer in ("ours", "eager", "compile", "JAX")]
    return f"| {row.name} | {' | '.join(shown)} | {part} |"


if __name__ == "__main__":
    sys.exit(main())

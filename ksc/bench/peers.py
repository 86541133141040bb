"""What a kernel is compared with, each as a function without arguments that does one call's work."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

import torch

from ksc.bench import handwritten
from ksc.bench.convention import Benchmark, Function
from ksc.bench.lifted import by_warp

Mode = Literal["forward", "backward", "both"]
MODES: tuple[Mode, ...] = ("forward", "backward", "both")

Call = Callable[[], Any]

OURS = "knossos"
HAND = "hand C++"
IN_THREADS = frozenset({"JAX"})
"""Peers that work in threads of their own, whose time on the processor is told after the call."""


def peers(
    benchmark: Benchmark, args: tuple[torch.Tensor, ...], mode: Mode, *, only: Iterable[str] = ()
) -> dict[str, Call]:
    """Each peer that is there, by its name in the table; the kernel itself first.

    Args:
        benchmark: the kernel.
        args: of the case.
        mode: ``forward`` without gradients, ``backward`` from a graph that is kept, or ``both``, as in training.
        only: names to keep, beside the kernel; all if there are none.
    """
    wanted = set(only)
    calls: dict[str, Call] = {}
    for name, make in _functions(benchmark, args):
        if not wanted or name in wanted or name == OURS:
            calls[name] = _torch_call(make(), args, mode)
    for name, make_call in _others(benchmark, args, mode):
        call = make_call() if not wanted or name in wanted else None
        if call is not None:
            calls[name] = call
    return calls


def _functions(benchmark: Benchmark, args: tuple[torch.Tensor, ...]) -> Iterator[tuple[str, Callable[[], Function]]]:
    yield OURS, lambda: benchmark.kernel
    if benchmark.hand is not None:
        yield HAND, lambda: handwritten.operator(benchmark, args)
    first = benchmark.pytorch["pt"]
    yield "torch.compile", lambda: _compiled(first)
    yield "eager", lambda: first
    for name, function in benchmark.pytorch.items():
        if function is not first:
            yield name.removeprefix("pt_"), lambda function=function: function  # type: ignore[misc]
    lane = benchmark.lane
    if lane is not None:
        yield "func.vmap", lambda: torch.func.vmap(lane)
    warp = benchmark.warp
    if warp is not None and importlib.util.find_spec("warp") is not None:
        yield "Warp", lambda: by_warp(warp)


def _compiled(function: Function) -> Function:
    """The function under torch.compile, for just these sizes and this number of threads."""
    from torch._inductor import config

    # What Inductor has cached for another number of threads would be taken otherwise.
    config.cpp.threads = torch.get_num_threads()
    return torch.compile(function, dynamic=False)


def _torch_call(function: Function, args: tuple[torch.Tensor, ...], mode: Mode) -> Call:
    if mode == "forward":
        return lambda: function(*args)
    leaves = tuple(arg.detach().clone().requires_grad_(arg.is_floating_point()) for arg in args)
    wanted = [leaf for leaf in leaves if leaf.requires_grad]
    result = function(*leaves)
    seed = torch.ones_like(result)
    if mode == "backward":
        return lambda: torch.autograd.grad(result, wanted, seed, retain_graph=True)
    return lambda: torch.autograd.grad(function(*leaves), wanted, seed)


def _others(
    benchmark: Benchmark, args: tuple[torch.Tensor, ...], mode: Mode
) -> Iterator[tuple[str, Callable[[], Call | None]]]:
    if benchmark.jax is not None and importlib.util.find_spec("jax") is not None:
        function = benchmark.jax
        yield "JAX", lambda: _jax_call(function, args, mode)
    elementwise = benchmark.kernel.mapping.lift != "scalar" and all(arg.dim() <= 1 for arg in args)
    if mode == "forward" and elementwise and importlib.util.find_spec("numba") is not None:
        yield "Numba", lambda: _numba_call(benchmark.kernel.__wrapped__, args)


def _jax_call(function: Function, args: tuple[torch.Tensor, ...], mode: Mode) -> Call:
    import jax  # type: ignore[import-not-found, unused-ignore]

    arrays = [jax.numpy.asarray(arg.numpy()) for arg in args]
    compiled = jax.jit(function)
    seed = jax.numpy.ones_like(compiled(*arrays))
    if mode == "forward":
        return lambda: compiled(*arrays).block_until_ready()
    if mode == "backward":
        pull = jax.jit(jax.vjp(compiled, *arrays)[1])
        return lambda: jax.block_until_ready(pull(seed))

    def value_and_pulled(seed: Any, *given: Any) -> tuple[Any, Any]:
        value, pull = jax.vjp(function, *given)
        return value, pull(seed)

    both = jax.jit(value_and_pulled)
    return lambda: jax.block_until_ready(both(seed, *arrays))[1]


def _numba_call(function: Function, args: tuple[torch.Tensor, ...]) -> Call | None:
    """A call of what Numba makes of the function; None where it calls what Numba does not know, as torch."""
    import numba  # type: ignore[import-not-found, unused-ignore]

    compiled = numba.vectorize(function)
    arrays = [arg.numpy() for arg in args]
    try:
        compiled(*arrays)
    except numba.core.errors.TypingError:
        return None
    return lambda: compiled(*arrays)


def disagreement(calls: dict[str, Call]) -> dict[str, float]:
    """How far each peer's results are from the eager ones, relative to their largest element."""
    found = {name: _leaf(call()) for name, call in calls.items()}
    reference = found.get("eager", found[OURS]).double()
    scale = max(float(reference.abs().max()), 1e-30)
    return {name: float((value.double() - reference).abs().max()) / scale for name, value in found.items()}


def _leaf(value: Any) -> torch.Tensor:
    while isinstance(value, tuple | list):
        value = value[0]
    return value.detach() if isinstance(value, torch.Tensor) else torch.as_tensor(value.__array__().copy())

"""What a file of examples says of its benchmarks, by names alone.

    NAME_bench_configs      a function that yields the arguments of each case: a tensor, or a tuple of them
    NAME                    the kernel; a plain function of numbers is mapped
    NAME_pt                 the same in PyTorch, vectorised by hand: a peer as it is, and under torch.compile
    NAME_pt_WHAT            other ways in PyTorch, such as an operator of its own
    NAME_lane               one lane in PyTorch, to be mapped by torch.func.vmap
    NAME_jax                the same in JAX, on its arrays
    NAME_warp               the function of one number, in what Warp takes of Python
    NAME.hand.cpp           beside the file: written by hand, with the entries that a generated kernel has

Only the first three have to be there.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

import ksc as knossos
from ksc.errors import ArgumentError

CONFIGS = "_bench_configs"
"""What follows a kernel's name in that of the function that yields the arguments of calls."""

Function = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One kernel with its peers.

    Attributes:
        name: the user's.
        kernel: what is measured.
        configs: gives the arguments of each case.
        pytorch: functions of torch by name, the one vectorised by hand first.
        lane: one lane in torch.
        jax: on arrays of JAX.
        warp: of one number.
        hand: the file written by hand.
    """

    name: str
    kernel: knossos.Kernel
    configs: Callable[[], Iterator[Any]]
    pytorch: dict[str, Function] = field(default_factory=dict)
    lane: Function | None = None
    jax: Function | None = None
    warp: Function | None = None
    hand: Path | None = None

    def cases(self) -> Iterator[tuple[torch.Tensor, ...]]:
        """The arguments of each case."""
        for args in self.configs():
            yield args if isinstance(args, tuple) else (args,)


def find(path: Path) -> list[Benchmark]:
    """The benchmarks of a file, in its order. Raises ArgumentError where one has no kernel or no peer in PyTorch."""
    module = _import(path)
    names = [name.removesuffix(CONFIGS) for name in vars(module) if name.endswith(CONFIGS)]
    return [_benchmark(module, path, name) for name in names]


def _benchmark(module: ModuleType, path: Path, name: str) -> Benchmark:
    found = vars(module)
    kernel = found.get(name)
    if not callable(kernel):
        raise ArgumentError(f"{path}: {name}{CONFIGS} is there, and no function {name}")
    pytorch = {
        key.removeprefix(f"{name}_"): value
        for key, value in found.items()
        if key == f"{name}_pt" or key.startswith(f"{name}_pt_")
    }
    if "pt" not in pytorch:
        raise ArgumentError(f"{path}: {name}{CONFIGS} is there, and no function {name}_pt to compare with")
    hand = path.with_name(f"{name}.hand.cpp")
    return Benchmark(
        name=name,
        kernel=kernel if isinstance(kernel, knossos.Kernel) else knossos.vmap(kernel),
        configs=found[name + CONFIGS],
        pytorch=dict(sorted(pytorch.items())),
        lane=found.get(f"{name}_lane"),
        jax=found.get(f"{name}_jax"),
        warp=found.get(f"{name}_warp"),
        hand=hand if hand.is_file() else None,
    )


def _import(path: Path) -> ModuleType:
    """The file as a module; its neighbours can be imported as if it were run."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ArgumentError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    return module


def label(args: tuple[torch.Tensor, ...]) -> str:
    """A case in the table: the shape of its first argument, ``2^20`` or ``1000x4x4``."""
    sizes = list(args[0].shape)
    if len(sizes) == 1 and sizes[0] >= 1024 and sizes[0].bit_count() == 1:
        return f"2^{sizes[0].bit_length() - 1}"
    return "x".join(map(str, sizes)) or "number"

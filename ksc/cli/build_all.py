"""``ksc build --all``: compile every kernel of a module ahead of time, several at once."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ksc.bench.convention import CONFIGS
from ksc.cli.progress import progress
from ksc.cli.target import TargetError, load_module
from ksc.compiler.cached_build import processors
from ksc.errors import KnossosError

if TYPE_CHECKING:
    from ksc.kernel import Kernel


@dataclass(frozen=True)
class Outcome:
    """What became of a kernel for one dtype: how long it took, or why it was not built."""

    name: str
    dtype: str
    seconds: float = 0.0
    error: str | None = None

    def __str__(self) -> str:
        if self.error is not None:
            return f"{self.name:<20} {self.dtype:<9} not built\n{self.error}"
        return f"{self.name:<20} {self.dtype:<9} {self.seconds:6.2f} s"


def run_all(target: str, dtypes: Iterable[str], *, as_json: bool, device: str | None = None) -> int:
    """Compile the kernels of a module for each dtype, ``device`` included, and print a line for each as it is done.

    1 where one of them could not be built.
    """
    module = load_module(target)
    jobs = [(name, kernel, dtype) for name, kernel in kernels_of(module) for dtype in dtypes]
    if not jobs:
        raise TargetError(f"{target} has no kernels", remedy="decorate functions with knossos.vmap or knossos.register")
    outcomes = []
    with ThreadPoolExecutor(max_workers=min(len(jobs), processors())) as pool:
        found = pool.map(lambda job: _build(module, *job, device=device), jobs)
        with progress(found, len(jobs), "kernels", quiet=as_json) as (built, report):
            for outcome in built:
                outcomes.append(outcome)
                if not as_json:
                    report(str(outcome))
    if as_json:
        print(json.dumps([asdict(outcome) for outcome in outcomes], indent=2))
    return 1 if any(outcome.error is not None for outcome in outcomes) else 0


def kernels_of(module: ModuleType) -> Iterator[tuple[str, Kernel]]:
    """The kernels that a module makes, each once, by the first of its names."""
    from ksc.kernel import Kernel

    seen = set()
    for name, found in vars(module).items():
        if isinstance(found, Kernel) and found.__module__ == module.__name__ and id(found) not in seen:
            seen.add(id(found))
            yield name, found


def _build(module: ModuleType, name: str, kernel: Kernel, dtype: str, *, device: str | None) -> Outcome:
    import torch

    began = time.perf_counter()
    try:
        for inputs in _calls(module, name):
            kernel.compile(inputs, dtype=getattr(torch, dtype), device=device)
    except KnossosError as error:
        return Outcome(name, dtype, error=str(error))
    return Outcome(name, dtype, round(time.perf_counter() - began, 3))


def _calls(module: ModuleType, name: str) -> Iterator[tuple[Any, ...] | None]:
    """The arguments of the calls to build for; None for what the annotations say."""
    configs = getattr(module, name + CONFIGS, None)
    if configs is None:
        yield None
        return
    for args in configs():
        yield args if isinstance(args, tuple) else (args,)

"""Python on the shim's threads: random programs as PyTorch runs them, and the kernels of the examples."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ksc.cli.target import import_file
from ksc.codegen import Dtype, GeneratedSource, Unit
from ksc.codegen.cuda import generate
from ksc.derive import derive
from ksc.errors import KnossosError, UnsupportedError
from ksc.ir.interpret import interpret
from ksc.ir.nodes import Program
from ksc.passes import optimise
from tests.codegen.harness import stored_as
from tests.cuda.cases import Case, cases
from tests.cuda.grid import Device, Library
from tests.cuda.layouts import WAYS, laid_out, stored, with_enough
from tests.strategies.tensors import seeded_program
from tests.strategies.tensors_cases import TensorCase, TensorPoint, arrays, assert_near
from tests.strategies.tensors_checks import RefusedError, seeds, traced

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
DERIVATIONS = ("", "v", "j", "vj")
MEMORY = {"scratch_bytes": 8 << 20, "scratch_per_thread": 4096}


@dataclass(frozen=True)
class Found:
    """A random program at a point, with its derivatives and their source."""

    seed: int
    point: TensorPoint
    derived: dict[str, Program]
    source: GeneratedSource


def random_programs(chosen: Iterable[int], dtype: Dtype = "float64", points: int = 1) -> list[Found]:
    """Those that kernels can be made of."""
    found: list[Found] = []
    for seed in chosen:
        with TensorCase(seeded_program(seed)) as case:
            for at, point in enumerate(case.points()[:points]):
                try:
                    ir = traced(point)
                except RefusedError:
                    continue
                if point.tame:
                    derived = {letters: optimise(derive(ir, letters)) for letters in DERIVATIONS}
                    unit = Unit(f"tensors{seed}_{at}", list(derived.items()), dtype, kind="tensor")
                    try:
                        found.append(Found(seed, point, derived, generate(unit)))
                    except UnsupportedError as refused:
                        assert refused.code == "KS119" and "calls itself" in refused.message
    return found


def check(found: Sequence[Found], dtype: Dtype = "float64", tolerance: float = 1e-8) -> None:
    """Values and derivatives on the shim are those of the interpreter, however operands are laid out, with any memory."""
    library = Library([one.source for one in found], optimised=False)
    for one in found:
        for letters, program in one.derived.items():
            seeded = [value for part in seeds(one.point)[letters] for value in part]
            given = arrays([*one.point.args, *seeded])
            columns = [
                stored(np.asarray(value, stored_as(param.type, "float64")), dtype)
                for value, param in zip(given, program.main.params, strict=True)
            ]
            others = [laid_out(column, (one.seed + k) % WAYS) for k, column in enumerate(columns)]
            what = f"CUDA {letters!r} of {one.point.case.random!r}"
            for used in (columns, others):
                wide = [np.array(c, np.float64 if c.dtype.kind == "f" else c.dtype) for c in used]
                try:
                    wanted = interpret(program, [c if c.ndim else c.item() for c in wide], width="f64")
                except KnossosError:
                    assert used is others
                    continue
                if used is others and not all(np.all(np.abs(value) < 1e5) for value in wanted):
                    continue
                call = (one.source.entries[letters], program, used, [np.shape(value) for value in wanted], dtype)
                if used is others:
                    device, outs = with_enough(library, *call, hosted=True)
                else:
                    device, outs = library.tensors(*call, device=Device(**MEMORY, deterministic=True))
                assert device.error is None, (device.error, what)
                assert_near(outs, wanted, tolerance, what)


def test_random_programs_of_tensors() -> None:
    found = random_programs(range(6))
    assert len(found) >= 3
    check(found)


def rand(*sizes: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*sizes, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def examples() -> dict[str, tuple[Program, list[np.ndarray]]]:
    """The programs of kernels of the examples, as calls of them make them, with their arguments."""
    found = {}

    def called(place: str, name: str, *args: torch.Tensor) -> None:
        kernel = getattr(import_file(EXAMPLES / f"{place}.py"), name)
        special, _ = kernel.example(args)
        found[name] = (special.program, [a.numpy() if isinstance(a, torch.Tensor) else np.asarray(a) for a in args])

    called("dl-capsule/sqrl", "vsqrl", rand(70, 4, 4))
    icf = 0.3 * rand(3, 6, seed=3)
    called("ml-gmm/gmm", "gmm_objective", rand(3, seed=1), rand(3, 3, seed=2), icf, rand(80, 3), 0.7, 2)
    lstm = [rand(24, 5), rand(24, 6), rand(24)]
    called("dl-lstm/lstm_cell", "lstm", rand(4, 3, 5), rand(3, 6, seed=1), rand(3, 6, seed=2), *lstm)
    return found


def test_examples() -> None:
    found: list[Case] = []
    for name, (program, args) in examples().items():
        found += cases(name, program, args, ("", "v"))
    sources = [
        generate(Unit(f"{case.name}_{case.derivation}", [("", case.program)], "float64", kind="tensor"))
        for case in found
    ]
    library = Library(sources, optimised=False)
    for case, source in zip(found, sources, strict=True):
        expected = interpret(case.program, case.arguments)
        device, outs = library.tensors(
            source.entries[""], case.program, case.arguments, [np.shape(v) for v in expected], device=Device(**MEMORY)
        )
        assert device.error is None, (case.name, device.error)
        for out, value in zip(outs, expected, strict=True):
            np.testing.assert_allclose(out, value, rtol=1e-9, atol=1e-12, err_msg=f"{case.name} {case.derivation!r}")
    assert not any("// On one thread" in source.text for source in sources)

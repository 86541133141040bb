"""The benchmarks run, agree with each other, and come out as a table; what they measure is no matter here."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy
import pytest
import scipy.special
import torch

from ksc.bench.__main__ import main
from ksc.bench.convention import find, label
from ksc.bench.peers import MODES, disagreement, peers
from ksc.bench.table import Row, markdown, read, summary
from ksc.errors import ArgumentError
from ksc.paths import examples_dir

EXAMPLES = examples_dir()

CUBE = """
import torch

def cube(x: float) -> float:
    return x**3

def cube_pt(x):
    return x * x * x

cube_pt_power = lambda x: torch.pow(x, 3)

def cube_bench_configs():
    yield torch.randn(16)
"""


def run(tmp_path: Path, *arguments: str) -> tuple[int, Path]:
    output = tmp_path / "bench.json"
    return main([*arguments, "--seconds", "0.001", "--json", str(output)]), output


def test_a_new_benchmark_is_a_function(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "cube.py"
    file.write_text(CUBE)
    status, output = run(tmp_path, str(file), "--threads", "1", "2", "--modes", "forward", "both")
    assert status == 0
    rows = read(output)
    assert {(row.kernel, row.size, row.mode, row.threads) for row in rows} == {
        ("cube", "16", mode, threads) for mode in ("forward", "both") for threads in (1, 2)
    }
    assert all({"knossos", "eager", "power", "torch.compile"} <= set(row.fastest) for row in rows)
    printed = capfd.readouterr().out
    assert printed.count("| cube") == 4
    assert f"of {len(rows)} cells within" in printed
    assert "arning" not in printed
    assert json.loads(output.read_text())["machine_info"]


@pytest.mark.parametrize(
    "file", ["dl-activations/relu3.py", "dl-activations/gelu.py", "dl-activations/smooth.py", "dl-capsule/sqrl.py"]
)
def test_kernels_written_by_hand_compute_the_same(file: str) -> None:
    torch.manual_seed(0)
    for benchmark in find(EXAMPLES / file):
        assert benchmark.hand is not None
        first = next(benchmark.cases())
        odd = torch.randn(1003) * 4.0 if first[0].dim() == 1 else torch.randn(4099, *first[0].shape[1:])
        cases = [first, (odd,)] if benchmark.name != "sqrl" else [first]
        for args in cases:
            for mode in MODES:
                calls = peers(benchmark, args, mode, only=["hand C++", "eager"])
                assert list(calls) == ["knossos", "hand C++", "eager"]
                assert max(disagreement(calls).values()) < 2e-6


def test_a_peer_that_computes_something_else_fails(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "cube.py"
    file.write_text(CUBE.replace("torch.pow(x, 3)", "torch.pow(x, 2)"))
    (tmp_path / "bench.json").write_text("of an earlier run")
    status, output = run(tmp_path, str(file), "--threads", "1", "--modes", "forward", "--peers", "eager", "power")
    assert status == 1
    assert not output.exists() or not output.stat().st_size
    assert "| cube" not in capfd.readouterr().out


def test_a_benchmark_without_a_peer_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "cube.py"
    file.write_text(CUBE.replace("cube_pt(", "cube_other("))
    with pytest.raises(ArgumentError, match="no function cube_pt"):
        find(file)
    assert run(tmp_path, str(file))[0] == 2
    assert "no function cube_pt" in capfd.readouterr().err


def stand_in(monkeypatch: pytest.MonkeyPatch, name: str, **members: object) -> None:
    """A module in the place of one that need not be installed."""
    module = ModuleType(name)
    vars(module).update(members)
    monkeypatch.setitem(sys.modules, name, module)


@pytest.mark.parametrize(
    "file", ["dl-activations/relu3.py", "dl-activations/gelu.py", "dl-activations/smooth.py", "dl-capsule/sqrl.py"]
)
def test_what_jax_is_given_computes_the_same(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, "jax", numpy=numpy)
    stand_in(monkeypatch, "jax.nn", sigmoid=scipy.special.expit)
    stand_in(monkeypatch, "jax.scipy", special=scipy.special)
    stand_in(monkeypatch, "jax.scipy.special", erf=scipy.special.erf)
    for benchmark in find(EXAMPLES / file):
        if benchmark.name == "sqrl":
            continue
        assert benchmark.jax is not None
        (x,) = next(benchmark.cases())
        torch.testing.assert_close(torch.as_tensor(benchmark.jax(x.numpy())), benchmark.pytorch["pt"](x))


def test_what_warp_is_given_computes_the_same() -> None:
    (relu3,) = find(EXAMPLES / "dl-activations/relu3.py")
    assert relu3.warp is not None
    xs = torch.linspace(-2.0, 2.0, 41)
    got = torch.tensor([relu3.warp(x) for x in xs.tolist()])
    torch.testing.assert_close(got, relu3.pytorch["pt"](xs))


@pytest.mark.parametrize("knows", [True, False])
def test_what_numba_does_not_know_is_no_peer(knows: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class TypingError(Exception):
        pass

    def call(x: object) -> object:
        if not knows:
            raise TypingError
        return x

    core = SimpleNamespace(errors=SimpleNamespace(TypingError=TypingError))
    stand_in(monkeypatch, "numba", vectorize=lambda function: call, core=core)
    file = tmp_path / "cube.py"
    file.write_text(CUBE)
    (cube,) = find(file)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name == "numba" or None)
    assert ("Numba" in peers(cube, (torch.randn(16),), "forward", only=["Numba"])) is knows


def test_labels() -> None:
    sizes = [(16,), (65025,), (1 << 20,), (1000, 4, 4), ()]
    assert [label((torch.zeros(size),)) for size in sizes] == ["16", "65025", "2^20", "1000x4x4", "number"]


def test_ratios_beyond_the_limit_are_marked() -> None:
    times = {"knossos": 1.2e-3, "hand C++": 1e-3, "eager": 2e-3, "torch.compile": 1.19e-3}
    row = Row("f", "16", "forward", 1, times, times)
    assert row.best == "torch.compile"
    assert not row.is_within
    line = markdown([row]).splitlines()[-1].split("|")
    assert [cell.strip() for cell in line[5:-1]] == ["1.2 ms", "1.2 ms", "1.20*", "1.01", "torch.compile", "eager 0.60"]
    assert "0 of 1 cells" in summary([row])

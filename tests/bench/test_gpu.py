"""The benchmark of GPUs, as far as it goes without one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from ksc.bench import gpu
from ksc.bench.gpu import Row, gmm_by_hand, main, table
from tests.cuda.grid import ON_GPU


def test_without_a_gpu_it_says_so(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main([]) == 0
    assert capsys.readouterr().out == "No GPU is visible to PyTorch: nothing was measured.\n"


def test_the_table_says_how_near_a_copy_it_is() -> None:
    rows = [
        Row("relu3", {"ours": 0.2, "eager": math.nan}, 4 * 10**8, {"eager": "RuntimeError: refused"}),
        Row("launch", {"ours": 0.002}),
    ]
    lines = table(rows, 4000.0).splitlines()
    assert lines[0] == "A copy moves 4000 GB/s."
    assert "| relu3 | 0.2 | nan |  |  | 50 % |" in lines
    assert "| launch | 0.002 |  |  |  |  |" in lines
    assert lines[-1] == "relu3, eager: RuntimeError: refused"


def test_what_was_measured_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A group that fails is told of, after whose rows come those of the others; the file gives the table again."""

    def fails(scale: float) -> Iterator[Row]:
        yield Row("first", {"ours": scale})
        raise RuntimeError("out of memory")

    def works(scale: float) -> Iterator[Row]:
        yield Row("second", {"ours": 2.0 * scale, "eager": math.nan}, 0, {"eager": "refused"})

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "pretended")
    monkeypatch.setattr(gpu, "copy_bandwidth", lambda: 4000.0)
    monkeypatch.setattr(gpu, "GROUPS", {"fails": fails, "works": works})
    place = tmp_path / "bench" / "gpu.json"
    assert main(["--json", str(place)]) == 1
    written = capsys.readouterr()
    assert "fails: Traceback" in written.err and "RuntimeError: out of memory" in written.err
    assert main(["--json", str(place), "--table"]) == 0
    shown = capsys.readouterr().out
    assert shown in written.out and "| first | 1 |" in shown and "| second | 2 |" in shown


def test_rows_call_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the CPU, a few elements each."""

    def called(call: gpu.Call) -> float:
        call()
        return 1.0

    for name, value in {
        "DEVICE": "cpu",
        "LAUNCHES": 1,
        "milliseconds": called,
        "compiled": lambda function: function,
    }.items():
        monkeypatch.setattr(gpu, name, value)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    for name, count in (("elementwise", 4), ("launch", 1)):
        rows = list(gpu.GROUPS[name](1e-6))
        assert len(rows) == count
        assert not [row.failures for row in rows if row.failures]


def test_the_mixture_by_hand_has_the_gradient_of_the_kernel() -> None:
    """The prior apart, which depends on neither weights nor means."""
    from ksc.bench.gpu import example

    gmm = example("ml-gmm/gmm")
    generator = torch.Generator().manual_seed(0)
    given = [
        torch.randn(*sizes, dtype=torch.float64, generator=generator) for sizes in ((3,), (3, 4), (3, 10), (20, 4))
    ]
    where = "cuda" if ON_GPU else "cpu"
    alphas, means, icf, x = (value.to(where) for value in given)
    _, ours = gmm.gradient(alphas, means, icf, x, 1.0, 0)
    by_hand = torch.func.grad(gmm_by_hand, argnums=(0, 1))(alphas, means, icf, x, 1.0, 0)
    torch.testing.assert_close(tuple(ours[:2]), by_hand)

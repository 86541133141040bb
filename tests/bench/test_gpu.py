"""The benchmark of GPUs, as far as it goes without one."""

from __future__ import annotations

import math

import pytest
import torch

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

"""The four problems of the ADBench suite: values and derivatives against answers that are known to be right."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor

from ksc.cli.target import import_file

HERE = Path(__file__).resolve().parent / "adbench"
EXAMPLES = HERE.parents[2] / "examples"

PROBLEMS = [
    ("ml-gmm/gmm", "gmm.txt", "gmm"),
    ("cv-ba/ba", "ba.txt", "ba"),
    ("cv-hand/hand", "hand/simple.txt", "simple"),
    ("cv-hand/hand", "hand/complicated.txt", "complicated"),
    ("dl-lstm/lstm", "lstm.txt", "lstm"),
]


def example(place: str) -> ModuleType:
    return import_file(EXAMPLES / f"{place}.py")


@pytest.mark.parametrize(("place", "instance", "golden"), PROBLEMS, ids=lambda value: Path(value).stem)
def test_values_and_derivatives(place: str, instance: str, golden: str) -> None:
    known = np.load(HERE / f"{golden}.npz")
    for got, want in zip(example(place).evaluate(HERE / instance), (known["F"], known["J"]), strict=True):
        assert got.dtype == torch.float64
        assert got.shape == want.shape
        difference = np.abs(got.numpy() - want) / np.maximum(1.0, np.abs(got.numpy()) + np.abs(want))
        assert difference.max() < 1e-8


def directional(evaluate_at, arguments: tuple[Tensor, ...], steps: tuple[Tensor, ...]) -> Tensor:
    up = evaluate_at(*(x + 1e-6 * step for x, step in zip(arguments, steps, strict=True)))
    down = evaluate_at(*(x - 1e-6 * step for x, step in zip(arguments, steps, strict=True)))
    return (up - down) / 2e-6


def normal(*like: Tensor) -> tuple[Tensor, ...]:
    random = torch.Generator().manual_seed(0)
    return tuple(torch.randn(x.shape, dtype=x.dtype, generator=random) for x in like)


def test_a_generated_mixture(tmp_path: Path) -> None:
    gmm = example("ml-gmm/gmm")
    gmm.main(["--generate", "7", "3", "2", str(tmp_path / "gmm.txt")])
    value, bars = gmm.evaluate(tmp_path / "gmm.txt")
    *parameters, x, gamma, m = gmm.read(tmp_path / "gmm.txt")
    assert x.shape == (7, 3)
    assert value.item() == pytest.approx(gmm.gmm_objective(*parameters, x, gamma, m).item())
    steps = normal(*parameters)
    change = directional(lambda *at: gmm.gmm_objective(*at, x, gamma, m), tuple(parameters), steps)
    assert (bars @ torch.cat([step.flatten() for step in steps])).item() == pytest.approx(change.item(), rel=1e-6)


def test_a_generated_scene(tmp_path: Path) -> None:
    ba = example("cv-ba/ba")
    ba.main(["--generate", "2", "3", "5", str(tmp_path / "ba.txt")])
    values, nonzeros = ba.evaluate(tmp_path / "ba.txt")
    cameras, points, weights, camera_of, point_of, features = ba.read(tmp_path / "ba.txt")
    assert values.shape == (15,)
    assert nonzeros.shape == (155,)
    steps = normal(cameras, points, weights)

    def errors(*at: Tensor) -> Tensor:
        return torch.cat([part.flatten() for part in ba.errors(*at, camera_of, point_of, features)])

    own = torch.cat([steps[0][camera_of], steps[1][point_of], steps[2][:, None]], dim=1)
    by_step = (nonzeros[:150].reshape(5, 2, 15) @ own[:, :, None]).flatten()
    want = directional(errors, (cameras, points, weights), steps)
    torch.testing.assert_close(torch.cat([by_step, nonzeros[150:] * steps[2]]), want, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("slides", [False, True])
def test_a_generated_hand(tmp_path: Path, slides: bool) -> None:
    hand = example("cv-hand/hand")
    path = hand.generate(6, tmp_path, vertices=30)[slides]
    values, columns = hand.evaluate(path)
    args = hand.read(path)
    assert values.shape == (18,)
    if slides:
        theta, u, *rest = args
        steps = normal(theta, u)
        change = directional(lambda theta, u: hand.surface_errors(theta, u, *rest), (theta, u), steps).flatten()
        by_u, by_theta = columns.reshape(28, 18)[:2], columns.reshape(28, 18)[2:]
        own = steps[1].repeat_interleave(3, dim=0).T
        torch.testing.assert_close((by_u * own).sum(0) + steps[0] @ by_theta, change, rtol=1e-6, atol=1e-6)
    else:
        theta, *rest = args
        steps = normal(theta)
        change = directional(lambda theta: hand.vertex_errors(theta, *rest), (theta,), steps).flatten()
        torch.testing.assert_close(steps[0] @ columns.reshape(26, 18), change, rtol=1e-6, atol=1e-6)


def test_a_hand_at_rest_has_no_derivative_by_its_rotation(tmp_path: Path) -> None:
    hand = example("cv-hand/hand")
    theta, *rest = hand.read(hand.generate(4, tmp_path, vertices=30)[0])
    theta[:3] = 0.0
    jacobian = hand.vertex_jacobian(theta, *rest)
    assert torch.equal(jacobian[:, :, :3], torch.zeros(4, 3, 3, dtype=torch.float64))
    assert torch.equal(jacobian[:, :, 3:6], -torch.eye(3, dtype=torch.float64).expand(4, 3, 3))


def test_a_generated_sequence(tmp_path: Path) -> None:
    lstm = example("dl-lstm/lstm")
    lstm.main(["--generate", "2", "9", "4", str(tmp_path / "lstm.txt")])
    value, bars = lstm.evaluate(tmp_path / "lstm.txt")
    main, extra, state, sequence = lstm.read(tmp_path / "lstm.txt")
    steps = normal(main, extra)
    change = directional(lambda *at: lstm.lstm_loss(*at, state, sequence), (main, extra), steps)
    assert value.item() == pytest.approx(lstm.lstm_loss.__wrapped__(main, extra, state, sequence).item())
    assert (bars @ torch.cat([step.flatten() for step in steps])).item() == pytest.approx(change.item(), rel=1e-6)


@pytest.mark.parametrize("place", ["ml-gmm/gmm", "cv-ba/ba", "cv-hand/hand", "dl-lstm/lstm"])
def test_an_instance_is_reported(place: str, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    module = example(place)
    monkeypatch.setattr("problem.milliseconds", lambda run: run() is None)
    module.main([])
    printed = capsys.readouterr().out
    assert "objective" in printed
    assert "derivative" in printed


def test_an_instance_that_is_not_there_is_an_error_of_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        example("ml-gmm/gmm").main(["nowhere.txt"])
    assert "error: there is no instance nowhere.txt" in capsys.readouterr().err


def test_what_is_written_by_hand_is_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    example("adbench/compare").main(["--seconds", "0"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 7
    assert {line.count("|") for line in lines} == {8}


def test_growth_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    example("adbench/growth").main(["--seconds", "0", "--factor", "2"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines[2:]] == ["gmm", "ba", "hand", "lstm"]

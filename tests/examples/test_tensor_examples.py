"""The examples whose kernels take tensors: against PyTorch, and put to their use."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from ksc.cli.target import import_file

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PLACES = ("dl-capsule/sqrl", "dl-lstm/lstm_cell", "ml-gmm/fit", "cv-ba/adjust", "cv-hand/track", "numerics/mandelbrot", "numerics/irls", "numerics/cloth")  # fmt: skip


def example(place: str) -> ModuleType:
    return import_file(EXAMPLES / f"{place}.py")


def rand(*sizes: int, seed: int = 0) -> Tensor:
    return torch.randn(*sizes, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_sqrl_is_the_vectorised_form(dtype: torch.dtype, tolerance: float) -> None:
    sqrl = example("dl-capsule/sqrl")
    blocks = rand(7, 4, 4).to(dtype).requires_grad_()
    got, want = sqrl.vsqrl(blocks), sqrl.vsqrl_pt(blocks)
    assert_close(got, want, rtol=tolerance, atol=tolerance)
    (want_bar,) = torch.autograd.grad(want.sum(), blocks)
    assert_close(torch.autograd.grad(got.sum(), blocks)[0], want_bar, rtol=tolerance, atol=tolerance)
    assert_close(sqrl.sqrl(blocks[2].detach()), want[2].detach(), rtol=tolerance, atol=tolerance)


def test_lstm_is_pytorchs() -> None:
    lstm = example("dl-lstm/lstm_cell").lstm
    reference = torch.nn.LSTM(5, 6, dtype=torch.float64)
    xs, h, c = rand(7, 3, 5).requires_grad_(), rand(3, 6, seed=1), rand(3, 6, seed=2)
    parameters = (reference.weight_ih_l0, reference.weight_hh_l0, reference.bias_ih_l0)
    with torch.no_grad():
        reference.bias_hh_l0.zero_()
    out, h_last, c_last = lstm(xs, h, c, *parameters)
    want, (want_h, want_c) = reference(xs, (h[None], c[None]))
    assert_close((out, h_last, c_last), (want, want_h[0], want_c[0]))
    weights = rand(*out.shape, seed=3)
    got_bars = torch.autograd.grad((out * weights).sum() + c_last.sum(), (xs, *parameters))
    assert_close(got_bars, torch.autograd.grad((want * weights).sum() + want_c.sum(), (xs, *parameters)))


def test_the_character_model_learns() -> None:
    module = example("dl-lstm/lstm_cell")
    model, losses = module.train(rounds=60)
    assert losses[0] > 3.0
    assert losses[-1] < 1.5
    assert len(module.write_on(model, "the ", 10)) == 14


def test_the_mixture_is_fitted() -> None:
    gmm = example("ml-gmm/fit")
    x, means = gmm.sample(200)
    _, fitted, _, history = gmm.fit(x, 3, rounds=40)
    assert history[-1] > history[0] + 100.0
    assert torch.cdist(means, fitted).min(dim=1).values.max() < 0.5


def test_the_mixtures_gradient_is_that_of_eager_pytorch() -> None:
    gmm = example("ml-gmm/gmm")
    x = rand(5, 3)
    args = [rand(2, seed=1), rand(2, 3, seed=2), 0.3 * rand(2, 6, seed=3)]
    args = [arg.requires_grad_() for arg in args]
    torch_value = gmm.gmm_objective.__wrapped__(*args, x, 0.7, 2)
    value = gmm.gmm_objective(*args, x, 0.7, 2)
    assert_close(value, torch_value.double())
    assert_close(torch.autograd.grad(value, args), torch.autograd.grad(torch_value, args), rtol=1e-6, atol=1e-6)


def test_bundle_adjustment_converges() -> None:
    ba = example("cv-ba/adjust")
    _, guess = ba.synthetic_scene(cameras=4, points=20)
    adjusted, costs = ba.solve(guess, rounds=20)
    assert costs[0] > 1e3
    assert costs[-1] < 1e-2
    assert ba.errors_of(*adjusted.observations()).abs().max() < 0.1


def test_a_hand_is_tracked() -> None:
    track = example("cv-hand/track")
    model, which, pose = track.synthetic(60)
    found, distances = track.track(model, which, track.seen_in(pose, model, which))
    assert distances[0] > 0.1
    assert distances[-1] < 1e-6
    assert_close(found, pose, rtol=0.0, atol=1e-4)


def test_a_small_rotation_has_the_derivative_of_the_series() -> None:
    ba = example("cv-ba/ba")
    camera = torch.tensor([0.0, 0.0, 0.0, 0.0, 0.0, -4.0, 2.0, 0.0, 0.0, 0.0, 0.0], dtype=torch.float64)
    point, feature = rand(3), torch.zeros(2, dtype=torch.float64)
    by_camera, by_point = ba.knossos.jacobian(ba.reprojection_error, argnums=(0, 1))(camera, point, 1.0, feature)
    shifted = camera.clone()
    shifted[0] = 1e-7
    difference = ba.reprojection_error(shifted, point, 1.0, feature) - ba.reprojection_error(
        camera, point, 1.0, feature
    )
    assert_close(by_camera[:, 0], difference / 1e-7, rtol=1e-6, atol=1e-6)
    assert by_point.shape == (2, 3)


def test_escape_times_and_their_gradient() -> None:
    mandelbrot = example("numerics/mandelbrot")
    re, im = mandelbrot.grid(9, 7)
    times = mandelbrot.escape_times(re, im)
    assert times.shape == (7, 9)
    for row in range(7):
        for column in range(9):
            want = mandelbrot.escape_time(re[column].item(), im[row, 0].item())
            assert times[row, column].item() == pytest.approx(want, rel=1e-9)
    point = (torch.tensor(-0.75, dtype=torch.float64), torch.tensor(0.2, dtype=torch.float64))
    bars = mandelbrot.escape_times.grad(*point, argnums=(0, 1))
    for k in range(2):
        step = [1e-7 * (k == 0), 1e-7 * (k == 1)]
        up, down = (mandelbrot.escape_time(-0.75 + s * step[0], 0.2 + s * step[1]) for s in (1, -1))
        assert bars[k].item() == pytest.approx((up - down) / 2e-7, rel=1e-5)


def test_the_robust_line_ignores_outliers() -> None:
    irls = example("numerics/irls")
    x, y = irls.points()
    slope, intercept = irls.robust_line(x, y, 0.05)
    assert slope.item() == pytest.approx(2.0, abs=0.05)
    assert intercept.item() == pytest.approx(-1.0, abs=0.05)
    _, y_bar, _ = irls.robust_line.vjp(x, y, 0.05, torch.ones_like(slope), torch.zeros_like(intercept))
    for k in (0, 7, 20):
        moved = y.clone()
        moved[k] += 1e-6
        change = (irls.robust_line(x, moved, 0.05)[0] - slope) / 1e-6
        assert y_bar[k].item() == pytest.approx(change.item(), rel=1e-3, abs=1e-6)


def test_the_wind_is_found_through_the_rollout() -> None:
    cloth = example("numerics/cloth")
    flat = cloth.flat_cloth(3, 4)
    truth = torch.tensor([0.3, 0.8, 0.1], dtype=torch.float64)
    wind, losses = cloth.find_wind(cloth.rollout(truth, flat, 60), flat, 60)
    assert losses[-1] < 1e-6 * losses[0]
    assert_close(wind, truth, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("place", PLACES)
def test_it_runs_as_a_script(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    example(place).main()
    assert capsys.readouterr().out

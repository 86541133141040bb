"""``knossos.plot``: what is drawn, and what is refused."""

import sys

import matplotlib
import numpy as np
import pytest

import ksc as knossos
from ksc.errors import ArgumentError, MissingExtraError

matplotlib.use("Agg")


def cubed(x: float) -> float:
    return x**3


def product(x: float, y: float) -> float:
    return x * y


def twice(x: float) -> tuple[float, float]:
    return x, x


@pytest.mark.parametrize("decorator", [knossos.elementwise, knossos.vmap, knossos.register])
def test_the_function_and_its_derivative(decorator):
    axes = knossos.plot(decorator(cubed), -2, 1, count=31)
    value, slope = axes.get_lines()
    xs = np.linspace(-2, 1, 31)
    for line, truth in ((value, xs**3), (slope, 3 * xs**2)):
        np.testing.assert_allclose(line.get_xdata(), xs, atol=1e-12)
        np.testing.assert_allclose(line.get_ydata(), truth, atol=1e-12)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["cubed", "derivative"]
    assert axes.get_xlabel() == "x"


def test_into_given_axes():
    figure = matplotlib.figure.Figure()
    axes = figure.subplots()
    assert knossos.plot(knossos.elementwise(cubed), 0, 1, axes=axes) is axes


@pytest.mark.parametrize(("lo", "hi"), [(1, 1), (2, 1), (0, float("inf")), (float("nan"), 1)])
def test_an_empty_range_is_refused(lo, hi):
    with pytest.raises(ArgumentError, match="nothing to draw"):
        knossos.plot(knossos.elementwise(cubed), lo, hi)


def test_several_arguments_are_refused():
    with pytest.raises(ArgumentError, match="takes 2 arguments"):
        knossos.plot(knossos.elementwise(product), 0, 1)


@pytest.mark.parametrize("decorator", [knossos.elementwise, knossos.register])
def test_several_results_are_refused(decorator):
    with pytest.raises(ArgumentError):
        knossos.plot(decorator(twice), 0, 1)


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'ksc\[plot\]'"):
        knossos.plot(knossos.elementwise(cubed), 0, 1)

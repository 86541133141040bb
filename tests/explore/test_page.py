"""What the page is made of: versions, places, counts, curves; and that nothing of the user's text escapes its place."""

import json
import math
import re
from pathlib import Path

import pytest
import torch

import ksc as knossos
from ksc.cli import main
from ksc.cli.target import load_kernel
from ksc.explore import Exploration
from ksc.explore.collect import collect
from ksc.explore.counts import count
from ksc.explore.model import Page, Pane, Row
from ksc.explore.page import render
from ksc.explore.source import extent
from ksc.ir.text import to_lines, to_text
from tests.explore import kernels


def page_of(kernel: knossos.Kernel, *args: object) -> Page:
    special, leaves = kernel.example(args or None)
    sizes = [list(leaf.value.shape) if isinstance(leaf.value, torch.Tensor) else None for leaf in leaves]
    return collect(kernel, special, sizes, torch.float32, (-3.0, 3.0))


def data_of(html: str) -> dict:
    return json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', html, re.S)[1])


def test_every_stage_and_derivative_is_there():
    page = page_of(kernels.sqrl, torch.ones(4, 5))
    groups = list(dict.fromkeys(pane.group for pane in page.panes))
    assert groups == ["Python", "value", "vjp", "jvp", "C++", "CUDA"]
    titles = [pane.title for pane in page.panes if pane.group == "vjp"]
    assert titles[0] == "as traced"
    assert "vjp" in titles
    assert titles[-1] == "overlaps"
    assert [pane.title for pane in page.panes if pane.group == "C++"] == [
        "value, float32",
        "vjp, float32",
        "jvp, float32",
    ]


def test_the_text_is_that_of_the_ir():
    page = page_of(kernels.relu3)
    last = next(pane for pane in reversed(page.panes) if (pane.group, pane.title) == ("value", "dce last"))
    special = kernels.relu3.example(None)[0]
    assert [row.text for row in last.rows] == to_text(special.program_of("")).rstrip("\n").split("\n")


def test_helpers_are_part_of_the_source():
    page = page_of(kernels.with_helper, torch.ones(3, 4))
    source = page.panes[0]
    texts = [row.text for row in source.rows]
    assert "def halve(x: torch.Tensor) -> torch.Tensor:" in texts
    assert "@knossos.register" in texts
    lines = Path(kernels.__file__).read_text().split("\n")
    assert all(lines[row.number - 1] == row.text for row in source.rows if row.number)


def test_every_line_of_a_function_has_a_place():
    for kernel, args in ((kernels.relu3, ()), (kernels.with_helper, (torch.ones(3, 4),))):
        special, _ = kernel.example(args or None)
        for derivation in ("", "v", "j"):
            lines = to_lines(special.program_of(derivation))
            inside = [
                line for line in lines if line.text.startswith("  ") and not line.text.lstrip().startswith("(x :")
            ]
            assert inside
            assert [line.text for line in inside if not line.spans and "Float" not in line.text] == []


def test_a_loop_reaches_over_its_head_only():
    special, _ = kernels.with_helper.example([torch.ones(3, 4)])
    spans = [span for line in to_lines(special.program) for span in line.spans]
    loops = [span for span in spans if span.text.startswith("for i in")]
    assert loops
    assert all(extent(span).end_line == span.line for span in loops)


def test_operations_of_a_loop_are_counted_by_its_sizes():
    special, _ = kernels.with_helper.example([torch.ones(3, 4)])
    counts = count(special.program, 4, [[3, 4]])
    assert counts["functions"].value == 12
    assert "·" in counts["functions"].formula
    assert counts["operations"].value == 3 * (4 + 4 + 1)
    assert count(special.program, 4)["functions"].value is None


def test_fusion_saves_memory():
    panes = [pane for pane in page_of(kernels.with_helper, torch.ones(3, 4)).panes if pane.group == "value"]
    assert panes[0].counts["bytes"].value > panes[-1].counts["bytes"].value == 0


def test_curves():
    curves = page_of(kernels.relu3).curves
    assert curves is not None
    for x, value, slope in zip(curves.xs, curves.values, curves.slopes, strict=True):
        truth = 0.0 if x < 0 else x**3 / 3 if x < 1 else x - 2 / 3
        assert value == pytest.approx(truth, abs=1e-12)
        assert slope == pytest.approx(0.0 if x < 0 else min(x, 1.0) ** 2, abs=1e-12)


def test_what_is_not_finite_is_left_out_of_the_curves():
    curves = page_of(kernels.root).curves
    assert [value is None for value in curves.values] == [x < 0.0 for x in curves.xs]
    stopped = page_of(kernels.below).curves
    assert [value is None for value in stopped.values] == [x >= 1.0 for x in stopped.xs]


def test_tensors_have_no_curves():
    assert page_of(kernels.sqrl, torch.ones(4, 5)).curves is None


def test_what_carries_no_derivative_has_none():
    numbers = knossos.elementwise(_count)
    page = page_of(numbers)
    assert {pane.group for pane in page.panes} == {"Python", "value", "C++", "CUDA"}


def _count(n: int) -> int:
    return 2 * n


def test_text_cannot_leave_its_place():
    evil = "</script><script>alert(1)</script>&<!--"
    page = Page(evil, evil, [Pane("Python", evil, "python", [Row(evil)])], [0], None, [evil])
    html = render(page)
    assert "<script>alert" not in html
    assert data_of(html)["rows"][0][0] == evil


def test_it_needs_nothing_else():
    html = render(page_of(kernels.relu3))
    assert not re.search(r"(src|href)\s*=|https?://|@import|url\((?!#)", html)


def test_thousands_of_lines_stay_small(tmp_path: Path):
    file = tmp_path / "long.py"
    steps = "".join(f"    x = x * 1.5 + {k}.0\n" for k in range(700))
    file.write_text(f"def long(x: float) -> float:\n{steps}    return x\n")
    page = page_of(load_kernel(f"{file}:long"))
    assert max(len(pane.rows) for pane in page.panes) > 1400
    assert len(render(page)) < 4_000_000


def test_saved_and_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    page = kernels.relu3.explore(path=tmp_path / "deep" / "page.html")
    assert isinstance(page, Exploration)
    assert page.path.read_text(encoding="utf-8") == page.html
    assert page._repr_html_().startswith("<iframe srcdoc=")
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setenv("KSC_BUILD_DIR", str(tmp_path))
    kernels.relu3.explore()
    assert opened == [(tmp_path / "explore" / "relu3.html").as_uri()]


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    target = tmp_path / "page.html"
    file = str(Path(kernels.__file__))
    assert main(["explore", f"{file}:sqrl", "--args", "torch.ones(4, 5)", "-o", str(target)]) == 0
    assert capsys.readouterr().out.strip() == str(target)
    counts = [
        pane["counts"] for pane in data_of(target.read_text(encoding="utf-8"))["panes"] if pane["group"] == "value"
    ]
    assert counts[0]["functions"]["value"] == 40
    assert counts[-1]["functions"]["value"] == 20
    assert main(["explore", f"{file}:relu3", "-o", str(target), "--range", "-1", "2"]) == 0
    xs = data_of(target.read_text(encoding="utf-8"))["curves"]["xs"]
    assert (xs[0], xs[-1]) == (-1.0, 2.0)
    assert not math.isnan(xs[0])

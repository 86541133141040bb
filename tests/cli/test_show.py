from pathlib import Path

import pytest

from ksc.cli import main

RELU3 = Path(__file__).resolve().parents[2] / "examples" / "dl-activations" / "relu3.py"


@pytest.mark.parametrize("name", ["vrelu3", "relu3"])
@pytest.mark.parametrize(
    ("stage", "expected"),
    [("ir", "relu3"), ("vjp", "_bar"), ("jvp", "_dot"), ("cpp", "#include")],
)
def test_shows_each_stage(name: str, stage: str, expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", f"{RELU3}:{name}", "--stage", stage]) == 0
    shown = capsys.readouterr()
    assert expected in shown.out
    assert shown.err == ""


def test_the_stage_is_the_ir_unless_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", f"{RELU3}:vrelu3"]) == 0
    default = capsys.readouterr().out
    assert main(["show", f"{RELU3}:vrelu3", "--stage", "ir"]) == 0
    assert capsys.readouterr().out == default


def test_a_refused_function_is_shown_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "refused.py"
    file.write_text("def f(x: float) -> float:\n    try:\n        return x\n    finally:\n        pass\n")
    assert main(["show", f"{file}:f"]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(f"{file}:2:5: [KS1")
    assert "\n        try:\n        ^^^" in shown.err
    assert "Traceback" not in shown.err


def test_a_missing_file_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "gone.py:f"]) == 2
    assert capsys.readouterr().err == "[KS900] there is no file gone.py\n"


@pytest.mark.parametrize("stage", ["ir", "vjp"])
def test_shows_the_ir_after_each_pass(stage: str, capsys: pytest.CaptureFixture[str]) -> None:
    from ksc.passes import PIPELINE

    assert main(["show", f"{RELU3}:relu3", "--passes", "--stage", stage]) == 0
    shown = capsys.readouterr().out
    titles = [line for line in shown.splitlines() if line.startswith(";; ")]
    assert titles[0] == ";; as traced"
    assert (";; vjp" in titles) == (stage == "vjp")
    assert len(titles) == len(PIPELINE) + (2 if stage == "vjp" else 1)
    assert all(any(step.why in title for title in titles) for step in PIPELINE)

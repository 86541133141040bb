import json
from pathlib import Path

import pytest

from ksc.cli import main

RELU3 = Path(__file__).resolve().parents[2] / "examples" / "dl-activations" / "relu3.py"


@pytest.mark.parametrize("name", ["vrelu3", "relu3"])
@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        ("ir", "relu3"),
        ("vjp", "_bar"),
        ("jvp", "_dot"),
        ("backward", "_bar"),
        ("cpp", "#include"),
        ("cuda", "__device__"),
        ("jvp-cpp", "_jvp("),
        ("backward-cuda", "_vjp("),
    ],
)
def test_shows_each_stage(name: str, stage: str, expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", f"{RELU3}:{name}", "--stage", stage]) == 0
    shown = capsys.readouterr()
    assert expected in shown.out
    assert shown.err == ""


def test_the_source_of_a_derivative_of_tensors(capsys: pytest.CaptureFixture[str]) -> None:
    kernel = f"{RELU3.parents[1]}/dl-capsule/sqrl.py:sqrl"
    for stage, entry in (("cpp", "ks_sqrl("), ("vjp-cpp", "ks_sqrl_vjp("), ("backward-cuda", "ks_sqrl_")):
        assert main(["show", kernel, "--args", "torch.rand(4, 4)", "--stage", stage]) == 0
        assert entry in capsys.readouterr().out


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


def test_a_program_reads_a_stage_and_its_passes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", f"{RELU3}:vrelu3", "--stage", "vjp", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["kernel"], shown["stage"], Path(shown["file"])) == ("relu3", "vjp", RELU3)
    assert "_bar" in shown["text"]
    assert RELU3.read_text().splitlines()[shown["line"] - 1].startswith("def relu3")
    assert main(["show", f"{RELU3}:vrelu3", "--stage", "vjp", "--passes", "--json"]) == 0
    passes = json.loads(capsys.readouterr().out)["passes"]
    assert passes[0]["title"] == "as traced"
    assert "_bar" in passes[-1]["text"]


def test_a_missing_file_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "gone.py:f"]) == 2
    assert capsys.readouterr().err == "[KS900] there is no file gone.py\n"


@pytest.mark.parametrize("stage", ["ir", "vjp"])
def test_shows_the_ir_after_each_pass(stage: str, capsys: pytest.CaptureFixture[str]) -> None:
    from ksc.passes import PIPELINE, processor_passes

    assert main(["show", f"{RELU3}:relu3", "--passes", "--stage", stage]) == 0
    shown = capsys.readouterr().out
    titles = [line for line in shown.splitlines() if line.startswith(";; ")]
    assert titles[0] == ";; as traced"
    assert (";; vjp" in titles) == (stage == "vjp")
    steps = (*PIPELINE, *processor_passes(tensors=False, double=False))
    assert len(titles) == len(steps) + (2 if stage == "vjp" else 1)
    assert all(any(step.why in title for title in titles) for step in steps)


@pytest.fixture
def block(tmp_path: Path) -> Path:
    file = tmp_path / "block.py"
    file.write_text(
        "import torch\nfrom typing import NamedTuple\n\n\n"
        "class Line(NamedTuple):\n    slope: torch.Tensor\n    offset: float\n\n\n"
        "def power(x: torch.Tensor, n: int = 2):\n    return (x**n).sum()\n\n\n"
        "def at(line: Line, x: torch.Tensor):\n    return line.slope @ x + line.offset\n"
    )
    return file


@pytest.mark.parametrize("stage", ["ir", "vjp", "jvp", "cpp"])
@pytest.mark.parametrize("passes", [(), ("--passes",)])
def test_a_kernel_of_tensors_is_shown_for_the_arguments_of_a_call(
    stage: str, passes: tuple[str, ...], block: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", f"{block}:power", "--args", "torch.rand(4, 4)", "--stage", stage, *passes]) == 0
    shown = capsys.readouterr()
    assert "power" in shown.out
    assert shown.err == ""


def test_arguments_are_python_that_the_file_could_contain(block: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", f"{block}:at", "--args", "Line(torch.rand(3), 1.0), torch.rand(3)"]) == 0
    assert "offset" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("torch.rand(4", "[KS900] --args 'torch.rand(4': SyntaxError"),
        ("y", "[KS900] --args 'y': NameError: name 'y' is not defined"),
        ("1.0", "annotated as a tensor, and the float 1.0 was given"),
        ("", "missing a required argument: 'x'"),
    ],
)
def test_arguments_that_cannot_be(args: str, message: str, block: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", f"{block}:power", "--args", args]) != 0
    assert message in capsys.readouterr().err


def test_a_kernel_of_tensors_without_arguments_says_what_to_add(
    block: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", f"{block}:power"]) == 1
    assert "(`ksc` takes --args)" in capsys.readouterr().err

import json
from pathlib import Path

import pytest

from ksc.cli import main
from ksc.torch.build_core import build as build_core


@pytest.fixture
def two_kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "shapes.py"
    file.write_text("def half(x: float):\n    return x / 2\n\ndef twice(x: float):\n    return x * 2\n")
    build = tmp_path / "build"
    build.mkdir()
    (build / "core").symlink_to(build_core().parent)
    monkeypatch.setenv("KSC_BUILD_DIR", str(build))
    assert main(["build", f"{file}:half"]) == 0
    assert main(["build", f"{file}:twice"]) == 0
    capsys.readouterr()


@pytest.mark.usefixtures("two_kernels")
def test_lists_what_was_built(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:2]] == ["half", "twice"]
    assert str(tmp_path / "build" / "torch_extensions") in lines[0]
    assert lines[2].startswith("2 kernels, ")


@pytest.mark.usefixtures("two_kernels")
def test_json_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "list", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [kernel["name"] for kernel in report] == ["half", "twice"]
    assert all(Path(kernel["path"]).is_dir() and kernel["size"] > 0 for kernel in report)


@pytest.mark.usefixtures("two_kernels")
def test_clears_one_or_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "clear", "half"]) == 0
    assert capsys.readouterr().out == "1 kernel removed\n"
    assert main(["cache", "list"]) == 0
    assert "half" not in capsys.readouterr().out
    assert main(["cache", "clear"]) == 0
    assert capsys.readouterr().out == "1 kernel removed\n"
    assert main(["cache", "clear"]) == 0
    assert capsys.readouterr().out == "0 kernels removed\n"


@pytest.mark.usefixtures("two_kernels")
def test_clears_what_was_kept_of_tracing(tmp_path: Path) -> None:
    traces = tmp_path / "build" / "torch_extensions" / ".traces"
    for name in ("half", "twice"):
        (traces / f"{name}-0123456789abcdef.json").write_text("{}")
    assert main(["cache", "clear", "half"]) == 0
    assert {trace.name.partition("-")[0] for trace in traces.iterdir()} == {"twice"}
    assert main(["cache", "clear"]) == 0
    assert list(traces.iterdir()) == []


def test_an_empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("KSC_BUILD_DIR", str(tmp_path))
    assert main(["cache", "list"]) == 0
    assert capsys.readouterr().out == "0 kernels, 0.0 KiB\n"
    assert main(["cache", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_an_unsafe_cache_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "torch_extensions").mkdir()
    (tmp_path / "torch_extensions").chmod(0o777)
    monkeypatch.setenv("KSC_BUILD_DIR", str(tmp_path))
    assert main(["cache", "list"]) == 1
    assert capsys.readouterr().err.startswith("[KS601] ")

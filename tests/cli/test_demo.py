from pathlib import Path

import pytest

from ksc.cli import demo, main

PNG = b"\x89PNG\r\n"


def test_from_relu3_to_a_trained_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--epochs", "2", "--out", str(tmp_path / "doc")]) == 0
    shown = capsys.readouterr()
    for file in ("relu3-plot.png", "relu3-grad-plot.png", "relu3-digits-plot.png"):
        assert (tmp_path / "doc" / file).read_bytes().startswith(PNG)
        assert file in shown.out
    assert "relu3" in (tmp_path / "doc" / "relu3.cpp").read_text()
    assert "torch_extensions" in shown.out
    assert "held-out accuracy" in shown.out
    assert "epoch" in shown.err


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["demo"]) == 1
    message = capsys.readouterr().err
    assert "the demo needs sklearn, matplotlib, tqdm" in message
    assert "pip install 'ksc[examples]'" in message


def test_epochs_are_positive(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["demo", "--epochs", "0"])
    assert left.value.code == 2
    assert "at least 1 is needed" in capsys.readouterr().err


def test_cpp_stays_as_it_is_without_clang_format(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    assert demo.prettify("int  main(){}") == "int  main(){}"


def test_clang_format_sets_the_cpp() -> None:
    assert (
        demo.prettify("int   f( int x ){ return x ; }\n").replace("\n", " ").split()
        == "int f(int x) { return x; }".split()
    )

"""The bar of long commands: on a terminal only, and what is printed meanwhile is whole."""

import io
import sys

import pytest

from ksc.cli.progress import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(capsys: pytest.CaptureFixture[str], *, quiet: bool = False) -> tuple[list[int], str]:
    found = []
    with progress(iter(range(3)), 3, "kernels", quiet=quiet) as (items, report):
        for item in items:
            found.append(item)
            report(f"built {item}")
    return found, capsys.readouterr().out


def test_a_bar_on_a_terminal(capsys, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert shown(capsys) == ([0, 1, 2], "built 0\nbuilt 1\nbuilt 2\n")
    assert "/3" in terminal.getvalue()
    assert "kernels" in terminal.getvalue()


def test_none_elsewhere(capsys, monkeypatch):
    for stream, quiet in ((io.StringIO(), False), (Terminal(), True)):
        monkeypatch.setattr(sys, "stderr", stream)
        assert shown(capsys, quiet=quiet)[0] == [0, 1, 2]
        assert stream.getvalue() == ""


def test_without_tqdm(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert shown(capsys) == ([0, 1, 2], "built 0\nbuilt 1\nbuilt 2\n")

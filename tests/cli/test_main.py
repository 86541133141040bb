import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import ksc
from ksc.cli import main

COMMANDS = ("show", "build", "doctor", "cache", "demo", "completion", "explore", "export")


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--help"])
    assert left.value.code == 0
    shown = capsys.readouterr().out
    assert all(command in shown for command in COMMANDS)
    assert "Exit codes" in shown


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--version"])
    assert left.value.code == 0
    assert capsys.readouterr().out == f"ksc {ksc.__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([command, "--help"])
    assert left.value.code == 0
    assert f"usage: ksc {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [[], ["fly"], ["show"], ["show", "f.py:f", "--stage", "asm"], ["build", "f.py:f", "--dtype", "int8"], ["cache"]],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    assert "usage: ksc" in capsys.readouterr().err


def test_runs_as_a_module_and_stands_a_closed_pipe(tmp_path: Path) -> None:
    file = tmp_path / "f.py"
    file.write_text("def f(x: float) -> float:\n    return x * x\n")
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "ksc", "show", f"{file}:f"], stdout=write, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_interrupt_is_exit_code_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ksc.cli.doctor.examine", interrupted)
    assert main(["doctor"]) == 130


def test_completion_knows_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    typed = "COMP_WORDS=(ksc bu); COMP_CWORD=1; _shtab_ksc; echo ${COMPREPLY[@]}"
    done = subprocess.run(["bash", "-c", f"{script}\n{typed}"], capture_output=True, text=True, check=False)
    assert done.stdout == "build\n"


def test_fish_completes_without_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["completion", "fish"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "complete -c ksc -f" in lines
    for name in COMMANDS:
        assert any(f"-a {name} " in line and line.startswith("complete -c ksc -n 'not __fish_seen") for line in lines)
    (stage,) = (line for line in lines if "-l stage " in line)
    assert "__fish_seen_subcommand_from show" in stage
    assert "-x -a 'ir vjp jvp backward cpp vjp-cpp " in stage
    (json_of_list,) = (line for line in lines if "from cache; and __fish_seen_subcommand_from list' -l json" in line)
    assert " -r" not in json_of_list
    if (fish := shutil.which("fish")) is not None:
        (tmp_path / "ksc.fish").write_text("\n".join(lines))
        script = f"source {tmp_path}/ksc.fish; complete -C 'ksc show --stage '; complete -C 'ksc cache '"
        done = subprocess.run([fish, "--no-config", "-c", script], capture_output=True, text=True, cwd=tmp_path)
        given = [line.partition("\t")[0] for line in done.stdout.splitlines()]
        assert (sorted(given), done.stderr) == (["clear", "cpp", "cuda", "ir", "jvp", "list", "vjp"], "")


def test_completion_without_its_extra(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["completion", "zsh"]) == 1
    assert "pip install 'ksc[completion]'" in capsys.readouterr().err

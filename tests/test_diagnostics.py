"""The logger, the tracebacks of refused kernels, and kernels that ``python -c`` defines."""

from __future__ import annotations

import logging
import subprocess
import sys
import traceback
from pathlib import Path

import pytest
import torch

import ksc as knossos
from ksc.diagnostics import configure_logging
from ksc.errors import UnsupportedError

ROOT = Path(__file__).resolve().parents[1]
DEFINITION = "import torch, ksc as knossos\n@knossos.vmap\ndef f(x: float) -> float:\n    return {}\n"
CALL = "print(f(torch.tensor([1.0, 3.0])).tolist())\n"


@knossos.vmap
def opens(x: float) -> float:
    return open(x)


def frames_of_a_refused_call():
    with pytest.raises(UnsupportedError) as caught:
        opens(torch.ones(2))
    return [frame.filename for frame in traceback.extract_tb(caught.value.__traceback__)]


def test_a_refused_call_shows_no_frame_of_the_frontend():
    frames = frames_of_a_refused_call()
    assert frames[0] == __file__
    assert not any("frontend" in frame for frame in frames)
    assert len(frames) < 6


def test_the_frames_of_the_compiler_can_be_had(monkeypatch):
    monkeypatch.setenv("KSC_TRACEBACK", "full")
    assert any("frontend" in frame for frame in frames_of_a_refused_call())


@pytest.fixture
def logger():
    logger = logging.getLogger("ksc")
    before = logger.level, list(logger.handlers), logger.propagate
    yield logger
    logger.setLevel(before[0])
    logger.handlers[:] = before[1]
    logger.propagate = before[2]


def test_the_level_of_the_logger_is_that_of_the_environment(logger, capsys):
    configure_logging({"KSC_LOG": "info"})
    logging.getLogger("ksc.compiler").info("compiling %s", "f")
    logging.getLogger("ksc.compiler").debug("unseen")
    assert capsys.readouterr().err.endswith("ksc.compiler INFO: compiling f\n")


def test_without_the_variable_the_logger_is_left_alone(logger):
    before = logger.level, list(logger.handlers), logger.propagate
    configure_logging({})
    assert (logger.level, logger.handlers, logger.propagate) == before


def test_a_level_that_is_none_is_warned_of(logger):
    with pytest.warns(RuntimeWarning, match="KSC_LOG=loud is none of debug, info"):
        configure_logging({"KSC_LOG": "loud"})
    assert not logger.handlers


def run_command(*args):
    return subprocess.run([sys.executable, *args], capture_output=True, text=True, cwd=ROOT, check=False)


@pytest.mark.parametrize("form", [("-c", "{}"), ("-Wignore", "-c", "{}", "-c", "c"), ("-uc{}", "a")])
def test_kernels_of_a_command_line(form):
    done = run_command(*(part.format(DEFINITION.format("x * x") + CALL) for part in form))
    assert done.stdout == "[1.0, 9.0]\n", done.stderr


def test_an_error_in_a_command_line_shows_its_line():
    done = run_command("-c", DEFINITION.format("open(x)") + CALL)
    assert done.returncode == 1
    assert "<string>:4:12: [KS106]" in done.stderr
    assert "        return open(x)\n               ^^^^^^^\n" in done.stderr


def test_what_a_command_line_executes_has_no_source():
    code = (
        "import torch, ksc as knossos\nexec('def f(x: float) -> float:\\n    return x')\nknossos.vmap(f)(torch.ones(2))"
    )
    done = run_command("-c", code)
    assert "[KS109] the source of 'f' cannot be found" in done.stderr

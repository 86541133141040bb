"""PyTorch's way to the kernels for GPUs, on a device that is pretended in the memory of the host.

In a process of its own: what is registered with PyTorch as a backend stays, and other tests are to see none.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.conftest import refuse_without_gpu

FOLDER = Path(__file__).resolve().parent / "pretend"
CHECKS = [str(FOLDER / name) for name in ("checks.py", "pretended.py", "library.py")]


def test_a_pretend_device() -> None:
    environ = {name: value for name, value in os.environ.items() if name != "KSC_TEST_GPU"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *CHECKS]
    root = FOLDER.parents[2]
    done = subprocess.run(command, cwd=root, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]


def test_the_tests_on_a_gpu_stop_at_once_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(pytest.UsageError, match="nothing was tested"):
        refuse_without_gpu()


def test_all_that_a_gpu_can_run_is_run_on_one() -> None:
    makefile = (FOLDER.parents[2] / "Makefile").read_text("utf-8")
    named = re.search(r"^GPU_CHECKS := .*pretend/,(.*)\)$", makefile, re.MULTILINE)
    assert named is not None
    files = {file.name for file in FOLDER.glob("*.py") if "\ndef test_" in file.read_text("utf-8")}
    assert set(named[1].split()) == files - {"pretended.py"}

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from ksc.cli import doctor, main

NAMES = ["Python", "torch", "numpy", "jinja2", "ninja", "C++ compiler", "prelude", "core", "CUDA", "cache"]


def test_a_machine_that_runs_the_tests_is_healthy(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in NAMES)
    assert shown.endswith("Everything needed is there.\n")


def test_json_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["healthy"] is True
    assert [finding["name"] for finding in report["findings"]] == NAMES
    assert all(finding["found"] for finding in report["findings"] if finding["needed"])


def test_a_missing_compiler(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert main(["doctor"]) == 1
    shown = capsys.readouterr().out
    assert "MISS  C++ compiler" in shown
    assert "no-such-compiler" in shown
    assert "apt install g++" in shown
    assert shown.endswith("Something needed is missing.\n")


def test_a_compiler_that_does_not_compile(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "broken-cxx"
    broken.write_text("#!/bin/sh\n[ $1 = --version ] && echo cxx 1.0 && exit\necho 'cannot find cc1plus' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    finding = doctor.check_compiler()
    assert not finding.found
    assert "cannot find cc1plus" in finding.detail


def test_a_missing_ninja(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    finding = doctor.check_ninja()
    assert not finding.found
    assert "pip install" in str(finding.remedy)


def test_a_missing_package() -> None:
    finding = doctor.check_package("no-such-package")
    assert (finding.found, finding.remedy) == (False, "pip install no-such-package")


def test_an_old_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = sys.modules["torch"]
    for version, found in [("2.10.1", False), ("2.11.0+cpu", True), ("2.13.0a0+git1", True), ("3.0", True)]:
        monkeypatch.setattr(torch, "__version__", version)
        assert doctor.check_torch().found is found


def test_a_compiler_for_gpus_is_of_use_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = sys.modules["torch"]
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(doctor, "find_cuda_compiler", lambda: SimpleNamespace(path="/opt/bin/nvcc"))
    finding = doctor.check_cuda()
    assert (finding.found, finding.needed) == (False, False)
    assert "/opt/bin/nvcc builds ahead of time" in finding.detail
    monkeypatch.undo()
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setenv("CUDACXX", "no-such-nvcc")
    assert doctor.check_cuda().detail == "this torch is built without it"


def test_a_world_writable_cache_is_not_trusted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KSC_BUILD_DIR", str(tmp_path))
    assert doctor.check_cache().found
    tmp_path.chmod(0o777)
    assert not doctor.check_cache().found


def test_a_core_that_is_not_built_is_no_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KSC_BUILD_DIR", str(tmp_path))
    finding = doctor.check_core()
    assert (finding.found, finding.needed) == (False, False)
    assert finding.remedy == "python -m ksc.torch.build_core"


def test_it_runs_where_torch_is_missing() -> None:
    script = "import sys; sys.modules['torch'] = None; from ksc.cli import main; sys.exit(main(['doctor']))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "MISS  torch" in done.stdout
    assert "ok    C++ compiler" in done.stdout


def test_it_runs_by_itself() -> None:
    done = subprocess.run([sys.executable, "-m", "ksc", "doctor"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

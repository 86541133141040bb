"""Building the core: found where it was built, built once, and nothing left of a build that failed."""

from __future__ import annotations

from pathlib import Path

import pytest

from ksc.errors import BuildError, CacheError
from ksc.torch import build_core


def test_the_file_name_depends_on_sources_and_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    name = build_core.core_filename()
    assert name == build_core.core_filename()
    with monkeypatch.context() as patched:
        patched.setenv(build_core.FLAGS_VARIABLE, "-DMORE")
        assert build_core.core_filename() != name
        assert "-DMORE" in build_core._command(Path("core.so"))
    monkeypatch.setattr(build_core, "_FLAGS", (*build_core._FLAGS, "-g"))
    assert build_core.core_filename() != name
    monkeypatch.setattr(build_core.torch, "__version__", "2.99.0")
    assert build_core.core_filename().startswith("core-torch2.99.0-")


def test_a_core_that_is_there_is_not_built_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KSC_BUILD_DIR", str(tmp_path))
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert build_core.find() is None
    there = tmp_path / "core" / build_core.core_filename()
    there.parent.mkdir()
    there.touch()
    assert build_core.find() == there == build_core.build()


def test_a_folder_that_others_can_write_to_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KSC_BUILD_DIR", str(tmp_path))
    there = tmp_path / "core" / build_core.core_filename()
    there.parent.mkdir()
    there.parent.chmod(0o777)
    there.touch()
    with pytest.raises(CacheError, match="can be written by everybody"):
        build_core.find()


def test_a_missing_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(BuildError, match=r"no-such-compiler'?, which was not found[\s\S]*instead: install"):
        build_core.build(tmp_path)


def test_a_compiler_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "g++ --no-such-option")
    with pytest.raises(BuildError, match="no-such-option"):
        build_core.build(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BuildError, match="cannot be made"):
        build_core.build(tmp_path / "file" / "below")

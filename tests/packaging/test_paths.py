from pathlib import Path

import pytest

from ksc import paths

ROOT = Path(__file__).resolve().parents[2]


def test_a_checkout_uses_its_own_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KSC_BUILD_DIR", raising=False)
    assert paths.checkout_dir() == ROOT
    assert paths.prelude_dir() == ROOT / "prelude"
    assert paths.examples_dir() == ROOT / "examples"
    assert paths.build_root() == ROOT / "build"


def test_an_installed_package_uses_its_data_and_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = tmp_path / "site-packages" / "ksc"
    monkeypatch.setattr(paths, "PACKAGE_DIR", package)
    monkeypatch.setattr(paths, "user_cache_dir", lambda: tmp_path / "cache")
    monkeypatch.delenv("KSC_BUILD_DIR", raising=False)
    assert paths.checkout_dir() is None
    assert paths.prelude_dir() == package / "_data" / "prelude"
    assert paths.build_root() == tmp_path / "cache" / "ksc"


def test_a_variable_overrides_the_build_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KSC_BUILD_DIR", str(tmp_path))
    assert paths.build_root() == tmp_path
    monkeypatch.setenv("KSC_BUILD_DIR", "~/kernels")
    assert paths.build_root() == Path.home() / "kernels"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KSC_BUILD_DIR", "here")
    assert paths.build_root() == tmp_path / "here"
    monkeypatch.setenv("KSC_BUILD_DIR", "")
    assert paths.build_root() == ROOT / "build"


@pytest.mark.parametrize(
    ("platform", "environ", "expected"),
    [
        ("linux", {"XDG_CACHE_HOME": "/caches"}, Path("/caches")),
        ("linux", {"XDG_CACHE_HOME": "relative"}, Path.home() / ".cache"),
        ("linux", {"XDG_CACHE_HOME": ""}, Path.home() / ".cache"),
        ("linux", {}, Path.home() / ".cache"),
        ("darwin", {}, Path.home() / "Library" / "Caches"),
        ("win32", {"LOCALAPPDATA": "/local"}, Path("/local")),
        ("win32", {}, Path.home() / "AppData" / "Local"),
    ],
)
def test_the_cache_folder_is_the_platforms(platform: str, environ: dict[str, str], expected: Path) -> None:
    assert paths.user_cache_dir(platform, environ) == expected

"""The wheel contains what an installed package needs, and works away from the checkout."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ksc.torch.build_core import build as build_core

ROOT = Path(__file__).resolve().parents[2]
IGNORED = shutil.ignore_patterns("__pycache__", "*.egg-info")

SCRIPT = """
import torch, ksc
from ksc import paths

def cube(x: float) -> float:
    return x * x * x

kernel = ksc.vmap(cube)
t = torch.tensor([1.0, -2.0, 3.0])
torch.testing.assert_close(kernel(t), t ** 3)
torch.testing.assert_close(kernel.vjp(t, torch.ones_like(t)), 3 * t * t)
print(ksc.__file__, paths.prelude_dir(), kernel.source_path, sep="\\n")
"""


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # Built from a copy, since setuptools leaves its files in the source folder.
    source = tmp_path_factory.mktemp("source")
    for folder in ("ksc", "prelude", "examples"):
        shutil.copytree(ROOT / folder, source / folder, ignore=IGNORED)
    for file in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, source)
    out = tmp_path_factory.mktemp("wheel")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--wheel-dir", str(out)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(source)], check=True)
    (built,) = out.glob("ksc-*.whl")
    return built


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("installed")
    options = ["--quiet", "--no-deps", "--no-compile", "--disable-pip-version-check", "--target", str(target)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(wheel)], check=True)
    return target


def test_contains_every_file(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    wanted = {f"ksc/{path.relative_to(ROOT / 'ksc')}" for path in tracked("ksc")}
    wanted |= {f"ksc/_data/{path.relative_to(ROOT)}" for path in tracked("prelude") + tracked("examples")}
    assert wanted - packed == set()
    assert not [name for name in packed if name.startswith(("tests", "prelude", "examples", "build"))]
    assert any(name.endswith("licenses/LICENSE") for name in packed)


def test_works_away_from_the_checkout(installed: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    shown = run([str(script)], installed, tmp_path).splitlines()
    assert Path(shown[0]).is_relative_to(installed)
    assert Path(shown[1]) == installed / "ksc" / "_data" / "prelude"
    assert Path(shown[2]).is_relative_to(tmp_path / "cache" / "ksc" / "torch_extensions")
    assert Path(shown[2]).is_file()


def test_the_command_line_works_away_from_the_checkout(installed: Path, tmp_path: Path) -> None:
    assert str(installed) in run(["-m", "ksc", "doctor"], installed, tmp_path)


def run(arguments: list[str], installed: Path, folder: Path) -> str:
    """Run Python away from the checkout, with a cache of its own that has nothing but the core, which takes long."""
    cache = folder / "cache" / "ksc"
    cache.mkdir(parents=True)
    (cache / "core").symlink_to(build_core().parent)
    environ = os.environ | {"PYTHONPATH": str(installed), "XDG_CACHE_HOME": str(folder / "cache")}
    del environ["KSC_BUILD_DIR"]
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def tracked(folder: str) -> list[Path]:
    return [
        path
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix not in {".so", ".pyc"}
    ]

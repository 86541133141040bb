"""What all tests share: a build folder of their own, fresh in each run, and the option to rewrite golden files."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BUILD_DIR = "KSC_BUILD_DIR"
_made = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    """Build kernels into a temporary folder; the processes that tests start, workers among them, inherit it.

    The runtime core takes long to build and does not depend on what is tested, so it is that of the checkout.
    """
    # Inductor compiles programs to learn which vector instructions work: those that the processor has.
    os.environ.setdefault("TORCHINDUCTOR_VEC_ISA_OK", "1")
    if os.environ.get("KSC_TEST_GPU", "0") not in ("", "0"):
        refuse_without_gpu()
    if BUILD_DIR in os.environ:
        return
    folder = Path(tempfile.mkdtemp(prefix="ksc-tests-"))
    core = ROOT / "build" / "core"
    core.mkdir(parents=True, exist_ok=True)
    (folder / "core").symlink_to(core)
    os.environ[BUILD_DIR] = str(folder)
    config.stash[_made] = folder


def refuse_without_gpu() -> None:
    """Stop before nvcc compiles hundreds of sources that nothing can run."""
    import torch

    if not torch.cuda.is_available():
        why = "is built without CUDA" if torch.version.cuda is None else "sees none"
        raise pytest.UsageError(f"the tests on a GPU need one: PyTorch {torch.__version__} {why}; nothing was tested")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the folder that this process made."""
    folder = config.stash.get(_made, None)
    if folder is not None:
        del os.environ[BUILD_DIR]
        shutil.rmtree(folder, ignore_errors=True)


# Files of few tests that take long come first, so that no process is left with one of them at the end.
LONG = (
    "exports/test_export_torch",
    "ops/opinfo/",
    "exports/test_export_cpp",
    "programs/test_",
    "cuda/",
    "torch/",
    "transforms/",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the files; that of the tests of a file stays."""

    def place(item: pytest.Item) -> int:
        path = item.path.as_posix()
        return next((k for k, start in enumerate(LONG) if f"/tests/{start}" in path), len(LONG))

    items.sort(key=place)


# Compiled as for users: where it matters what the compiler makes of the code, and whole programs.
OPTIMISED = (
    "bench/",
    "cli/",
    "codegen/",
    "compiler/",
    "examples/test_adbench",
    "packaging/",
    "programs/test_engineers_kernels",
    "programs/test_random",
    "programs/test_users_kernels",
)
FLAGS = "KSC_COMPILE_FLAGS"


@pytest.fixture(autouse=True, scope="module")
def compiled_quickly(request: pytest.FixtureRequest) -> Iterator[None]:
    """Where what kernels mean is tested they are optimised little, in two thirds of the time; loops are still vectorised."""
    place = request.path.relative_to(ROOT / "tests").as_posix()
    with pytest.MonkeyPatch.context() as patch:
        if not place.startswith(OPTIMISED) and FLAGS not in os.environ:
            patch.setenv(FLAGS, "-O1")
        yield


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--update-golden``: write the golden files instead of comparing with them."""
    parser.addoption("--update-golden", action="store_true", help="rewrite the files in tests/golden")


class Golden:
    """Compares text with a file in ``tests/golden``, whose path follows from the test's."""

    def __init__(self, path: Path, update: bool) -> None:
        self.path = path
        self.update = update

    def check(self, text: str, suffix: str = ".txt") -> None:
        """Assert that ``text`` is what the file holds, or write it with ``--update-golden``."""
        file = self.path.with_name(self.path.name + suffix)
        if self.update:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        assert file.is_file(), f"{file.relative_to(ROOT)} is missing; --update-golden writes it"
        assert text == file.read_text(encoding="utf-8")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """``golden.check(text)``: ``tests/golden/FOLDER/test_file/test_name[case].txt`` holds this text."""
    module = Path(request.path).relative_to(ROOT / "tests").with_suffix("")
    name = re.sub(r"[^\w.\[\]-]+", "_", request.node.name)
    return Golden(ROOT / "tests" / "golden" / module / name, request.config.getoption("--update-golden"))

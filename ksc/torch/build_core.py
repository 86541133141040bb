"""Builds and loads the runtime core: C++ against one version of torch, built once.

``python -m ksc.torch.build_core [folder]`` builds it ahead of time: into the build folder, or into the given one (the
wheel's build gives the folder of this package).
"""

from __future__ import annotations

import hashlib
import importlib.machinery
import importlib.util
import logging
import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from types import ModuleType

import torch

from ksc.compiler.lock import exclusive
from ksc.compiler.options import words
from ksc.compiler.toolchain import find_compiler
from ksc.compiler.trust import require_trusted
from ksc.errors import BuildError
from ksc.paths import build_root, prelude_dir, shared_roots

_log = logging.getLogger("ksc")

FLAGS_VARIABLE = "KSC_CORE_FLAGS"

_HERE = Path(__file__).resolve().parent
SOURCES = _HERE / "csrc"
_FOLDER = "core"
_FLAGS = (
    "-std=c++20",
    "-O2",
    "-fPIC",
    "-shared",
    "-fvisibility=hidden",
    "-Wall",
    "-Wextra",
    "-Wno-maybe-uninitialized",
)
_MODULE = "ksc.torch._core"
_EXPORTS_ONLY = frozenset({"cpu", "exported", "standalone"})
_PYTHON_ONLY = frozenset(
    {"binding", "callback", "core", "fastcall", "guards", "layout", "module", "python", "python_host"}
)


def core_flags() -> tuple[str, ...]:
    """The flags of the core, last those of ``KSC_CORE_FLAGS``."""
    return (*_FLAGS, *words(os.environ.get(FLAGS_VARIABLE, "")))


def source_digest(*, standalone: bool = False) -> str:
    """A hash of the core's sources as they are, and of its flags; ``standalone`` for the core of exported libraries."""
    files = [path for path in SOURCES.rglob("*") if path.suffix in (".cpp", ".h", ".hpp")]
    headers = ("cpu.h", "cuda/device.h", "runtime.h", "sizes.h", "stack.h")
    digest = hashlib.sha256()
    for path in (*sorted(files), *(prelude_dir() / "ks" / name for name in headers)):
        if path.stem not in (_PYTHON_ONLY if standalone else _EXPORTS_ONLY):
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    digest.update("\0".join(core_flags()).encode())
    return digest.hexdigest()


def core_filename() -> str:
    """The file name of the core for the running Python and torch and the sources as they are."""
    version = torch.__version__.replace("+", "_")
    return f"core-torch{version}-{sys.implementation.cache_tag}-{source_digest()[:16]}.so"


def build_folder() -> Path:
    """Where the core is built."""
    return build_root() / _FOLDER


def find() -> Path | None:
    """The core, if it has been built: by the wheel's build, into the build folder or one of ``KSC_CACHE_PATH``.

    Raises CacheError where somebody else could have put it there.
    """
    name = core_filename()
    if (_HERE / name).is_file():
        return _HERE / name
    for root, shared in ((build_root(), None), *((root, root) for root in shared_roots())):
        path = root / _FOLDER / name
        if path.is_file():
            require_trusted(path, shared)
            return path
    return None


def _command(output: Path) -> list[str]:
    from torch.utils.cpp_extension import include_paths, library_paths

    command = [
        *find_compiler().command,
        *core_flags(),
        f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}",
    ]
    command += [f"-I{prelude_dir()}"]
    for folder in (*include_paths(), sysconfig.get_path("include")):
        command += ["-isystem", folder]
    command += ["-idirafter", str(SOURCES / "shims"), str(SOURCES / "core.cpp"), "-o", str(output)]
    command += [f"-L{folder}" for folder in library_paths()]
    return [*command, "-ltorch_python", "-ltorch", "-ltorch_cpu", "-lc10"]


def build(folder: Path | None = None) -> Path:
    """Builds the core if it is not there yet, and gives its path.

    Raises BuildError where there is no compiler or it fails, CacheError where others may write to the build folder.
    Processes that build at once wait for the first one; a build that was killed leaves nothing behind that counts.
    """
    folder = build_folder() if folder is None else folder
    target = folder / core_filename()
    if target.is_file():
        return target
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BuildError(
            f"the build folder {folder} cannot be made: {error}", remedy="set KSC_BUILD_DIR to a folder of your own"
        ) from error
    if folder == build_folder():
        require_trusted(folder)
    with exclusive(folder / ".lock"):
        if not target.is_file():
            _log.warning("building the runtime core for torch %s; this is done once", torch.__version__)
            _compile(folder, target)
    return target


def _compile(folder: Path, target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder, prefix="building-") as scratch:
        output = Path(scratch) / target.name
        done = subprocess.run(_command(output), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise BuildError(f"the runtime core did not compile:\n{done.stderr[-4000:]}")
        os.replace(output, target)


def load() -> ModuleType:
    """The core as a Python module, built first where need be."""
    if (loaded := sys.modules.get(_MODULE)) is not None:
        return loaded
    path = find() or build()
    loader = importlib.machinery.ExtensionFileLoader(_MODULE, str(path))
    spec = importlib.util.spec_from_file_location(_MODULE, path, loader=loader)
    if spec is None:
        raise BuildError(f"{path} is not a Python extension", remedy="delete it; it is built again")
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    sys.modules[_MODULE] = module
    return module


def main(arguments: list[str]) -> None:
    """The command line: builds the core, into the folder given or the usual one."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    path = build(Path(arguments[0]).resolve() if arguments else None)
    _log.info("the runtime core is %s", path)


if __name__ == "__main__":
    main(sys.argv[1:])

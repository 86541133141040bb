"""Where Knossos finds its own files and keeps what it builds.

Run from a source checkout, the prelude and the examples are the repository's folders and built files go below its
``build/``. In an installed wheel they are the copies in ``ksc/_data`` (see ``setup.py``), and built files go below the
user's cache folder.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

PACKAGE_DIR = Path(__file__).resolve().parent
"""The folder of the package ``ksc`` itself."""

BUILD_DIR_VARIABLE = "KSC_BUILD_DIR"
"""The environment variable that overrides where built files go."""

SHARED_VARIABLE = "KSC_CACHE_PATH"
"""The environment variable that names folders like the one above, filled by others and only read."""


def checkout_dir() -> Path | None:
    """The root of the source checkout this package is run from, or None for an installed one."""
    root = PACKAGE_DIR.parent
    return root if (root / "pyproject.toml").is_file() and (root / "prelude").is_dir() else None


def prelude_dir() -> Path:
    """The folder to put on the include path of generated C++."""
    return _data_dir("prelude")


def examples_dir() -> Path:
    """The folder of the examples, among them the one that ``ksc demo`` runs."""
    return _data_dir("examples")


def build_root() -> Path:
    """The folder below which kernels, the runtime core and documents are built; it need not exist yet.

    ``KSC_BUILD_DIR`` if set, else the checkout's ``build/``, else ``ksc`` in the user's cache folder.
    """
    override = os.environ.get(BUILD_DIR_VARIABLE)
    if override:
        return Path(override).expanduser().absolute()
    root = checkout_dir()
    return root / "build" if root else user_cache_dir() / "ksc"


def shared_roots(environ: Mapping[str, str] = os.environ) -> list[Path]:
    """The folders of ``KSC_CACHE_PATH``, in order: each was the build root of a process that filled it."""
    parts = environ.get(SHARED_VARIABLE, "").split(os.pathsep)
    return [Path(part).expanduser().absolute() for part in parts if part]


def user_cache_dir(platform: str = sys.platform, environ: Mapping[str, str] = os.environ) -> Path:
    """The folder that the platform sets aside for files that can be made again."""
    if platform == "win32":
        local = environ.get("LOCALAPPDATA")
        return Path(local) if local else Path.home() / "AppData" / "Local"
    # The XDG specification says that a relative path is to be ignored.
    xdg = environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(xdg):
        return Path(xdg)
    return Path.home() / "Library" / "Caches" if platform == "darwin" else Path.home() / ".cache"


def _data_dir(name: str) -> Path:
    root = checkout_dir()
    return root / name if root else PACKAGE_DIR / "_data" / name

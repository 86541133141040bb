"""``ksc doctor``: what Knossos needs, what of it is there, and how to get the rest."""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import json
import platform
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ksc.compiler.cuda import find_cuda_compiler
from ksc.compiler.driver import find_ninja
from ksc.compiler.options import BuildOptions
from ksc.compiler.store import writable_store
from ksc.compiler.toolchain import find_compiler
from ksc.errors import BuildError, CacheError, KnossosError
from ksc.paths import prelude_dir

TORCH_MINIMUM = (2, 11)
PROBE = '#include <cmath>\nextern "C" double ks_probe(double x) { return std::exp(x); }\n'


@dataclass(frozen=True)
class Finding:
    """One thing that was looked for; ``remedy`` says how to get it where it is missing."""

    name: str
    found: bool
    needed: bool
    detail: str
    remedy: str | None = None

    def __str__(self) -> str:
        mark = "ok  " if self.found else "MISS" if self.needed else "none"
        line = f"{mark}  {self.name:<12} {self.detail}"
        return line if self.found or not self.remedy else f"{line}\n      {'':<12} get it: {self.remedy}"


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = commands.add_parser("doctor", help="what was found, what is missing, how to get it")
    parser.add_argument("--json", action="store_true", help="for a program to read")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the findings; 1 where something needed is missing."""
    findings = examine()
    healthy = all(finding.found for finding in findings if finding.needed)
    if args.json:
        print(json.dumps({"healthy": healthy, "findings": [asdict(finding) for finding in findings]}, indent=2))
    else:
        print("\n".join(map(str, findings)))
        print("Everything needed is there." if healthy else "Something needed is missing.")
    return 0 if healthy else 1


def examine() -> list[Finding]:
    """Look for everything, in the order in which one would install it."""
    checks: tuple[Callable[[], Finding], ...] = (
        check_python,
        check_torch,
        lambda: check_package("numpy"),
        lambda: check_package("jinja2"),
        check_ninja,
        check_compiler,
        check_prelude,
        check_core,
        check_cuda,
        check_cache,
    )
    return [check() for check in checks]


def check_python() -> Finding:
    """Python 3.11 or newer, since the frontend reads its syntax tree."""
    found = sys.version_info >= (3, 11)
    return Finding("Python", found, True, f"{platform.python_version()} at {sys.executable}", "Python 3.11 or newer")


def check_torch() -> Finding:
    """A torch that can be imported and is new enough."""
    remedy = f"pip install 'torch>={'.'.join(map(str, TORCH_MINIMUM))}'"
    try:
        torch = importlib.import_module("torch")
    except (ImportError, OSError) as error:
        return Finding("torch", False, True, f"cannot be imported: {error}", remedy)
    version: str = torch.__version__
    parts = re.findall(r"\d+", version)
    return Finding("torch", tuple(map(int, parts[:2])) >= TORCH_MINIMUM, True, version, remedy)


def check_package(name: str) -> Finding:
    """A Python package by its name."""
    try:
        return Finding(name, True, True, importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, False, True, "not installed", f"pip install {name}")


def check_ninja() -> Finding:
    """The ninja that drives a build: on the path, or of the Python package."""
    try:
        path = find_ninja()
    except BuildError as error:
        return _missing("ninja", error)
    return Finding("ninja", True, True, f"{_first_line([path, '--version'])} at {path}")


def check_compiler() -> Finding:
    """A C++ compiler that builds a library: some have no standard library, or no linker."""
    name = "C++ compiler"
    try:
        compiler = find_compiler()
    except BuildError as error:
        return _missing(name, error)
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder, "probe.cpp"), Path(folder, "probe.so")
        source.write_text(PROBE)
        options = BuildOptions()
        flags = [*options.compile_flags(), "-shared", str(source), "-o", str(library), *options.link_flags()]
        built = subprocess.run([*compiler.command, *flags], capture_output=True, text=True, check=False)
    command = shlex.join(compiler.command)
    if built.returncode != 0:
        reason = "".join(built.stderr.strip().splitlines()[:1])
        return Finding(name, False, True, f"{command} cannot build a library: {reason}", "name another one in CXX")
    return Finding(name, True, True, f"{_first_line([*compiler.command, '--version'])} ({command})")


def check_prelude() -> Finding:
    """The headers that generated code includes."""
    folder = prelude_dir()
    headers = list(folder.rglob("*.h"))
    return Finding("prelude", bool(headers), True, f"{len(headers)} headers in {folder}", "install ksc again")


def check_cuda() -> Finding:
    """CUDA is optional: a torch built for it, a device, and nvcc or NVRTC, which without these build ahead of time."""
    try:
        torch = importlib.import_module("torch")
    except (ImportError, OSError):
        return Finding("CUDA", False, False, "torch is missing")
    path, missing = "", None
    try:
        path = find_cuda_compiler().path
    except BuildError as error:
        missing = replace(_missing("CUDA", error), needed=False)
    ahead = "" if missing is not None else f"; {path} builds ahead of time"
    if torch.version.cuda is None:
        return Finding("CUDA", False, False, f"this torch is built without it{ahead}", "a CUDA build of torch")
    if not torch.cuda.is_available():
        return Finding("CUDA", False, False, f"no device is visible{ahead}", "a driver and a device")
    if missing is not None:
        return missing
    return Finding("CUDA", True, False, f"{torch.version.cuda}, {torch.cuda.get_device_name()}, {path}")


def check_core() -> Finding:
    """The runtime core; where it is missing, the first call of a kernel builds it."""
    try:
        build_core = importlib.import_module("ksc.torch.build_core")
    except (ImportError, OSError) as error:
        return Finding("core", False, False, f"torch is missing: {error}")
    try:
        path = build_core.find()
    except CacheError as error:
        return _missing("core", error)
    if path is None:
        return Finding("core", False, False, "not built yet; the first call does it", "python -m ksc.torch.build_core")
    return Finding("core", True, False, str(path))


def check_cache() -> Finding:
    """The folder of built kernels: trusted, and open to writing."""
    store = writable_store()
    try:
        store.prepare()
        with tempfile.NamedTemporaryFile(dir=store.folder):
            kernels = sum(1 for _ in store.entries())
    except CacheError as error:
        return _missing("cache", error)
    except OSError as error:
        return Finding("cache", False, True, f"{store.folder} cannot be written: {error.strerror}", "set KSC_BUILD_DIR")
    return Finding("cache", True, True, f"{kernels} kernels in {store.folder}")


def _missing(name: str, error: KnossosError) -> Finding:
    return Finding(name, False, True, error.message, error.remedy)


def _first_line(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.partition("\n")[0]

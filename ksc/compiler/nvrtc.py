"""CUDA without nvcc: NVRTC compiles the device's half of a source, and the C++ compiler the host's.

NVRTC is a library that comes with every PyTorch for CUDA, with CuPy, and with ``nvidia-cuda-nvrtc``. It is called
through its C interface, which is the same wherever it comes from.
"""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import functools
import importlib
import importlib.util
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ksc.compiler.cuda_options import CudaOptions
from ksc.compiler.driver import CompilationError
from ksc.compiler.toolchain import Compiler, find_compiler
from ksc.errors import BuildError

HEADERS = (
    *("cmath", "cstddef", "cstdint", "cstring", "cuda_runtime.h", "initializer_list", "stddef.h", "stdint.h"),
    *("type_traits", "utility"),
)
"""What the prelude includes and NVRTC has not: ``prelude/ks/cuda/nvrtc.h`` takes the place of each."""


@dataclass(frozen=True)
class Nvrtc:
    """An NVRTC library, and the C++ compiler for what it does not compile."""

    path: str
    compiler: Compiler
    identity: str

    def compile(self, source: Path, library: Path, options: CudaOptions, include: Path) -> list[str]:
        """Compile one source into a shared library; gives the host's command.

        Raises CompilationError with the output of the compiler that refused, BuildError (KS504) where NVRTC does not
        know an architecture.
        """
        folder = library.parent
        images = list(self.images(source, options, include))
        for k, (_, _, data) in enumerate(images):
            (folder / f"image{k}").write_bytes(data)
        (folder / "ks_images.h").write_text(_table([(number, binary) for number, binary, _ in images]), "utf-8")
        command = [
            *self.compiler.command,
            *("-std=c++20", "-O2", "-fPIC", "-shared", "-fvisibility-inlines-hidden", "-DKS_HOST_HALF"),
            *("-I", ".", "-I", str(include / "ks" / "cuda" / "driver"), "-I", str(include)),
            *("-x", "c++", source.name, "-o", library.name, "-ldl"),
        ]
        environ = {**os.environ, "LC_ALL": "C", "GCC_COLORS": ""}
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, errors="replace", env=environ, check=False
        )
        if done.returncode != 0 or not library.is_file():
            raise CompilationError(done.stdout + done.stderr)
        return command

    def images(self, source: Path, options: CudaOptions, include: Path) -> Iterator[tuple[int, bool, bytes]]:
        """Architecture, whether it is machine code, and the code: of each architecture, and PTX of the last."""
        known = _architectures(self.path)
        for number in options.architectures:
            if number not in known:
                raise BuildError(
                    f"this NVRTC, of CUDA {'.'.join(map(str, _version(self.path)))}, does not compile for sm_{number}",
                    remedy=f"update NVRTC, or set KSC_CUDA_ARCHITECTURES to some of {', '.join(map(str, known))}",
                    code="KS504",
                )
        text, ptx = source.read_text("utf-8"), b""
        for number in options.architectures:
            made = compile_program(self.path, text, source.name, nvrtc_flags(options, f"sm_{number}", include))
            ptx = made.ptx
            yield number, True, made.cubin
        yield options.architectures[-1], False, ptx


@dataclass(frozen=True, slots=True)
class Compiled:
    """What NVRTC makes of a source for one architecture.

    Attributes:
        cubin: machine code.
        ptx: the text that drivers of newer GPUs compile, ended by a zero.
        log: warnings.
    """

    cubin: bytes
    ptx: bytes
    log: str


def find_nvrtc(environ: Mapping[str, str] = os.environ) -> Nvrtc | None:
    """The NVRTC library of NVIDIA's wheels, or another one that is installed; None where there is none.

    Raises BuildError where there is no C++ compiler.
    """
    for path in nvrtc_places(environ):
        try:
            version = _version(path)
        except OSError:
            continue
        compiler = find_compiler()
        state = os.stat(path) if os.path.isabs(path) else None
        file = f"{path} {state.st_mtime_ns} {state.st_size}" if state else path
        return Nvrtc(path, compiler, f"NVRTC {version[0]}.{version[1]} {file}, {compiler.identity}")
    return None


def nvrtc_places(environ: Mapping[str, str]) -> Iterator[str]:
    """Where it may be, the first to be tried first: of the wheels that of PyTorch's version of CUDA before others."""
    wheels = importlib.util.find_spec("nvidia")
    folders = map(Path, (wheels.submodule_search_locations or ()) if wheels is not None else ())
    found = [file for folder in folders for file in folder.glob("cu*/lib/libnvrtc.so.*")]
    wanted = f".so.{_cuda_of_torch()}"
    yield from sorted(map(str, found), key=lambda file: (file.endswith(wanted), file), reverse=True)
    for variable in ("CUDA_HOME", "CUDA_PATH"):
        if environ.get(variable):
            yield str(Path(environ[variable]) / "lib64" / "libnvrtc.so")
    # What cuda-bindings finds it with knows conda and toolkits too.
    with contextlib.suppress(ImportError, RuntimeError):
        yield str(importlib.import_module("cuda.pathfinder").load_nvidia_dynamic_lib("nvrtc").abs_path)
    name = ctypes.util.find_library("nvrtc")
    if name is not None:
        yield name
    yield "/usr/local/cuda/lib64/libnvrtc.so"


def nvrtc_flags(options: CudaOptions, architecture: str, include: Path) -> list[str]:
    """What nvcc is asked for, in NVRTC's words."""
    flags = ["-std=c++20", "-default-device", f"-arch={architecture}", "-I", str(include)]
    return [*flags, *([] if options.contract else ["-fmad=false"]), *options.extra]


def compile_program(library: str, text: str, name: str, flags: Sequence[str]) -> Compiled:
    """Run NVRTC on a source. Raises CompilationError with its log where it refuses the source or a flag."""
    nvrtc = _opened(library)
    from ksc.paths import prelude_dir

    standard = (prelude_dir() / "ks" / "cuda" / "nvrtc.h").read_bytes()
    program = ctypes.c_void_p()
    count = len(HEADERS)
    texts = (ctypes.c_char_p * count)(*[standard] * count)
    names = (ctypes.c_char_p * count)(*(header.encode() for header in HEADERS))
    _check(nvrtc, nvrtc.nvrtcCreateProgram(ctypes.byref(program), text.encode(), name.encode(), count, texts, names))
    try:
        given = (ctypes.c_char_p * len(flags))(*(flag.encode() for flag in flags))
        status = nvrtc.nvrtcCompileProgram(program, len(flags), given)
        log = _fetched(nvrtc, "ProgramLog", program).rstrip(b"\0").decode(errors="replace")
        if status != 0:
            raise CompilationError(log or _words(nvrtc, status))
        return Compiled(_fetched(nvrtc, "CUBIN", program), _fetched(nvrtc, "PTX", program), log)
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


def _table(images: Sequence[tuple[int, bool]]) -> str:
    """The header by which the host's half knows the images, each a file beside it."""
    lines = [f'    "ks_image_{k}:\\n.incbin \\"image{k}\\"\\n.balign 64\\n"' for k in range(len(images))]
    rows = [f"{{{number}, {str(binary).lower()}, ks_image_{k}}}" for k, (number, binary) in enumerate(images)]
    names = ", ".join(f"ks_image_{k}[]" for k in range(len(images)))
    return "\n".join(
        (
            '__asm__(".pushsection .rodata\\n.balign 64\\n"',
            *lines,
            '    ".popsection\\n");',
            f'extern "C" __attribute__((visibility("hidden"))) const char {names};',
            f"namespace ks {{\nconstexpr int image_count = {len(images)};",
            f"static const image images[] = {{{', '.join(rows)}}};\n}}  // namespace ks\n",
        )
    )


def _cuda_of_torch() -> str:
    import torch

    return (torch.version.cuda or "").partition(".")[0]


@functools.cache
def _opened(path: str) -> ctypes.CDLL:
    # Not every build of NVRTC looks for its other half beside itself.
    for part in sorted(Path(path).parent.glob("libnvrtc-builtins.so.*")) if os.path.isabs(path) else ():
        ctypes.CDLL(str(part))
    library = ctypes.CDLL(path)
    library.nvrtcGetErrorString.restype = ctypes.c_char_p
    return library


@functools.cache
def _version(path: str) -> tuple[int, int]:
    nvrtc, major, minor = _opened(path), ctypes.c_int(), ctypes.c_int()
    _check(nvrtc, nvrtc.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)))
    return major.value, minor.value


@functools.cache
def _architectures(path: str) -> tuple[int, ...]:
    nvrtc, count = _opened(path), ctypes.c_int()
    _check(nvrtc, nvrtc.nvrtcGetNumSupportedArchs(ctypes.byref(count)))
    found = (ctypes.c_int * count.value)()
    _check(nvrtc, nvrtc.nvrtcGetSupportedArchs(found))
    return tuple(found)


def _fetched(nvrtc: ctypes.CDLL, what: str, program: ctypes.c_void_p) -> bytes:
    size = ctypes.c_size_t()
    _check(nvrtc, getattr(nvrtc, f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
    memory = ctypes.create_string_buffer(max(1, size.value))
    _check(nvrtc, getattr(nvrtc, f"nvrtcGet{what}")(program, memory))
    return memory.raw[: size.value]


def _check(nvrtc: ctypes.CDLL, status: int) -> None:
    if status != 0:
        raise BuildError(f"NVRTC failed: {_words(nvrtc, status)}", remedy="install nvcc instead", code="KS502")


def _words(nvrtc: ctypes.CDLL, status: int) -> str:
    return str(nvrtc.nvrtcGetErrorString(status).decode())

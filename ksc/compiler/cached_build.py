"""Content-addressed builds: the same source, flags, compiler and machine give the same entry, built once."""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ksc.compiler.options import BuildOptions
from ksc.compiler.store import Entry, file_stem, stores, writable_store
from ksc.compiler.toolchain import Compiler, find_compiler, machine_identity, prelude_digest
from ksc.compiler.tuning import possible_tuning, tuning
from ksc.errors import BuildError
from ksc.paths import prelude_dir
from ksc.timings import is_recording, timed

if TYPE_CHECKING:
    from ksc.codegen.unit import GeneratedSource
    from ksc.compiler.cuda_options import CudaOptions
    from ksc.compiler.nvcc import Nvcc
    from ksc.compiler.nvrtc import Nvrtc

logger = logging.getLogger("ksc.compiler")


@dataclass(frozen=True, slots=True)
class BuiltKernel:
    """A compiled source.

    Attributes:
        entry: where its files lie, and the symbols of its entries.
        seconds: how long the build took, 0 where it was found in the cache.
    """

    entry: Entry
    seconds: float = 0.0

    @property
    def name(self) -> str:
        """The user's name of the kernel."""
        return self.entry.name

    @property
    def source_path(self) -> Path:
        """The generated source."""
        return self.entry.source_path

    @property
    def library_path(self) -> Path:
        """The shared library."""
        return self.entry.library_path

    @property
    def from_cache(self) -> bool:
        """Whether nothing had to be compiled."""
        return self.seconds == 0.0


def build(source: GeneratedSource, options: BuildOptions | None = None) -> BuiltKernel:
    """Compile a generated source, unless that has been done before.

    Raises BuildError where there is no compiler or it refuses the source, CacheError where the folder of built kernels
    cannot be written or trusted.
    """
    return find_or_build(source.name, source.text, lambda: source, options)


def find_or_build(
    name: str, identity: str, generate: Callable[[], GeneratedSource], options: BuildOptions | None = None
) -> BuiltKernel:
    """The built kernel of what ``identity`` stands for; ``generate`` is called only where it is not built yet.

    ``identity`` is to tell apart all that ``generate`` could give. Raises as ``build`` does.
    """
    options = options or BuildOptions.from_environment()
    try:
        compiler = find_compiler()
    except BuildError:
        # What another compiler made of the same source serves as well.
        made = _made_by_any(name, source_key(identity, options))
        if made is None:
            raise
        return BuiltKernel(made)
    key = build_key(identity, options, compiler)
    found = _find(name, key)
    if found is not None:
        return BuiltKernel(found)

    def compile_source(source: GeneratedSource, file: Path, library: Path) -> list[str]:
        from ksc.compiler.driver import CompilationError, compile_library
        from ksc.compiler.prepared import Preparation

        store, include = writable_store(), prelude_dir()
        tuned = replace(options, extra=(*tuning(options, compiler, [source.text]), *options.extra))
        placed = tuned.moved(file.parent, store.place(name, key))
        compiled = functools.partial(compile_library, file, library, compiler=compiler, options=placed, include=include)
        with timed("C++ compiler"):
            prepared = Preparation(store, compiler, tuned, include, build_key("", tuned, compiler)).of(source)
            try:
                flags = compiled(prepared=prepared)
            except CompilationError:
                if not prepared.folders:
                    raise
                flags = compiled()
                prepared.discard()
        return [*compiler.command, *flags, *options.link_flags()]

    return _build(name, generate, compile_source, compiler, key, source_key(identity, options))


def build_cuda(source: GeneratedSource, options: CudaOptions | None = None) -> BuiltKernel:
    """Compile a source for GPUs, unless that has been done before; no GPU is needed.

    Raises BuildError where neither nvcc nor NVRTC is there, or it refuses the source, CacheError as ``build`` does.
    """
    return find_or_build_cuda(source.name, source.text, lambda: source, options)


def find_or_build_cuda(
    name: str, identity: str, generate: Callable[[], GeneratedSource], options: CudaOptions | None = None
) -> BuiltKernel:
    """The same of what ``identity`` stands for, as ``find_or_build`` does it for the CPU."""
    from ksc.compiler.cuda import find_cuda_compiler
    from ksc.compiler.cuda_options import CudaOptions

    chosen = options or CudaOptions.from_environment()
    made_of = _hash(identity, prelude_digest(prelude_dir()), *chosen.compile_flags())
    try:
        compiler = find_cuda_compiler()
    except BuildError:
        # What another compiler made of the same source serves as well.
        made = _made_by_any(name, made_of)
        if made is None:
            raise
        return BuiltKernel(made)
    key = _hash(made_of, compiler.identity)
    found = _find(name, key)
    if found is not None:
        return BuiltKernel(found)

    def compile_source(_: GeneratedSource, file: Path, library: Path) -> list[str]:
        with timed("CUDA compiler"):
            return compiler.compile(file, library, chosen, prelude_dir())

    return _build(name, generate, compile_source, compiler, key, made_of, suffix=".cu")


def build_many(sources: Iterable[GeneratedSource], options: BuildOptions | None = None) -> list[BuiltKernel]:
    """Compile several sources at once, at most as many as there are processors. Raises as ``build`` does."""
    from concurrent.futures import ThreadPoolExecutor

    pending = list(sources)
    if not pending:
        return []
    with ThreadPoolExecutor(max_workers=min(len(pending), processors())) as pool:
        return list(pool.map(lambda source: build(source, options), pending))


def build_key(identity: str, options: BuildOptions, compiler: Compiler) -> str:
    """The hash of all that the library depends on."""
    return _hash(source_key(identity, options), compiler.identity)


def source_key(identity: str, options: BuildOptions) -> str:
    """The hash of all that the library depends on but the compiler."""
    machine = machine_identity() if options.march == "native" else ""
    prelude = prelude_digest(prelude_dir())
    flags = [*possible_tuning(options), *options.compile_flags(), "--", *options.link_flags()]
    return _hash(identity, prelude, *flags, machine)


def _hash(*parts: str) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()


def _made_by_any(name: str, source: str) -> Entry | None:
    found = (store.find_source(name, source) for store in stores())
    return next((entry for entry in found if entry is not None), None)


def _find(name: str, key: str) -> Entry | None:
    """What is built already; nothing while times are recorded."""
    for store in stores() if not is_recording() else ():
        found = store.find(name, key)
        if found is not None:
            logger.debug("found %s", found.folder)
            return found
    return None


def _build(
    name: str,
    generate: Callable[[], GeneratedSource],
    compile_source: Callable[[GeneratedSource, Path, Path], list[str]],
    compiler: Compiler | Nvcc | Nvrtc,
    key: str,
    made_of: str,
    *,
    suffix: str = ".cpp",
) -> BuiltKernel:
    """Compile and publish; ``compile_source`` makes a library of the source in a file, and gives the command for it.

    ``made_of`` is the hash of all that the library depends on but the compiler.
    """
    from ksc.compiler.diagnose import compile_failure
    from ksc.compiler.driver import CompilationError

    store = writable_store()
    store.prepare()
    with store.building(key) as private:
        found = store.find(name, key) if not is_recording() else None
        if found is not None:
            logger.debug("built by another process: %s", found.folder)
            return BuiltKernel(found)
        source = generate()
        logger.info("compiling %s (%s)", source.name, source.dtype)
        began = time.perf_counter()
        stem = file_stem(name)
        file, library = private / f"{stem}{suffix}", private / f"{stem}.so"
        file.write_text(source.text, "utf-8")
        try:
            command = compile_source(source, file, library)
        except CompilationError as failed:
            raise compile_failure(source, file.name, failed.output) from None
        entry = Entry(name, key, store.place(name, key), source.entries, source.dtype, compiler.identity, suffix)
        details = {"source_key": made_of, "command": command}
        store.publish(entry, private, {"source": file, "library": library}, details)
        seconds = time.perf_counter() - began
    logger.info("compiled %s in %.2f s: %s", source.name, seconds, entry.folder)
    return BuiltKernel(entry, seconds)


def processors() -> int:
    """How many processors this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1

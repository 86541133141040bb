"""Kernels written by hand in C++, called through the same operator as generated ones.

The file defines the entries that a generated source has, ``ks_NAME`` and ``ks_NAME_vjp`` of prelude/ks/runtime.h, for
float32; it may include ``hand.h``, vectors of 16 floats with a few functions.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import torch

from ksc.bench.convention import Benchmark
from ksc.codegen.unit import GeneratedSource
from ksc.compiler import BuildOptions, build, load
from ksc.compiler.toolchain import find_compiler
from ksc.compiler.tuning import tuning
from ksc.errors import ArgumentError
from ksc.torch import LoadedEntry, Operator, declare, declared

_HEADERS = Path(__file__).resolve().parent


def operator(benchmark: Benchmark, args: tuple[torch.Tensor, ...]) -> Operator:
    """The file of a benchmark as an operator of the kernel's signature. Raises BuildError where it does not compile."""
    if benchmark.hand is None:
        raise ArgumentError(f"{benchmark.name} has no file {benchmark.name}.hand.cpp")
    kernel = benchmark.kernel
    kernel(*args)
    special = kernel._latest
    assert special is not None
    text = benchmark.hand.read_text("utf-8")
    headers = b"".join(path.read_bytes() for path in sorted(_HEADERS.glob("*.h")))
    version = hashlib.sha256(text.encode() + headers).hexdigest()[:12]
    name = f"{benchmark.name}_hand_{version}_{special.spec.lift}"
    known = declared(name)
    if known is not None:
        return known
    entries = {derivation: f"ks_{benchmark.name}{'_vjp' * bool(derivation)}" for derivation in ("", "v")}
    # Nothing but the C++ is to differ, so both are tuned for the same processor.
    tuned = tuning(BuildOptions(), find_compiler(), [special.source("", torch.float32).text])
    options = replace(BuildOptions(), extra=(*tuned, "-I", str(_HEADERS), f"-DKS_HAND_VERSION=0x{version}"))
    library = load(build(GeneratedSource(f"{benchmark.name}_hand", text, entries), options))

    def entry(derivation: str, dtype: torch.dtype) -> LoadedEntry:
        plain = derivation.rstrip("01")
        if plain not in entries or dtype != torch.float32:
            raise ArgumentError(f"{benchmark.hand} has no {derivation or 'value'} of {dtype}")
        return LoadedEntry(library.addresses[entries[plain]], library)

    return declare(replace(special.spec, name=name, partial_seeds=False), entry)

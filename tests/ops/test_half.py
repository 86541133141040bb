"""Stored half-precision numbers convert bit for bit as PyTorch's do."""

import ctypes
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.ops.compiled import FLAGS

KINDS = {"half": torch.float16, "binary16": torch.float16, "bfloat16": torch.bfloat16}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    folder: Path = tmp_path_factory.mktemp("half")
    source, built = folder / "half.cpp", folder / "half.so"
    functions = "".join(
        f"""
        extern "C" void narrow_{kind}(const float *__restrict in, ks::{kind} *__restrict out, int64_t n) {{
            for (int64_t i = 0; i < n; ++i) {{ out[i] = static_cast<ks::{kind}>(in[i]); }}
        }}
        extern "C" void widen_{kind}(const ks::{kind} *__restrict in, float *__restrict out, int64_t n) {{
            for (int64_t i = 0; i < n; ++i) {{ out[i] = static_cast<float>(in[i]); }}
        }}"""
        for kind in KINDS
    )
    source.write_text('#include "ks/half.h"\n' + functions)
    subprocess.run(["g++", *FLAGS, str(source), "-o", str(built)], check=True)
    return ctypes.CDLL(str(built))


def pointer(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


@pytest.mark.parametrize("kind", KINDS)
def test_widening_every_number(library: ctypes.CDLL, kind: str) -> None:
    bits = np.arange(2**16, dtype=np.uint16)
    out = np.empty(2**16, np.float32)
    getattr(library, f"widen_{kind}")(pointer(bits), pointer(out), ctypes.c_int64(bits.size))
    expected = torch.from_numpy(bits.view(np.int16)).view(KINDS[kind]).float().numpy()
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(np.signbit(out), np.signbit(expected))


@pytest.mark.parametrize("kind", KINDS)
def test_narrowing(library: ctypes.CDLL, kind: str) -> None:
    every = torch.arange(2**16, dtype=torch.int32).to(torch.int16).view(KINDS[kind]).float().numpy()
    draw = np.random.default_rng(3)
    anything = draw.integers(0, 2**32, 200_000, dtype=np.uint32).view(np.float32)
    every = every[np.isfinite(every)]
    with np.errstate(all="ignore"):
        halfway = (np.sort(every)[1:] + np.sort(every)[:-1]) / np.float32(2.0)
        near = [np.nextafter(halfway, np.float32(side) * np.float32(np.inf)) for side in (-1, 1)]
    values = np.concatenate([anything, every, halfway, *near, np.float32([np.inf, -np.inf, np.nan])]).astype(np.float32)
    out = np.empty(values.size, np.uint16)
    getattr(library, f"narrow_{kind}")(pointer(values), pointer(out), ctypes.c_int64(values.size))
    narrowed = torch.from_numpy(values).to(KINDS[kind])
    expected = narrowed.view(torch.int16).numpy().view(np.uint16)
    numbers = ~np.isnan(values)
    np.testing.assert_array_equal(out[numbers], expected[numbers])
    assert torch.from_numpy(out[~numbers].view(np.int16)).view(KINDS[kind]).isnan().all()

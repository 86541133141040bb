"""All records as C++ loops in one library, one per overload and width."""

import ctypes
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ksc.ir.types import Bool, Float, Integer, Type
from ksc.ops import PRIMITIVES, CppExpr, Overload, Primitive
from ksc.ops.record import Value, Width

PRELUDE = Path(__file__).resolve().parents[2] / "prelude"
FLAGS = [
    *("-std=c++17", "-O3", "-march=native", "-mprefer-vector-width=512", "-fno-math-errno", "-fno-trapping-math"),
    *(
        "-fwrapv",
        "-Wall",
        "-Wextra",
        "-Wpedantic",
        "-Wshadow",
        "-Wconversion",
        "-Werror",
        "-shared",
        "-fPIC",
        f"-I{PRELUDE}",
    ),
]
CPP_FLOAT = {"f32": "float", "f64": "double"}


def cpp_type(type_: Type, width: Width) -> str:
    return {Float: CPP_FLOAT[width], Integer: "int64_t", Bool: "bool"}[type_]


def numpy_type(type_: Type, width: Width) -> type[np.generic]:
    return {Float: {"f32": np.float32, "f64": np.float64}[width], Integer: np.int64, Bool: np.bool_}[type_]


@dataclass(frozen=True)
class Loop:
    """One record at one overload and width, as a loop over arrays."""

    record: Primitive
    overload: Overload
    width: Width

    @property
    def symbol(self) -> str:
        return f"loop_{self.record.name}_{self.record.overloads.index(self.overload)}_{self.width}"

    def source(self) -> str:
        float_type = CPP_FLOAT[self.width]
        operands = [CppExpr(f"a{k}[i]") for k in range(self.record.arity)]
        value = self.overload.cpp.render(operands, float_type).text
        params = [f"const {cpp_type(t, self.width)} *__restrict a{k}" for k, t in enumerate(self.overload.args)]
        params += [f"{cpp_type(self.overload.result, self.width)} *__restrict out", "int64_t n"]
        body = f"for (int64_t i = 0; i < n; ++i) {{ out[i] = {value}; }}"
        return f'extern "C" void {self.symbol}({", ".join(params)}) {{ {body} }}\n'


def all_loops() -> list[Loop]:
    widths: tuple[Width, ...] = ("f32", "f64")
    loops = []
    for record in PRIMITIVES.values():
        for overload in record.overloads:
            has_float = Float in (*overload.args, overload.result)
            loops += [Loop(record, overload, width) for width in widths if has_float or width == "f64"]
    return loops


class Library:
    """The compiled loops."""

    def __init__(self, folder: Path) -> None:
        source, library = folder / "primitives.cpp", folder / "primitives.so"
        source.write_text('#include "ks/scalar.h"\n' + "".join(loop.source() for loop in all_loops()))
        subprocess.run(["g++", *FLAGS, str(source), "-o", str(library), "-lmvec", "-lm"], check=True)
        self._library = ctypes.CDLL(str(library))

    def run(self, loop: Loop, args: Sequence[np.ndarray], chunk: int | None = None) -> np.ndarray:
        """Call the loop on whole arrays, or ``chunk`` elements at a time."""
        n = len(args[0])
        out = np.empty(n, numpy_type(loop.overload.result, loop.width))
        arrays = [*args, out]
        function = getattr(self._library, loop.symbol)
        for start in range(0, n, chunk or n):
            count = min(chunk or n, n - start)
            function(*(ctypes.c_void_p(a[start:].ctypes.data) for a in arrays), ctypes.c_int64(count))
        return out


def columns(loop: Loop, samples: Sequence[Sequence[Value]]) -> list[np.ndarray]:
    """The samples as one array per argument, in the loop's types."""
    with np.errstate(over="ignore"):
        return [
            np.array([sample[k] for sample in samples], dtype=numpy_type(type_, loop.width))
            for k, type_ in enumerate(loop.overload.args)
        ]


def ulps(value: np.generic, truth: float, width: Width, scale: float = 0.0) -> float:
    """The distance in units in the last place of the truth, or of ``scale`` where that is larger."""
    kind = np.float32 if width == "f32" else np.float64
    with np.errstate(over="ignore"):
        rounded = kind(truth)
    if value == rounded or (np.isnan(value) and np.isnan(rounded)):
        return 0.0
    if not (np.isfinite(value) and np.isfinite(rounded)):
        return float("inf")
    return abs(float(value) - truth) / float(np.spacing(max(np.abs(rounded), kind(scale))))

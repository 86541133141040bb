"""What elementwise kernels with masks are tuned for."""

import platform
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from ksc.compiler import BuildOptions, toolchain, tuning
from ksc.paths import prelude_dir

GCC = toolchain.Compiler(("g++",), "g++ (Debian 12.2.0-14) 12.2.0")
SIDES = """\
#include "ks/prelude.h"

static inline float f_vjp(float x, float bar) {
    if (x < 0.0f) {
        return 0.0f;
    }
    if (x < 1.0f) {
        return x * x * bar;
    }
    return bar;
}

extern "C" int ks_f_vjp(const ks_runtime *, char *const *data, const int64_t *strides, int64_t n) {
    const auto lane = [](float x, float bar, float &x_bar) {
        x_bar = f_vjp(x, bar);
    };
    return ks::map(ks::results<float>(), ks::arguments<float, float>(), data, strides, n, lane);
}
"""
PLAIN = re.sub(r"    if [^}]*}\n", "", SIDES)
LOOP = '#include "ks/prelude.h"\n\nfor (int64_t i = 0; i < n; ++i) { if (x[i] < 0.0f) { y[i] = x[i]; } }\n'


def of(march: str, *texts: str, compiler: toolchain.Compiler = GCC, extra: tuple[str, ...] = ()) -> bool:
    return bool(tuning.tuning(BuildOptions(march=march, extra=extra), compiler, texts))


def test_elementwise_kernels_with_branches_are_tuned_where_there_are_masks() -> None:
    assert of("x86-64-v4", SIDES) and of("x86-64-v4", SIDES, PLAIN, "int required;")
    assert "if" not in PLAIN and not of("x86-64-v4", PLAIN)
    assert not of("x86-64-v4", SIDES, LOOP) and not of("x86-64-v4", "int required;")
    assert not of("x86-64-v3", SIDES)
    assert not of("x86-64-v4", SIDES, compiler=replace(GCC, identity="clang version 18.1.0"))
    assert not of("native", SIDES, extra=("-mtune=native",))


@pytest.mark.parametrize(
    ("vendor", "flags", "wanted"),
    [
        ("AuthenticAMD", "avx2 avx512f avx512dq", True),
        ("AuthenticAMD", "avx2 fma", False),
        ("GenuineIntel", "avx2 avx512f avx512dq", False),
    ],
)
def test_this_machine_decides(monkeypatch: pytest.MonkeyPatch, vendor: str, flags: str, wanted: bool) -> None:
    monkeypatch.setattr(
        tuning, "machine_identity", lambda: f"linux\nvendor_id\t: {vendor}\nflags\t\t: fpu {flags} clwb"
    )
    assert of("native", SIDES) is wanted


@pytest.mark.skipif(platform.machine() != "x86_64", reason="counts loads of x86")
def test_operands_are_read_once(tmp_path: Path) -> None:
    compiler = toolchain.find_compiler()
    if "clang" in compiler.identity:
        pytest.skip("GCC reads them under masks")
    options = BuildOptions(march="x86-64-v4")
    (tmp_path / "f.cpp").write_text(SIDES)

    command = [*compiler.command, *options.compile_flags(), *tuning.tuning(options, compiler, [SIDES])]
    subprocess.run([*command, "-I", str(prelude_dir()), "-S", "f.cpp"], cwd=tmp_path, check=True)
    assert re.findall(r"vmulps\s.*\{%k", (tmp_path / "f.s").read_text()) != []
    assert re.findall(r"\(%r.*\),.* %zmm.*\{%k", (tmp_path / "f.s").read_text()) == []

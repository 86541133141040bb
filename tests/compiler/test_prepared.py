"""What kernels of the same flags share: it saves compiling, changes nothing, and is done without where it is damaged."""

import ctypes
import logging
from pathlib import Path

import pytest
import torch

import ksc as knossos
from ksc.codegen import GeneratedSource
from ksc.compiler import BuildOptions, build, clear, load, prepared
from ksc.compiler.store import PREPARED
from ksc.errors import CacheError
from ksc.torch.build_core import build as build_core

TEXT = """\
// A comment above.
{pragma}#include "ks/prelude.h"

extern "C" int ks_{name}(const ks_runtime *, char *const *data, const int64_t *strides, int64_t n) {{
    return ks::map(ks::results<float>(), ks::arguments<float>(), data, strides, n,
                   [](float x, float &result) {{ result = x * x + {k}.0f; }});
}}
"""


def source(name: str, k: int = 1, pragma: str = "") -> GeneratedSource:
    return GeneratedSource(name, TEXT.format(name=name, k=k, pragma=pragma), {"": f"ks_{name}"}, {}, "float32")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What is shared in an empty build folder, in which the prelude is read in advance from the second kernel on."""
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "core").symlink_to(build_core().parent)
    monkeypatch.setenv("KSC_BUILD_DIR", str(tmp_path / "build"))
    monkeypatch.setattr(prepared, "FEW", 0)
    monkeypatch.setattr(prepared, "_unusable", set())
    return tmp_path / "build" / "torch_extensions" / PREPARED


def shared(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.suffix in (".gch", ".o"))


def squared(name: str) -> list[float]:
    out, x = torch.empty(3), torch.arange(3.0)
    data = (ctypes.c_void_p * 2)(out.data_ptr(), x.data_ptr())
    entry = load(build(source(name))).library[f"ks_{name}"]
    assert entry(None, data, (ctypes.c_int64 * 2)(4, 4), ctypes.c_int64(3)) == 0
    return out.tolist()


def test_the_prelude_is_read_once_and_libraries_are_the_same(folder: Path) -> None:
    first = build(source("first"))
    assert shared(folder) == []
    build(source("second"))
    assert shared(folder) == ["prelude.h.gch"]
    made = next(folder.rglob("*.gch")).stat().st_mtime_ns
    alone = first.library_path.read_bytes()
    first.library_path.unlink()
    again = build(source("first"))
    assert not again.from_cache
    assert again.library_path.read_bytes() == alone
    assert next(folder.rglob("*.gch")).stat().st_mtime_ns == made
    # Other flags have their own.
    build(source("first"), BuildOptions(contract=False))
    assert shared(folder) == ["prelude.h.gch"] * 2
    assert list(folder.parent.glob(".building/*")) == []


def test_what_is_damaged_is_made_again(folder: Path) -> None:
    build(source("first"))
    build(source("second"))
    (header,) = folder.rglob("*.gch")
    header.write_bytes(b"rubbish")
    assert squared("third") == [1.0, 2.0, 5.0]
    assert header.stat().st_size > 1_000_000


def test_what_the_compiler_does_not_take_is_removed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    build(source("first"))
    monkeypatch.setattr(prepared.Preparation, "_product", lambda self, number: bad(folder))
    text = source("second").text.replace("extern", "// ks::multiply(\nextern", 1)
    with caplog.at_level(logging.WARNING, "ksc"):
        load(build(GeneratedSource("second", text, {"": "ks_second"}, {}, "float32")))
    assert "which the compiler does not take" in caplog.text
    assert shared(folder) == []
    # This process does not try again.
    build(source("third"))
    assert shared(folder) == []


def bad(folder: Path) -> Path:
    (folder / "bad").mkdir(parents=True)
    (folder / "bad" / "bad.o").write_text("no object")
    return folder / "bad" / "bad.o"


def test_products_are_compiled_once(folder: Path) -> None:
    @knossos.register
    def product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return a @ b

    @knossos.register
    def gram(a: torch.Tensor) -> torch.Tensor:
        return a.T @ a

    a, b = torch.randn(37, 21, requires_grad=True), torch.randn(21, 45)
    torch.testing.assert_close(product(a, b), a @ b)
    (compiled,) = folder.rglob("*.o")
    made = compiled.stat().st_mtime_ns
    assert compiled.name == "multiply_float.o"
    torch.testing.assert_close(gram(a.detach()), a.detach().T @ a.detach())
    torch.testing.assert_close(torch.autograd.grad(product(a, b).sum(), a), torch.autograd.grad((a @ b).sum(), a))
    assert compiled.stat().st_mtime_ns == made
    torch.testing.assert_close(product(a.double(), b.double()), a.double() @ b.double())
    assert sorted(path.name for path in folder.rglob("*.o")) == ["multiply_double.o", "multiply_float.o"]
    clear("gram")
    assert len(shared(folder)) == 3
    clear()
    assert not folder.exists()


def test_what_others_can_write_is_refused(folder: Path) -> None:
    build(source("first"))
    build(source("second"))
    (header,) = folder.rglob("*.gch")
    header.chmod(0o666)
    with pytest.raises(CacheError, match="can be written by everybody"):
        build(source("third"))


def test_nothing_is_read_in_advance_where_something_stands_before_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(source("first"))
    build(source("second", pragma='#pragma GCC optimize("no-tree-slp-vectorize")\n'))
    build(source("second", k=2), BuildOptions(debug=True))
    monkeypatch.setenv("CXX", "env c++")
    build(source("third"))
    assert shared(folder) == []


def test_few_versions_are_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepared, "KEPT", 1)
    build(source("first"))
    build(source("second"))
    (old,) = folder.iterdir()
    build(source("third"), BuildOptions(contract=False))
    (new,) = folder.iterdir()
    assert old != new

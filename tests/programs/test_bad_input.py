"""Bad input to a kernel, a function that is not what it was, and builds in trouble: a clear error, and nothing is lost."""

from __future__ import annotations

import importlib
import math
import os
import py_compile
import signal
import subprocess
import sys
import textwrap
import time
import zipfile
from pathlib import Path
from types import ModuleType

import pytest
import torch

import ksc as knossos
from ksc.errors import ArgumentError, KernelRuntimeError, KnossosError, UnsupportedError
from tests.processes import run_python as run_process

ROOT = Path(__file__).resolve().parents[2]


def product(x: float, y: float) -> float:
    return x * y


def depth(x: float, n: int) -> float:
    if n == 0:
        return x
    return 0.5 * depth(x, n - 1) + 1.0


def endless(x: float, n: int) -> float:
    return endless(x, n + 1)


def unannotated(x, n):
    return x if n == 0 else unannotated(x, n - 1)


def unending(x):
    return unending(x)


kernel = knossos.elementwise(product)
X = torch.linspace(0.1, 1.0, 5)


# What a call is given.


@pytest.mark.parametrize("args", [(), (X,), (X, X, X)])
def test_wrong_argument_count(args: tuple[torch.Tensor, ...]) -> None:
    with pytest.raises(ArgumentError, match=r"product\(.*(argument|positional)"):
        kernel(*args)


def test_unknown_keyword() -> None:
    with pytest.raises(ArgumentError, match="argument"):
        kernel(X, z=X)
    with pytest.raises(ArgumentError, match="'z'"):
        kernel(X, X, z=X)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (torch.arange(5), "'x' is annotated float, .*int64"),
        (torch.ones(5, dtype=torch.bool), "'x' is annotated float, .*bool"),
        (torch.ones(5, dtype=torch.complex64), "complex64"),
        ([1.0, 2.0], "'x' is a list"),
        (1j, "'x' is a complex"),
    ],
)
def test_values_of_another_kind(bad: object, words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        kernel(bad, X)


@pytest.mark.parametrize(("bad", "words"), [("text", "annotated float, and 'text'"), (None, "None")])
def test_constants_that_the_function_cannot_use(bad: object, words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        kernel(bad, X)


def test_a_tensor_where_a_number_belongs() -> None:
    scalar = knossos.register(product)
    assert scalar(torch.tensor(2.0), 3.0).item() == 6.0
    with pytest.raises(KnossosError, match="x"):
        scalar(X, 3.0)


def test_shapes_that_do_not_broadcast() -> None:
    with pytest.raises((KnossosError, RuntimeError), match=r"5.*3|3.*5"):
        kernel(X, torch.ones(3))
    with pytest.raises(KnossosError, match="shape"):
        knossos.vmap(product)(X, torch.ones(3))


def test_derivative_with_seeds_missing() -> None:
    with pytest.raises(ArgumentError, match="1 cotangent"):
        kernel.vjp(X, X)
    with pytest.raises(ArgumentError, match="2 tangent"):
        kernel.jvp(X, X, X)


def test_a_call_works_after_each_error() -> None:
    for bad in ((X,), (torch.arange(5), X), (X, "text")):
        with pytest.raises(KnossosError):
            kernel(*bad)
        assert torch.equal(kernel(X, X), X * X)


# What a kernel is made of.


def test_zipped_packages_need_their_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "compiled_alone.py"
    source.write_text("import ksc\n\n@ksc.register\ndef f(x: float) -> float:\n    return 3 * x\n")
    compiled = py_compile.compile(str(source), str(tmp_path / "compiled_alone.pyc"), doraise=True)
    with zipfile.ZipFile(tmp_path / "package.zip", "w") as package:
        package.write(source, "with_source.py")
        package.write(compiled, "compiled_alone.pyc")
    source.unlink()
    monkeypatch.syspath_prepend(tmp_path / "package.zip")
    assert "3" in importlib.import_module("with_source").f.ir
    with pytest.raises(UnsupportedError, match=r"compiled_alone\.py is not there\n.*\.py file go along"):
        importlib.import_module("compiled_alone").f(1.0)


def test_function_without_source() -> None:
    namespace: dict[str, object] = {}
    exec("def made(x: float) -> float:\n    return x", namespace)
    with pytest.raises(UnsupportedError, match="KS109"):
        knossos.register(namespace["made"])(1.0)
    with pytest.raises(KnossosError, match="sin"):
        knossos.register(math.sin)(1.0)
    with pytest.raises(ArgumentError, match="int"):
        knossos.register(3)


def test_recursion_needs_no_annotation_but_an_end() -> None:
    assert knossos.register(unannotated)(1.5, 2) == 1.5
    with pytest.raises(UnsupportedError, match="KS113"):
        knossos.register(unending)(1.0)


def test_recursion_too_deep_is_an_error_and_no_crash() -> None:
    deep = knossos.register(depth)
    assert deep(1.0, 1000) == pytest.approx(2.0)
    assert deep.vjp(1.0, 20, 1.0)[0] == 0.5**20
    with pytest.raises(KernelRuntimeError, match="deep"):
        knossos.register(endless)(1.0, 0)
    for call in (lambda: deep(1.0, 10**9), lambda: deep.vjp(1.0, 10**9, 1.0)):
        with pytest.raises(KernelRuntimeError, match=r"deep|memory"):
            call()
    assert deep(1.0, 3) == depth(1.0, 3)


def test_recursion_ten_thousand_deep_is_right_or_refused() -> None:
    deep = knossos.register(depth)
    try:
        assert deep.vjp(4.0, 10_000, 1.0)[0] == 0.5**10_000
    except KernelRuntimeError as error:
        assert "deep" in str(error)


def test_recursion_too_deep_on_a_thread() -> None:
    code = """
        import threading, ksc, test_module
        from ksc.errors import KernelRuntimeError
        kernel = ksc.register(test_module.endless)
        def run():
            for _ in range(2):
                try:
                    kernel(1.0, 0)
                except KernelRuntimeError as error:
                    assert "deep" in str(error)
                    print("refused")
        threads = [threading.Thread(target=run) for _ in range(3)]
        [t.start() for t in threads]
        [t.join() for t in threads]
    """
    assert run_python(code).count("refused") == 6


# What changes between calls.


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module in a file that a test may edit; ``f(x)`` gives ``FACTOR * g(x)`` and ``g(x)`` gives ``x + 1``."""
    name = f"edited_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module(name)
    del sys.modules[name]


SOURCE = """\
FACTOR = 2.0

def g(x: float) -> float:
    return x + 1.0

def f(x: float) -> float:
    return FACTOR * g(x)

def make(scale):
    def scaled(x: float) -> float:
        return scale * x
    def set_scale(value):
        nonlocal scale
        scale = value
    return scaled, set_scale
"""


def test_a_changed_global_is_seen(module: ModuleType) -> None:
    k = knossos.vmap(module.f)
    assert k(X).tolist() == pytest.approx((2.0 * (X + 1)).tolist())
    module.FACTOR = 5.0
    assert k(X).tolist() == pytest.approx((5.0 * (X + 1)).tolist())
    assert k.vjp(X, torch.ones(5)).tolist() == [5.0] * 5
    module.FACTOR = 2.0
    assert k.vjp(X, torch.ones(5)).tolist() == [2.0] * 5
    x = X.clone().requires_grad_()
    module.FACTOR = 3.0
    k(x).sum().backward()
    assert x.grad.tolist() == [3.0] * 5


def test_a_replaced_callee_is_seen(module: ModuleType) -> None:
    k = knossos.vmap(module.f)
    k(X)
    exec("def g(x: float) -> float:\n    return x", module.__dict__)
    with pytest.raises(UnsupportedError, match="KS109"):
        k(X)
    module.g = depth_one
    assert k(X).tolist() == pytest.approx((2.0 * (X * X)).tolist())


def depth_one(x: float) -> float:
    return x * x


def test_a_changed_closure_value_is_seen(module: ModuleType) -> None:
    scaled, set_scale = module.make(2.0)
    k = knossos.vmap(scaled)
    assert k(X).tolist() == (2.0 * X).tolist()
    set_scale(4.0)
    assert k(X).tolist() == (4.0 * X).tolist()
    assert k.vjp(X, torch.ones(5)).tolist() == [4.0] * 5
    other = knossos.vmap(module.make(7.0)[0])
    assert other(X).tolist() == (7.0 * X).tolist()
    assert k(X).tolist() == (4.0 * X).tolist()


def test_an_edited_function_is_built_anew(module: ModuleType) -> None:
    before = knossos.vmap(module.f)
    assert before(X).tolist() == pytest.approx((2.0 * (X + 1)).tolist())
    file = Path(module.__file__)
    file.write_text(SOURCE.replace("x + 1.0", "x * x"))
    os.utime(file, (time.time() + 10, time.time() + 10))
    importlib.reload(module)
    after = knossos.vmap(module.f)
    assert after(X).tolist() == pytest.approx((2.0 * X * X).tolist())
    assert after.vjp(X, torch.ones(5)).tolist() == pytest.approx((4.0 * X).tolist())


def test_a_file_edited_under_a_loaded_function_is_noticed(module: ModuleType) -> None:
    file = Path(module.__file__)
    file.write_text("# a line more\n" + SOURCE)
    os.utime(file, (time.time() + 10, time.time() + 10))
    with pytest.raises(UnsupportedError, match="KS109"):
        knossos.vmap(module.f)(X)


# Builds in trouble, each in a process of its own with an empty cache.

MODULE = """
def slow(x: float) -> float:
    return x * x * 3.0

def endless(x: float, n: int) -> float:
    return endless(x, n + 1)
"""

GRADIENT = """
    import torch, ksc, test_module
    x = torch.ones(4, requires_grad=True)
    ksc.vmap(test_module.slow)(x).sum().backward()
    print(x.grad.tolist())
"""


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """An empty build folder that has the core."""
    folder = tmp_path / "cache"
    folder.mkdir(mode=0o700)
    (folder / "core").symlink_to(Path(os.environ["KSC_BUILD_DIR"]) / "core")
    return folder


def environment(folder: Path | None, environ: dict[str, str]) -> dict[str, str]:
    """That of a Python process that can import ``test_module``."""
    home = Path(folder or os.environ["KSC_BUILD_DIR"])
    (home / "test_module.py").write_text(MODULE)
    return {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{home}", "KSC_BUILD_DIR": str(home), **environ}


def start(code: str, folder: Path | None = None, **environ: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=environment(folder, environ),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def run_python(code: str, folder: Path | None = None, **environ: str) -> str:
    done = run_process("-c", textwrap.dedent(code), environ=environment(folder, environ))
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_two_processes_build_at_once(cache: Path) -> None:
    for process in [start(GRADIENT, cache) for _ in range(2)]:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        assert out == "[6.0, 6.0, 6.0, 6.0]\n"


def compiler(folder: Path, script: str) -> str:
    """A stand-in for the compiler."""
    path = folder / "compiler.sh"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o700)
    return str(path)


def test_a_build_killed_half_way_is_made_again(cache: Path, tmp_path: Path) -> None:
    mark = tmp_path / "compiling"
    # It answers questions about its version, and is killed while it writes a kernel.
    script = f'case "$*" in *.cpp*) touch {mark}; sleep 60;; *) exec g++ "$@";; esac'
    process = start(GRADIENT, cache, CXX=compiler(tmp_path, script))
    deadline = time.monotonic() + 60
    while not mark.exists():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert run_python(GRADIENT, cache) == "[6.0, 6.0, 6.0, 6.0]\n"


def test_missing_compiler(cache: Path) -> None:
    code = """
        import ksc, test_module
        from ksc.errors import BuildError
        try:
            ksc.register(test_module.slow)(1.0)
        except BuildError as error:
            print(error)
    """
    said = run_python(code, cache, CXX="/nonexistent/g++")
    assert "/nonexistent/g++" in said
    assert "instead" in said
    assert run_python(GRADIENT, cache) == "[6.0, 6.0, 6.0, 6.0]\n"


def test_compiler_that_fails(cache: Path, tmp_path: Path) -> None:
    code = """
        import ksc, test_module
        from ksc.errors import BuildError
        for _ in range(2):
            try:
                ksc.register(test_module.slow)(1.0)
            except BuildError as error:
                print(error)
    """
    said = run_python(
        code, cache, CXX=compiler(tmp_path, 'case "$*" in *.cpp*) echo broken >&2; exit 1;; *) exec g++ "$@";; esac')
    )
    assert said.count("broken") >= 2
    assert run_python(GRADIENT, cache) == "[6.0, 6.0, 6.0, 6.0]\n"


def test_a_file_edited_after_its_import_is_refused(module: ModuleType) -> None:
    path = Path(module.__file__)
    path.write_text(SOURCE.replace("x + 1.0", "x + 2.0"))
    with pytest.raises(UnsupportedError, match="edited after it was imported") as raised:
        knossos.vmap(module.g)(X)
    assert raised.value.code == "KS109"
    assert raised.value.span.line == 3
    path.write_text(SOURCE.replace("x + 1.0", "x + 1.0  # as before"))
    assert knossos.vmap(module.g)(X).tolist() == (X + 1).tolist()
    path.write_text(SOURCE.replace("x + 1.0", "x + 1"))
    with pytest.raises(UnsupportedError, match="edited after it was imported"):
        knossos.vmap(module.f)(X)


def test_recursion_too_deep_names_the_function() -> None:
    with pytest.raises(KernelRuntimeError, match="recursion is too deep in endless"):
        knossos.register(endless)(1.0, 0)
    with pytest.raises(KernelRuntimeError, match="recursion is too deep in the derivative of depth") as raised:
        knossos.register(depth).vjp(1.0, 10**9, 1.0)
    assert raised.value.code == "KS704"


def shifted(x: int, n: int) -> int:
    return x << n


def powered(x: int, n: int) -> int:
    return x**n


def truncated(x: float) -> int:
    return int(x)


def divided(x: int, n: int) -> int:
    return x // n


@pytest.mark.parametrize(
    ("function", "args", "code", "message"),
    [
        (shifted, (1, -1), "KS707", "negative"),
        (truncated, (math.nan,), "KS707", "NaN, infinite or too large"),
        (truncated, (-math.inf,), "KS707", "NaN, infinite or too large"),
        (divided, (1, 0), "KS702", "by zero"),
    ],
)
def test_arithmetic_without_a_result_has_a_code_of_its_own(function, args, code, message) -> None:
    with pytest.raises(KernelRuntimeError, match=message) as raised:
        knossos.register(function)(*args)
    assert raised.value.code == code
    assert raised.value.span is not None


def positive(x: float) -> float:
    assert x > 0, "x is not positive"
    return x


def test_a_failed_assert_shows_the_line() -> None:
    with pytest.raises(KernelRuntimeError) as raised:
        knossos.vmap(positive)(torch.tensor([1.0, -1.0]))
    *_, line, underline = str(raised.value).splitlines()
    assert line.strip() == 'assert x > 0, "x is not positive"'
    assert underline == " " * line.index("assert") + "^" * len(line.strip())


def test_messages_call_the_kernel_by_its_name() -> None:
    with pytest.raises(ArgumentError, match="the argument x of positive has shape"):
        knossos.register(positive)(torch.ones(3))


def with_an_assert_inside(x: float) -> float:
    def checked(y: float) -> float:
        assert y > 0.0
        return y

    return checked(x) * 2.0


def test_a_function_that_a_test_runner_rewrote_is_no_edited_one() -> None:
    assert knossos.register(with_an_assert_inside)(2.0) == 4.0

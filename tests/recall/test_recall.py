"""A kernel takes over what an earlier process found out by tracing, if nothing that was read has changed.

Most tests import a user's modules anew and make new kernels, which is what a new process does; ``lowered`` counts the
functions that were traced for them. One test starts processes, to see what they load.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import torch

import ksc as knossos
import ksc.lowering
from ksc.errors import CacheError, KnossosError
from ksc.torch import build_core
from tests.processes import run_python


class Project:
    """A folder with a user's modules and a cache of its own."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.cache = folder / "cache"
        self.lowered = 0
        core = build_core.find() or build_core.build()
        (self.cache / "core").mkdir(parents=True)
        (self.cache / "core" / core.name).symlink_to(core)
        monkeypatch.setenv("KSC_BUILD_DIR", str(self.cache))
        monkeypatch.syspath_prepend(str(folder))
        monkeypatch.setattr(sys, "dont_write_bytecode", True)
        lower = ksc.lowering.lower

        def counted(*args: Any) -> Any:
            self.lowered += 1
            return lower(*args)

        monkeypatch.setattr("ksc.lowering.lower", counted)

    def write(self, **modules: str) -> None:
        for name, text in modules.items():
            (self.folder / f"{name}.py").write_text(dedent(text))
        # A source that is as young as the trace is not trusted.
        time.sleep(0.05)

    def fresh(self) -> Any:
        """The user's module, imported anew."""
        for name in ("model", "helpers"):
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        return importlib.import_module("model")

    def run(self, x: float = 0.75, make: str = "knossos.register(model.f)") -> tuple[int, str, float]:
        """How many functions a new kernel traces, its value (as text, which has the sign of a zero) and gradient."""
        self.lowered = 0
        given = torch.tensor(x, dtype=torch.float64, requires_grad=True)
        result = eval(make, {"knossos": knossos, "model": self.fresh()})(given)
        (gradient,) = torch.autograd.grad(result, given)
        return self.lowered, str(result.item()), gradient.item()

    @property
    def traces(self) -> list[Path]:
        return sorted((self.cache / "torch_extensions" / ".traces").glob("*.json"))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    return Project(tmp_path, monkeypatch)


SQUARE = "def f(x: float) -> float:\n    return x * x\n"
CUBE = "def f(x: float) -> float:\n    return x * x * x\n"
HELPED = "from helpers import helper\ndef f(x: float) -> float:\n    return helper(x)\n"
OF_HELPERS = "import helpers\ndef f(x: float) -> float:\n    return helpers.K * x\n"
MAKER = "def make(k):\n    def f(x: float) -> float:\n        return k * x\n    return f\nf = make({})\n"
DATACLASS = """
from dataclasses import dataclass
@dataclass(frozen=True)
class P:
    a: float
    k: float = {}
    def scaled(self):
        return self.k * self.a
def f(x: float) -> float:
    return P(x).scaled()
"""
NAMEDTUPLE = """
from typing import NamedTuple
class P(NamedTuple):
    a: float
    def scaled(self):
        return 2.0 * self.a
def f(x: float) -> float:
    return P(x).scaled()
"""
RULE = """
import ksc as knossos
@knossos.custom_vjp
def g(x: float) -> float:
    return x
def forward(x):
    return x, None
def backward(r, y_bar):
    return ({} * y_bar,)
g.defvjp(forward, backward)
def f(x: float) -> float:
    return g(x)
"""
KERNEL = """
import ksc as knossos
@knossos.register
def g(x: float) -> float:
    return {} * x
def f(x: float) -> float:
    return g(x)
"""
ARGUMENT = """
import ksc as knossos
def h(x): return {} * x
def g(x: float, h) -> float:
    return h(x)
k = knossos.register(g)
def f(x): return k(x, h)
"""
ANNOTATED = """
from __future__ import annotations
from helpers import Number
def g(x) -> Number:
    return x // 2.0 if x > 0 else 1
def f(x: float) -> float:
    return g(x) * x
"""


def test_a_new_process_does_not_trace(tmp_path: Path, project: Project) -> None:
    project.write(
        model=SQUARE,
        script="""
        import json, sys, torch, ksc as knossos
        from model import f
        x = torch.tensor([0.5, 0.75], requires_grad=True)
        square = knossos.vmap(f)
        square(x).sum().backward()
        print(json.dumps([x.grad.tolist(), square.vjp(x, x).tolist(), sorted(sys.modules)]))
        """,
    )

    def run() -> Any:
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path), *sys.path))}
        done = run_python(tmp_path / "script.py", environ=environ)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    first, second = run(), run()
    assert first[:2] == second[:2] == [[1.0, 1.5], [0.5, 1.125]]
    assert "ksc.frontend.trace" in first[2]
    ours = [name for name in second[2] if name.startswith("ksc.") or name in ("jinja2", "torch.utils.cpp_extension")]
    parts = ("frontend", "ir", "passes", "transforms", "codegen", "ops", "sparse", "cli")
    assert [name for name in ours if name.startswith(tuple(f"ksc.{part}." for part in parts))] == [
        *(f"ksc.frontend.{name}" for name in ("annotations", "guards", "plain", "special", "values")),
        "ksc.ir.nodes",
        "ksc.ir.types",
    ]
    assert not {"jinja2", "torch.utils.cpp_extension", "ksc.lowering", "ksc.steps", "ksc.whole"}.intersection(ours)


def test_what_was_recalled_can_still_be_looked_at(project: Project) -> None:
    project.write(model=SQUARE)

    def shown() -> list[str]:
        kernel = knossos.register(project.fresh().f)
        kernel(torch.tensor(2.0))
        return [kernel.ir, kernel.vjp_ir, kernel.cpp, str(kernel.source_path)]

    first = shown()
    project.lowered = 0
    kernel = knossos.register(project.fresh().f)
    kernel(torch.tensor(2.0))
    assert project.lowered == 0
    assert shown() == first
    assert project.lowered == 1


def test_a_deeper_derivative_of_what_was_recalled_is_traced_for(project: Project) -> None:
    project.write(model=CUBE)
    project.run()
    kernel = knossos.register(project.fresh().f)
    assert torch.func.grad(torch.func.grad(kernel))(torch.tensor(2.0)).item() == 12.0
    assert knossos.grad(kernel)(2.0) == 12.0


@pytest.mark.parametrize(
    ("before", "after", "x", "results"),
    [
        pytest.param({"model": SQUARE}, {"model": CUBE}, 2.0, ("4.0", 4.0, "8.0", 12.0), id="the function"),
        pytest.param(
            {"model": HELPED, "helpers": "def helper(x):\n    return x * x\n"},
            {"helpers": "def helper(x):\n    return x + x\n"},
            0.5,
            ("0.25", 1.0, "1.0", 2.0),
            id="a helper in another module",
        ),
        pytest.param(
            {"model": OF_HELPERS, "helpers": "K = 2.0\n"},
            {"helpers": "K = 3.0\n"},
            1.0,
            ("2.0", 2.0, "3.0", 3.0),
            id="an attribute of a module",
        ),
        pytest.param(
            {"model": "from helpers import K\ndef f(x: float) -> float:\n    return K * x\n", "helpers": "K = 0.0\n"},
            {"helpers": "K = -0.0\n"},
            1.0,
            ("0.0", 0.0, "-0.0", -0.0),
            id="the sign of a zero",
        ),
        pytest.param(
            {"model": DATACLASS.format(2.0)},
            {"model": DATACLASS.format(3.0)},
            1.0,
            ("2.0", 2.0, "3.0", 3.0),
            id="a field of a dataclass",
        ),
        pytest.param(
            {"model": RULE.format(2.0)}, {"model": RULE.format(3.0)}, 1.0, ("1.0", 2.0, "1.0", 3.0), id="a rule"
        ),
        pytest.param(
            {"model": KERNEL.format(2.0)}, {"model": KERNEL.format(3.0)}, 1.0, ("2.0", 2.0, "3.0", 3.0), id="a kernel"
        ),
        pytest.param(
            {"model": "def f(x: float) -> float:\n    n: int = 3\n    return n / 2 * x\n"},
            {"model": "def f(x: float) -> float:\n    n: int = 3\n    return n // 2 * x\n"},
            1.0,
            ("1.5", 1.5, "1.0", 1.0),
            id="an operator",
        ),
    ],
)
def test_an_edited_source_is_traced_again(
    project: Project,
    before: dict[str, str],
    after: dict[str, str],
    x: float,
    results: tuple[str, float, str, float],
) -> None:
    project.write(**before)
    assert project.run(x) == (1, *results[:2])
    assert project.run(x) == (0, *results[:2])
    project.write(**after)
    assert project.run(x) == (1, *results[2:])
    assert project.run(x) == (0, *results[2:])


@pytest.mark.parametrize(
    ("model", "change", "x", "results"),
    [
        pytest.param(
            "K = 2.0\ndef f(x: float) -> float:\n    return K * x\n",
            lambda model, patch: patch(model, "K", 3.0),
            1.0,
            ("2.0", "3.0"),
            id="a global",
        ),
        pytest.param(
            "def g(x, k=2.0):\n    return k * x\ndef f(x: float) -> float:\n    return g(x)\n",
            lambda model, patch: patch(model.g, "__defaults__", (3.0,)),
            1.0,
            ("2.0", "3.0"),
            id="a default",
        ),
        pytest.param(
            "def g(x, *, k=2.0):\n    return k * x\ndef f(x: float) -> float:\n    return g(x)\n",
            lambda model, patch: patch(model.g, "__kwdefaults__", {"k": 3.0}),
            1.0,
            ("2.0", "3.0"),
            id="a default of a keyword",
        ),
        pytest.param(
            "import torch\ndef f(x: float) -> float:\n    return torch.relu(x)\n",
            lambda model, patch: patch(torch, "relu", model.torch.sigmoid),
            0.0,
            ("0.0", "0.5"),
            id="a name in torch",
        ),
        pytest.param(
            "import math\ndef f(x: float) -> float:\n    return math.cos(x)\n",
            lambda model, patch: patch(model.math, "cos", model.math.sin),
            0.0,
            ("1.0", "0.0"),
            id="a name in math",
        ),
        pytest.param(
            "def f(x: float) -> float:\n    return abs(x)\n",
            lambda model, patch: patch(__import__("builtins"), "abs", float),
            -1.0,
            ("1.0", "-1.0"),
            id="a builtin name",
        ),
        pytest.param(
            NAMEDTUPLE,
            lambda model, patch: patch(model.P, "scaled", lambda self: 3.0 * self.a),
            1.0,
            ("2.0", "3.0"),
            id="a method",
        ),
    ],
)
def test_a_patched_object_is_traced_again(
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    model: str,
    change: Any,
    x: float,
    results: tuple[str, str],
) -> None:
    project.write(model=model)
    assert project.run(x)[:2] == (1, results[0])
    assert project.run(x)[:2] == (0, results[0])
    fresh = project.fresh
    with monkeypatch.context() as patched:

        def changed() -> Any:
            user = fresh()
            change(user, patched.setattr)
            return user

        patched.setattr(project, "fresh", changed)
        traced, value, _ = project.run(x)
        assert (traced, value) == (1, results[1])
    assert project.run(x)[:2] == (0, results[0])


def test_kernels_of_one_maker_do_not_push_each_other_out(project: Project) -> None:
    project.write(model=MAKER.format(2.0))
    for k in (2.0, 3.0, 2.0, 3.0):
        traced, value, _ = project.run(1.0, f"knossos.register(model.make({k}))")
        assert value == str(k)
    assert traced == 0


def test_a_function_as_an_argument_is_part_of_it(project: Project) -> None:
    results = []
    for k in (2.0, 2.0, 3.0, 3.0):
        project.write(model=ARGUMENT.format(k))
        results.append(project.run(1.0, "model.f"))
    assert results == [(1, "2.0", 2.0), (0, "2.0", 2.0), (1, "3.0", 3.0), (0, "3.0", 3.0)]


def test_an_annotation_that_comes_to_mean_something_else_is_seen(project: Project) -> None:
    project.write(model=ANNOTATED, helpers="Number = float\n")
    assert project.run(4.0)[:2] == (1, "8.0")
    assert project.run(4.0)[:2] == (0, "8.0")
    project.write(helpers="Number = int\n")
    with pytest.raises(KnossosError):
        project.run(4.0)


def test_kernels_that_are_the_same_program_are_each_remembered(project: Project) -> None:
    project.write(model="def f(x: float) -> float:\n    return 5.0 * x\ng = eval('lambda: 0') and f\n" + CUBE)
    project.run()
    project.run(make="knossos.elementwise(model.f)")
    assert project.run(make="knossos.elementwise(model.f)")[0] == project.run()[0] == 0
    assert len(project.traces) == 2


def test_a_callback_leaves_no_trace(project: Project) -> None:
    project.write(
        model="import ksc as knossos\nc = knossos.callback(lambda x: 2.0 * x, float, vjp=lambda x, y: 2.0 * y)\n"
        "def f(x: float) -> float:\n    return c(x)\n"
    )
    assert project.run()[0] == project.run()[0] == 1
    assert project.traces == []


def test_a_source_as_young_as_its_trace_leaves_none(project: Project) -> None:
    project.write(model=SQUARE)
    model = project.fresh()
    path = project.folder / "model.py"
    kernel = knossos.register(model.f)
    assert kernel.ir
    path.write_text(path.read_text() + "\n")
    kernel(torch.tensor(1.0))
    assert project.traces == []


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"key": 1}', "null", '{"key": KEY, "traces": [{"names": []}]}'])
def test_a_damaged_file_is_as_none(project: Project, damage: str) -> None:
    project.write(model=SQUARE)
    project.run()
    (path,) = project.traces
    key = json.dumps(json.loads(path.read_text())["key"])
    path.write_text(damage.replace("KEY", key))
    assert [project.run()[0], project.run()[0]] == [1, 0]


def test_a_folder_that_others_can_write_to_is_refused(project: Project) -> None:
    project.write(model=SQUARE)
    project.run()
    project.traces[0].parent.chmod(0o777)
    with pytest.raises(CacheError):
        project.run()


def test_a_read_only_store_is_looked_at_too(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.write(model=SQUARE)
    project.run()
    project.cache.rename(project.folder / "shared")
    monkeypatch.setenv("KSC_CACHE_PATH", str(project.folder / "shared"))
    assert project.run()[0] == 0
    assert project.traces == []

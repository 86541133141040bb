"""The pages that are printed from the compiler's tables: nothing is missing in them, and their examples hold."""

import ast
import linecache
import math
import re
from pathlib import Path

import pytest
import torch

from docs.generators import architecture, constructs, errors, language
from docs.generators.pages import GENERATORS
from ksc.frontend import Abstract, trace
from ksc.frontend.codes import CODES
from ksc.ir.types import Float, Integer, TensorType
from ksc.ops import PRIMITIVES

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs").glob("**/*.md"))
SOURCES = [path for path in (ROOT / "ksc").rglob("*.py") if "__pycache__" not in path.parts]
CONSTRUCTS = {**constructs.STATEMENTS, **constructs.EXPRESSIONS}


def test_every_construct_has_an_example() -> None:
    assert set(constructs.STATEMENTS) == language.SUPPORTED_STATEMENTS
    assert set(constructs.EXPRESSIONS) == language.SUPPORTED_EXPRESSIONS


@pytest.mark.parametrize("kind", CONSTRUCTS, ids=lambda kind: kind.__name__)
def test_the_example_of_a_construct_is_one_and_compiles(kind: type[ast.AST]) -> None:
    text, _ = CONSTRUCTS[kind]
    assert any(type(node) is kind for node in ast.walk(ast.parse(text)))
    body = text if kind in constructs.STATEMENTS else f"y = {text}"
    lines = ["def f(x, n, v):", *(f"    {line}" for line in body.split("\n")), "    return x"]
    file = f"construct-{kind.__name__}.py"
    source = "\n".join(lines)
    linecache.cache[file] = len(source), None, source.splitlines(keepends=True), file
    scope = {"math": math, "torch": torch}
    exec(compile(source, file, "exec"), scope)
    trace(scope["f"], [Abstract(Float), Abstract(Integer), Abstract(TensorType(1, Float))])


def test_the_tables_of_functions_name_what_there_is() -> None:
    page = language.torch_names()
    for name in (
        "einsum",
        "softmax",
        "conv2d",
        "lgamma",
        "logdet",
        "scatter_add",
        "cross_entropy",
        "permute",
        "svd",
        "grid_sample",
    ):
        assert f"`{name}`" in page
    for name in ("`matrix_rank`", "`randn`", "`nonzero`"):
        assert name not in page and name in language.refused_torch()
    assert language.count_of_torch_functions() > 700
    assert all(f"| `{name}` |" in language.primitives() for name in PRIMITIVES)


def test_every_code_has_an_entry_and_every_entry_a_code() -> None:
    page = (ROOT / "docs" / "Errors.md").read_text(encoding="utf-8")
    entries = re.findall(r"^<!-- generate: error (KS\d+) -->$", page, re.MULTILINE)
    assert entries == list(errors.ALL)
    literal = {code for path in SOURCES for code in re.findall(r'"(KS\d{3})"', path.read_text(encoding="utf-8"))}
    assert literal <= set(errors.ALL)


def test_every_code_of_the_frontend_is_raised_and_has_an_example() -> None:
    page = (ROOT / "docs" / "Errors.md").read_text(encoding="utf-8")
    text = "".join(path.read_text(encoding="utf-8") for path in SOURCES if path.name != "codes.py")
    for code in CODES:
        assert f'"{code}"' in text
        assert f"```python raises={code}\n" in page


def test_every_variable_of_the_environment_is_explained() -> None:
    read = {name for path in SOURCES for name in re.findall(r'= \(?"(KSC_[A-Z_]+)"', path.read_text(encoding="utf-8"))}
    table = re.findall(r"^\| `(KSC_\w+)`", (ROOT / "docs" / "Install.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(table) == read


@pytest.mark.parametrize("folder", architecture.folders())
def test_every_file_says_in_its_first_line_what_is_in_it(folder: str) -> None:
    for path in architecture.listed(ROOT / folder):
        assert len(architecture.summary(path)) < 300, path


def test_the_folders_of_the_stages_are_there() -> None:
    page = (ROOT / "docs" / "Architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:ksc|prelude|tests|docs)/[\w./]+)`", page))
    assert len(named) > 10
    assert all((ROOT / name).exists() for name in named)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_page_asks_for_is_generated(page: Path) -> None:
    asked = re.findall(r"^<!-- generate: ([\w-]+)", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(asked) <= set(GENERATORS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", text):
        if "://" in target:
            assert re.fullmatch(r"https://[\w.-]+\.(?:org|com|io|edu)(?:/[^\s()]*)?", target), target
        elif not target.startswith("#"):
            assert (page.parent / target.partition("#")[0]).exists(), target

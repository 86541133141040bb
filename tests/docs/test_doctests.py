"""The examples in the docstrings of public names are what happens."""

import doctest
import math
import re
from pathlib import Path

import pytest
import torch

import ksc as knossos

FINDER = doctest.DocTestFinder(exclude_empty=True)
PUBLIC = {name: getattr(knossos, name) for name in knossos.__all__}
EXAMPLES = [
    test for name, value in {"ksc": knossos, **PUBLIC}.items() for test in FINDER.find(value, name) if test.examples
]
NEED_ONE = {
    "elementwise",
    "register",
    "vmap",
    "grad",
    "jacobian",
    "hessian",
    "hvp",
    "vjp",
    "jvp",
    "custom_vjp",
    "custom_jvp",
}


@pytest.mark.parametrize("test", EXAMPLES, ids=lambda test: test.name)
def test_docstring(test: doctest.DocTest) -> None:
    test.globs = {"knossos": knossos, "torch": torch, "math": math, "__name__": "__main__"}
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    report: list[str] = []
    runner.run(test, out=report.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(report)


def test_the_main_functions_have_examples() -> None:
    assert NEED_ONE <= {test.name for test in EXAMPLES}


def test_the_page_of_the_api_has_every_public_name() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "API.md").read_text(encoding="utf-8")
    assert set(knossos.__all__) <= set(re.findall(r"^\.\. auto\w+:: ksc\.(\w+)(?:\(\))?$", page, re.MULTILINE))

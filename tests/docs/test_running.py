"""The pages whose code is run when the site is built: it does what they say."""

import re
from pathlib import Path

import pytest

from docs.generators.running import run_blocks

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = [
    page for page in sorted(DOCS.glob("**/*.md")) if re.search(r"^<!-- run", page.read_text("utf-8"), re.MULTILINE)
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_code_of_a_page_runs(page: Path) -> None:
    run_blocks(page.stem, page.read_text(encoding="utf-8"))


def test_what_a_block_prints_and_its_last_value_follow_it() -> None:
    page = run_blocks("page", "<!-- run -->\n```python\nx = 2\nprint(x)\nx + 1\n```\n")
    assert page.endswith(
        "```python\nx = 2\nprint(x)\nx + 1\n```\n\n```{code-block} text\n:class: output\n\n2\n3\n```\n"
    )


def test_blocks_share_their_names_unless_they_are_run_apart() -> None:
    blocks = "```python\nx = 2\n```\n```python\nx\n```\n"
    assert "\n2\n" in run_blocks("page", f"<!-- run -->\n{blocks}")
    with pytest.raises(RuntimeError, match=r"docs/page.md:5: NameError"):
        run_blocks("page", f"<!-- run: apart -->\n{blocks}")


def test_a_block_has_to_stop_with_the_error_that_it_names() -> None:
    page = (
        "<!-- run: apart -->\n```python raises=KS116\n@knossos.register\ndef f(x: float):\n    return y\nf(1.0)\n```\n"
    )
    assert "[KS116] the name 'y' is not defined" in run_blocks("page", page)
    with pytest.raises(RuntimeError, match="KS116"):
        run_blocks("page", page.replace("raises=KS116", "raises=KS117"))
    with pytest.raises(RuntimeError, match="was to stop"):
        run_blocks("page", page.replace("return y", "return x"))


def test_a_page_that_does_not_ask_is_left_alone() -> None:
    assert run_blocks("page", "```python\n1 / 0\n```\n") == "```python\n1 / 0\n```\n"

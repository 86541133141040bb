import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

from ksc.cli.target import TargetError, import_file, load_kernel, load_object
from ksc.errors import UnsupportedError
from ksc.kernel import Kernel


@pytest.fixture(autouse=True)
def _leaves_the_path_alone(tmp_path: Path) -> Iterator[None]:
    # Building a kernel imports it, and it adds a folder of its own.
    import setuptools  # noqa: F401

    path = list(sys.path)
    yield
    assert sys.path == path
    for name, module in list(sys.modules.items()):
        if Path(getattr(module, "__file__", None) or "/").is_relative_to(tmp_path):
            del sys.modules[name]


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


SQUARE = "def square(x: float) -> float:\n    return x * x\n"


def test_names_a_plain_function(tmp_path: Path) -> None:
    file = write(tmp_path / "shapes.py", SQUARE)
    square = load_object(f"{file}:square")
    assert callable(square)
    assert square(3.0) == 9.0


def test_a_plain_function_is_taken_elementwise(tmp_path: Path) -> None:
    file = write(tmp_path / "shapes.py", SQUARE)
    kernel = load_kernel(f"{file}:square")
    torch.testing.assert_close(kernel(torch.tensor([1.0, 3.0])), torch.tensor([1.0, 9.0]))


def test_a_kernel_is_itself(tmp_path: Path) -> None:
    file = write(tmp_path / "shapes.py", "import ksc\n\n@ksc.vmap\n" + SQUARE)
    assert load_kernel(f"{file}:square") is import_file(file).square
    assert isinstance(load_kernel(f"{file}:square"), Kernel)


def test_a_name_may_have_dots(tmp_path: Path) -> None:
    file = write(
        tmp_path / "shapes.py", "class Area:\n    @staticmethod\n" + "    def square(x: float):\n        return x"
    )
    assert load_object(f"{file}:Area.square") is import_file(file).Area.square


def test_neighbours_are_found_as_for_a_script(tmp_path: Path) -> None:
    write(tmp_path / "neighbour_a7.py", "side = 4.0\n")
    file = write(tmp_path / "user_a7.py", "from neighbour_a7 import side\n")
    assert import_file(file).side == 4.0


def test_a_file_in_a_package_may_import_relatively(tmp_path: Path) -> None:
    write(tmp_path / "pack_a7" / "__init__.py", "")
    write(tmp_path / "pack_a7" / "sub" / "__init__.py", "")
    write(tmp_path / "pack_a7" / "base.py", "side = 5.0\n")
    file = write(tmp_path / "pack_a7" / "sub" / "user.py", "from ..base import side\n")
    module = import_file(file)
    assert module.side == 5.0
    assert module.__name__ == "pack_a7.sub.user"


def test_a_file_is_run_once(tmp_path: Path) -> None:
    file = write(tmp_path / "once.py", "token = object()\n")
    assert import_file(file).token is import_file(file).token


def test_a_file_does_not_take_the_place_of_a_module(tmp_path: Path) -> None:
    file = write(tmp_path / "torch.py", "import math\nhere = True\n")
    assert import_file(file).here
    assert import_file(file) is import_file(file)
    assert sys.modules["torch"] is torch


def test_two_files_of_one_name_are_two_modules(tmp_path: Path) -> None:
    first = write(tmp_path / "a" / "model_a7.py", "which = 1\n")
    second = write(tmp_path / "b" / "model_a7.py", "which = 2\n")
    third = write(tmp_path / "c" / "model_a7.py", "which = 3\n")
    assert [import_file(path).which for path in (first, second, third)] == [1, 2, 3]
    assert [import_file(path).which for path in (first, second, third)] == [1, 2, 3]


def test_a_file_whose_name_is_no_identifier(tmp_path: Path) -> None:
    file = write(tmp_path / "my-model 2.py", "which = 1\n")
    assert import_file(file).which == 1


def test_dataclasses_with_postponed_annotations(tmp_path: Path) -> None:
    text = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\n\n@dataclass\nclass P:\n    x: float\n"
    )
    module: ModuleType = import_file(write(tmp_path / "points.py", text))
    assert [field.name for field in dataclasses.fields(module.P)] == ["x"]


@pytest.mark.parametrize("target", ["relu3.py", ":relu3", "relu3.py:", ""])
def test_a_target_names_file_and_function(target: str) -> None:
    with pytest.raises(TargetError, match=r"does not say which function\n  instead: FILE.py:NAME"):
        load_object(target)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match=r"there is no file .*gone.py"):
        load_object(f"{tmp_path}/gone.py:f")


def test_a_file_that_is_not_python(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="is not a Python file"):
        load_object(f"{write(tmp_path / 'notes.txt', '')}:f")


def test_a_missing_name_suggests_a_close_one(tmp_path: Path) -> None:
    file = write(tmp_path / "shapes.py", SQUARE + "def cube(x: float):\n    return x\n")
    with pytest.raises(TargetError, match=r"has no sqare\n  instead: one of square$"):
        load_object(f"{file}:sqare")
    with pytest.raises(TargetError, match=r"has no zz\n  instead: one of cube, square$"):
        load_object(f"{file}:zz")


def test_a_number_is_no_function(tmp_path: Path) -> None:
    file = write(tmp_path / "shapes.py", "side = 4.0\n")
    with pytest.raises(TargetError, match="side is a float, not a kernel or a function"):
        load_kernel(f"{file}:side")


def test_a_syntax_error_shows_the_line(tmp_path: Path) -> None:
    file = write(tmp_path / "broken.py", "x = 1\ny = = 2\n")
    with pytest.raises(TargetError) as caught:
        import_file(file)
    assert str(caught.value).splitlines() == [
        f"{file}:2:5: [KS900] SyntaxError: invalid syntax",
        "    y = = 2",
        "        ^",
    ]


def test_an_error_at_import_shows_the_line(tmp_path: Path) -> None:
    file = write(tmp_path / "broken.py", "def f(n):\n    return 1 / n\n\nside = 1 + f(0)\n")
    with pytest.raises(TargetError) as caught:
        import_file(file)
    assert str(caught.value).splitlines() == [
        f"{file}:2:12: [KS900] broken.py cannot be imported: ZeroDivisionError: division by zero",
        "        return 1 / n",
        "               ^^^^^",
    ]
    assert "broken" not in sys.modules


def test_a_file_that_exits(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match=r"SystemExit: 3"):
        import_file(write(tmp_path / "leaves.py", "import sys\nsys.exit(3)\n"))


def test_a_refusal_at_import_is_shown_as_it_is(tmp_path: Path) -> None:
    text = "from ksc.errors import UnsupportedError\nraise UnsupportedError('no')\n"
    with pytest.raises(UnsupportedError, match="no"):
        import_file(write(tmp_path / "refused.py", text))

from pathlib import Path
from types import ModuleType

import pytest

from ksc.cli.target import import_file

ACTIVATIONS = Path(__file__).resolve().parents[2] / "examples" / "dl-activations"


@pytest.fixture(scope="session")
def relu3_example() -> ModuleType:
    return import_file(ACTIVATIONS / "relu3.py")


@pytest.fixture(scope="session")
def gelu_example() -> ModuleType:
    return import_file(ACTIVATIONS / "gelu.py")


@pytest.fixture(scope="session")
def digits_example() -> ModuleType:
    return import_file(ACTIVATIONS / "relu3_digits.py")

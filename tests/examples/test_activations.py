import math
import re
from pathlib import Path
from types import ModuleType

import pytest
import torch

ACTIVATIONS = Path(__file__).resolve().parents[2] / "examples" / "dl-activations"
POINTS = [-30.0, -3.0, -1e-3, -0.0, 0.0, 1e-3, 0.5, 1.0 - 1e-3, 1.0, 1.5, 40.0]


@pytest.fixture(params=["relu3", "gelu"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def example(name: str, request: pytest.FixtureRequest) -> ModuleType:
    module: ModuleType = request.getfixturevalue(f"{name}_example")
    return module


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_value_and_gradient_are_those_of_the_reference(name: str, example: ModuleType, dtype: torch.dtype) -> None:
    kernel, reference = getattr(example, f"v{name}"), getattr(example, f"{name}_pt")
    x = torch.tensor(POINTS, dtype=dtype, requires_grad=True)
    torch.testing.assert_close(kernel(x), reference(x))
    (expected,) = torch.autograd.grad(reference(x).sum(), x)
    torch.testing.assert_close(torch.autograd.grad(kernel(x).sum(), x)[0], expected)
    torch.testing.assert_close(kernel.vjp(x.detach(), torch.ones_like(x)), expected)


def test_the_plain_function_stays_plain_python(name: str, example: ModuleType) -> None:
    plain, kernel = getattr(example, name), getattr(example, f"v{name}")
    values = [plain(point) for point in POINTS]
    assert all(type(value) is float for value in values)
    torch.testing.assert_close(kernel(torch.tensor(POINTS, dtype=torch.float64)), torch.tensor(values).double())


def test_an_untaken_side_leaves_the_gradient_alone(relu3_example: ModuleType) -> None:
    x = torch.tensor([-math.inf], requires_grad=True)
    (gradient,) = torch.autograd.grad(relu3_example.vrelu3(x), x, torch.ones(1))
    assert gradient.item() == 0.0
    (reference,) = torch.autograd.grad(relu3_example.relu3_pt(x), x, torch.ones(1))
    assert reference.isnan().all()


def test_gelu_is_pytorchs(gelu_example: ModuleType) -> None:
    x = torch.linspace(-6.0, 6.0, 101)
    torch.testing.assert_close(gelu_example.vgelu(x), torch.nn.functional.gelu(x))


def test_documentation_can_include_the_parts(name: str) -> None:
    text = (ACTIVATIONS / f"{name}.py").read_text()
    parts = dict(re.findall(r"# (DOC-\w+)\n(.*?)\n+# END\1\n", text, re.DOTALL))
    assert parts["DOC-KS"].startswith(f"def {name}(x: float) -> float:")
    assert parts["DOC-KSV"] == f"v{name} = knossos.vmap({name})"
    assert parts["DOC-PTREF"].startswith(f"def {name}_pt(x: torch.Tensor) -> torch.Tensor:")


def test_it_runs_as_a_script(example: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    example.main()
    assert "derivative" in capsys.readouterr().out

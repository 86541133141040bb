"""torch.compile, torch.export and opcheck over kernels: values, in this process and in a new one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch._dynamo.testing
from torch.testing import assert_close
from torch_kernels import PLUGGED, Plugged, as_tuple, failing, mixed, pair, pair_reference, relu3, square, total

from tests.processes import run_python


def with_gradients(f: Any, args: list[torch.Tensor]) -> tuple[Any, tuple[torch.Tensor, ...]]:
    results = f(*args)
    return results, torch.autograd.grad(total(results), args)


@pytest.mark.parametrize("dynamic", [None, True])
def test_fullgraph_forward_and_backward(plugged: Plugged, dynamic: bool | None) -> None:
    def network(f: Any) -> Any:
        return lambda *xs: as_tuple(f(*(x * 2 for x in xs)))[0] + 1

    compiled = torch.compile(network(plugged.call), fullgraph=True, dynamic=dynamic)
    for shape in [(4, 3), (7, 5)]:
        args = plugged.inputs(*shape, grad=True)
        assert_close(with_gradients(compiled, args), with_gradients(network(plugged.reference), args))


def test_one_graph_for_all_shapes(plugged: Plugged) -> None:
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(lambda *xs: plugged.call(*xs), fullgraph=True, dynamic=True, backend=counter)
    for shape in [(4, 3), (7, 5), (2, 9)]:
        args = plugged.inputs(*shape, grad=True)
        assert_close(with_gradients(compiled, args), with_gradients(plugged.reference, args))
    assert counter.frame_count == 1


@pytest.mark.parametrize("layout", ["transposed", "expanded", "strided", "0-d", "empty"])
def test_layouts_inside_compile(plugged: Plugged, layout: str) -> None:
    args = plugged.inputs(4, 6)
    shaped = {
        "transposed": lambda x: x.t(),
        "expanded": lambda x: x[:, :1].expand(4, 6),
        "strided": lambda x: x[::2, 1::2],
        "0-d": lambda x: x[0, 0],
        "empty": lambda x: x[:0],
    }[layout]
    views = [shaped(arg).detach().requires_grad_() for arg in args]
    compiled = torch.compile(lambda *xs: plugged.call(*xs), fullgraph=True, backend="aot_eager")
    assert_close(with_gradients(compiled, views), with_gradients(plugged.reference, views))
    got, want = as_tuple(compiled(*views)), as_tuple(plugged.call(*views))
    assert [g.stride() for g in got] == [w.stride() for w in want]


def test_module_inside_compile(plugged: Plugged) -> None:
    class Network(torch.nn.Module):
        def __init__(self, middle: Any) -> None:
            super().__init__()
            self.first = torch.nn.Linear(6, 6, dtype=torch.float64)
            self.middle = middle

        def forward(self, *xs: torch.Tensor) -> torch.Tensor:
            return total(self.middle(*(self.first(x) for x in xs)))

    torch.manual_seed(0)
    network = Network(plugged.module())
    args = plugged.inputs(3, 6)
    network.forward = lambda *xs: total(plugged.reference(*(network.first(x) for x in xs)))  # type: ignore[method-assign]
    want = torch.autograd.grad(network(*args), list(network.parameters()))
    del network.forward
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    assert_close(torch.autograd.grad(compiled(*args), list(network.parameters())), want)


def test_second_order_through_compiled_first_order(plugged: Plugged) -> None:
    args = plugged.inputs(3, 2)
    first = torch.compile(
        torch.func.grad(lambda *xs: total(plugged.call(*xs))), fullgraph=True, backend="aot_eager", dynamic=True
    )
    want = torch.func.grad(lambda *xs: total(plugged.reference(*xs)))
    inputs = [arg.requires_grad_() for arg in args]
    assert_close(torch.autograd.grad(first(*inputs).sum(), inputs), torch.autograd.grad(want(*inputs).sum(), inputs))


def test_numbers_inside_compile() -> None:
    x = torch.rand(4, dtype=torch.float32, requires_grad=True)
    compiled = torch.compile(lambda a, s: pair.call(a, s), fullgraph=True, backend="aot_eager")
    for scale in (2.0, 3.5, 3):
        got = compiled(x, scale)
        assert got[0].dtype == torch.float32
        assert_close(got, pair_reference(x, torch.tensor(float(scale))))
    flags = torch.compile(lambda a, n: mixed.call(a, n, True)[0], fullgraph=True, backend="aot_eager")
    assert_close(flags(x, 3), x * 3)


def test_direct_derivatives_inside_compile() -> None:
    x, g = torch.rand(4), torch.rand(4)
    compiled = torch.compile(
        lambda a, b: (square.vjp(a, b), square.jvp(a, b), square.value_and_vjp(a, b)),
        fullgraph=True,
        backend="aot_eager",
    )
    assert_close(compiled(x, g), (2 * x * g, 2 * x * g, (x * x, 2 * x * g)))


class Exported(torch.nn.Module):
    def __init__(self, kernel: Any) -> None:
        super().__init__()
        self.kernel = kernel

    def forward(self, *xs: torch.Tensor) -> Any:
        return self.kernel(*(2 * x for x in xs))


def saved(plugged: Plugged, folder: Path) -> tuple[Path, Path]:
    """A kernel in an exported program, and its arguments and results, as files."""
    program, data = folder / f"{plugged.name}.pt2", folder / f"{plugged.name}.pt"
    args = plugged.inputs(4, 3)
    batch = torch.export.Dim("batch", min=2)
    exported = torch.export.export(
        Exported(plugged.call), tuple(args), dynamic_shapes={"xs": tuple({0: batch} for _ in args)}
    )
    assert any(node.target is plugged.op for node in exported.graph.nodes)
    torch.export.save(exported, program)
    others = plugged.inputs(6, 3, seed=1)
    want = plugged.reference(*(2 * x for x in others))
    assert_close(torch.export.load(program).module()(*others), want)
    assert_close(exported.run_decompositions().module()(*others), want)
    torch.save((others, want), data)
    return program, data


_RELOAD = """
import sys, torch
sys.path[:0], places = sys.argv[1:3], sys.argv[3:]
import torch_kernels
for program, data in zip(places[::2], places[1::2]):
    args, want = torch.load(data)
    torch.testing.assert_close(torch.export.load(program).module()(*args), want)
print("reloaded")
"""


def test_export_and_reload(tmp_path: Path) -> None:
    places = [str(path) for plugged in PLUGGED for path in saved(plugged, tmp_path)]
    here = Path(__file__).resolve().parent
    done = run_python("-c", _RELOAD, here, here.parents[1], *places)
    assert done.stdout.strip() == "reloaded", done.stderr


def test_exported_program_trains(plugged: Plugged) -> None:
    args = plugged.inputs(4, grad=True)
    module = torch.export.export(Exported(plugged.call), tuple(args)).module()
    want = with_gradients(lambda *xs: plugged.reference(*(2 * x for x in xs)), args)
    assert_close(with_gradients(module, args), want)


def shapes_of(plugged: Plugged, derivation: str, shape: tuple[int, ...]) -> list[torch.Size]:
    """The shapes of the arguments of a derivation."""
    args = [x.shape for x in plugged.inputs(*shape)]
    results = [y.shape for y in as_tuple(plugged.reference(*plugged.inputs(*shape)))]
    for letter in derivation:
        args, results = (args + results, args) if letter == "v" else (args + args, results)
    return args


@pytest.mark.parametrize(
    ("derivation", "shape"),
    [*((derivation, (4, 3)) for derivation in ("", "v", "j", "vj")), ("", ()), ("v", ()), ("", (0, 2)), ("v", (0, 2))],
)
def test_opcheck(plugged: Plugged, derivation: str, shape: tuple[int, ...]) -> None:
    if shape == () and not plugged.elementwise:
        shape = (1, 1)
    packet = getattr(torch.ops.knossos, plugged.op._schema.name.removeprefix("knossos::"))
    op = getattr(packet, derivation or "default")
    shapes = shapes_of(plugged, derivation, shape)
    assert len(shapes) == len(op._schema.arguments)
    filler = [torch.rand(each, dtype=torch.float64) + 0.5 for each in shapes]
    # The gradient of a second derivative would be of order three.
    args = tuple(arg.requires_grad_(len(derivation) < 2) for arg in filler)
    assert set(torch.library.opcheck(op, args).values()) == {"SUCCESS"}


def test_opcheck_with_layouts_and_other_kinds() -> None:
    a = torch.rand(3, 4, dtype=torch.float64).t().requires_grad_()
    b = (torch.rand(4, 1, dtype=torch.float64) + 1).requires_grad_()
    torch.library.opcheck(pair.op, (a, b))
    torch.library.opcheck(pair.op, (torch.rand(2, 3, 4).permute(2, 0, 1), torch.rand(2, 1) + 1))
    torch.library.opcheck(relu3.op, (torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last),))
    torch.library.opcheck(mixed.op, (torch.rand(3, requires_grad=True), torch.tensor(2), torch.tensor(True)))


def test_meta_tensors() -> None:
    first, second = pair.call(torch.empty(3, 1, device="meta"), torch.empty(4, dtype=torch.float64, device="meta"))
    assert (first.device.type, first.dtype, first.shape) == ("meta", torch.float64, (3, 4))
    assert second.shape == (3, 4)


def test_make_fx_sees_the_operator_and_its_derivatives() -> None:
    from torch.fx.experimental.proxy_tensor import make_fx

    graph = make_fx(torch.func.grad(lambda x: relu3.call(x).sum()), tracing_mode="symbolic")(torch.rand(3)).graph
    targets = {node.target for node in graph.nodes}
    assert relu3.overload("v") in targets
    hessian = make_fx(torch.func.hessian(lambda x: relu3.call(x).sum()))(torch.rand(3)).graph
    assert relu3.overload("vj") in {node.target for node in hessian.nodes}


def test_a_kernel_that_stops_inside_compile() -> None:
    compiled = torch.compile(lambda x: failing.call(x) + 1, fullgraph=True, backend="aot_eager")
    assert_close(compiled(torch.tensor([2.0, 4.0])), torch.tensor([1.5, 1.25]))
    with pytest.raises(RuntimeError, match=r"model.py:7.*x is zero"):
        compiled(torch.tensor([2.0, 0.0]))

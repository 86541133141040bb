"""What each process of test_sharding.py runs: kernels on DTensors against the same on whole tensors."""

import importlib.util
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.debug import CommDebugMode

import ksc as knossos

ROOT = Path(__file__).resolve().parents[2]
SHARDED, COPIED, SUMMED = (Shard(0),), (Replicate(),), (Partial(),)


@knossos.elementwise
def mixed(x: float, y: float) -> float:
    return x * y * y if x < y else x + y


@knossos.vmap(in_dims=(0, None))
def dense(x: Tensor, w: Tensor) -> Tensor:
    return torch.relu(w @ x) * torch.sum(x)


@knossos.vmap(in_dims=(1, None), out_dims=1)
def columns(x: Tensor, w: Tensor) -> Tensor:
    return torch.sin(w @ x)


@knossos.register
def whole(x: Tensor) -> Tensor:
    return x / torch.sum(x * x)


@knossos.vmap(in_dims=(0, None))
def first(x: Tensor, n: int) -> Tensor:
    return 2 * x[:n]


def leaf(value: Tensor, placement, mesh) -> Tensor:
    return distribute_tensor(value, mesh, [placement]).requires_grad_()


def elementwise(mesh) -> None:
    """No layout needs a message, the gradient's neither: that of what is broadcast is summed later."""
    x, y = torch.randn(6, 5).double(), torch.randn(5).double()
    for x_placement, y_placement, y_bar in (
        (Shard(0), Replicate(), SUMMED),
        (Shard(1), Shard(0), SHARDED),
        (Replicate(), Replicate(), COPIED),
    ):
        given = leaf(x, x_placement, mesh), leaf(y, y_placement, mesh)
        with CommDebugMode() as messages:
            out = mixed(*given)
            bars = torch.autograd.grad(out, given, torch.ones_like(out))
        assert messages.get_total_counts() == 0
        assert out.placements == (x_placement,)
        assert [bar.placements for bar in bars] == [(x_placement,), y_bar]
        same(mixed, (x, y), out, bars)


def mapped(mesh) -> None:
    """Over the mapped dimension alone; what the lanes share has a partial gradient, to the second order."""
    x, w = torch.randn(6, 5).double(), torch.randn(3, 5).double()
    given = leaf(x, Shard(0), mesh), leaf(w, Replicate(), mesh)
    with CommDebugMode() as messages:
        out = dense(*given)
        bars = torch.autograd.grad(out, given, torch.ones_like(out), create_graph=True)
    assert messages.get_total_counts() == 0
    assert out.placements == SHARDED
    assert [bar.placements for bar in bars] == [SHARDED, SUMMED]
    same(dense, (x, w), out, bars)
    second = torch.autograd.grad(bars[0].sum() + bars[1].square().sum(), given[1])[0]
    x.requires_grad_(), w.requires_grad_()
    plain = torch.autograd.grad(dense(x, w).sum(), (x, w), create_graph=True)
    torch.testing.assert_close(
        second.full_tensor(), torch.autograd.grad(plain[0].sum() + plain[1].square().sum(), w)[0]
    )
    lanes = leaf(torch.randn(5, 6).double(), Shard(1), mesh), given[1]
    with CommDebugMode() as messages:
        out = columns(*lanes)
    assert messages.get_total_counts() == 0 and out.placements == (Shard(1),)
    torch.testing.assert_close(out.full_tensor(), columns(lanes[0].full_tensor(), w))


def inside_a_lane(mesh) -> None:
    """A dimension that is not mapped is gathered, as is an operand of which nothing is mapped."""
    x, w = torch.randn(6, 4).double(), torch.randn(2, 4).double()
    given = leaf(x, Shard(1), mesh), leaf(w, Shard(0), mesh)
    out = dense(*given)
    same(dense, (x, w), out, torch.autograd.grad(out, given, torch.ones_like(out)))
    out = whole(leaf(x, Shard(0), mesh))
    assert out.placements == COPIED
    torch.testing.assert_close(out.full_tensor(), whole(x))


def sizes(mesh) -> None:
    """An int that sizes depend on is told apart; a dimension that the processes cannot share out is not sharded."""
    x = leaf(torch.randn(4, 3).double(), Shard(0), mesh)
    for n in (1, 2, 3):
        assert first(x, n).shape == (4, n)
        torch.testing.assert_close(first(x, n).full_tensor(), first(x.full_tensor(), n))
    uneven = leaf(torch.randn(3, 2).double(), Shard(0), mesh)
    torch.testing.assert_close(mixed(uneven, 0.5).full_tensor(), mixed(uneven.full_tensor(), 0.5))


def direct(mesh) -> None:
    """The derivatives without autograd, and a compiled graph."""
    x, w = torch.randn(6, 5).double(), torch.randn(3, 5).double()
    given = distribute_tensor(x, mesh, [Shard(0)]), distribute_tensor(w, mesh, [Replicate()])
    ones = torch.ones(6, 3).double()
    bars = dense.vjp(*given, distribute_tensor(ones, mesh, [Shard(0)]))
    assert [bar.placements for bar in bars] == [SHARDED, SUMMED]
    for bar, plain in zip(bars, dense.vjp(x, w, ones), strict=True):
        torch.testing.assert_close(bar.full_tensor(), plain)
    dot = dense.jvp(*given, *given)
    assert dot.placements == SHARDED
    torch.testing.assert_close(dot.full_tensor(), dense.jvp(x, w, x, w))
    compiled = torch.compile(lambda x, w: columns(x, w) + 1.0, backend="aot_eager", fullgraph=True)
    lanes = distribute_tensor(x.T.contiguous(), mesh, [Shard(1)])
    torch.testing.assert_close(compiled(lanes, given[1]).full_tensor(), columns(x.T, w) + 1.0)


def example() -> None:
    """The network of examples/distributed learns the same in every division."""
    path = ROOT / "examples" / "distributed" / "train.py"
    spec = importlib.util.spec_from_file_location("distributed_train", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    alone = torch.tensor(module.train("alone", 4))
    for how in ("data", "parameters", "layers"):
        torch.testing.assert_close(torch.tensor(module.train(how, 4)), alone, rtol=1e-4, atol=1e-6)


def same(kernel, args, out: DTensor, bars) -> None:
    """The values and gradients are those of whole tensors."""
    args = [arg.detach().requires_grad_() for arg in args]
    plain = kernel(*args)
    torch.testing.assert_close(out.full_tensor(), plain)
    for bar, expected in zip(bars, torch.autograd.grad(plain.sum(), args), strict=True):
        torch.testing.assert_close(bar.full_tensor(), expected)


def main(rank: int, store: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    torch.manual_seed(0)
    mesh = init_device_mesh("cpu", (2,))
    for check in (elementwise, mapped, inside_a_lane, sizes, direct):
        check(mesh)
    example()
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])

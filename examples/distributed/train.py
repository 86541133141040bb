"""One network on several processes: its data, its parameters or its layers divided, its kernels unchanged.

    torchrun --nproc-per-node 2 examples/distributed/train.py --divide data         # DistributedDataParallel
    torchrun --nproc-per-node 2 examples/distributed/train.py --divide parameters   # FSDP, fully_shard
    torchrun --nproc-per-node 2 examples/distributed/train.py --divide layers       # tensor parallelism

An activation of a kernel is elementwise, so it runs on whatever slice of the activations a process has. A kernel that
is mapped over the batch runs on the slice of the batch, also where its operands are DTensors: what all lanes share is
replicated, and its gradient is a partial sum, as with the operators of PyTorch. Nothing is gathered.

Where there is a GPU for each process they are used, with nccl, else the CPU with gloo.
"""

from __future__ import annotations

import argparse
import os

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Replicate, Shard, distribute_tensor
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

import ksc as knossos


@knossos.elementwise
def bend(x: float, knee: float) -> float:
    """A ramp whose knee is learnt."""
    if x < -knee:
        return 0.0
    return x if x > knee else (x + knee) ** 2 / (4.0 * knee)


@knossos.vmap(in_dims=(0, None))
def pairs(x: Tensor, weight: Tensor) -> Tensor:
    """A quadratic form of each row, for each matrix of ``weight``: [n], [m, n, n] -> [m]."""
    return torch.stack([torch.sum(torch.outer(x, x) * w) for w in weight])


class Net(nn.Module):
    """A perceptron with a kernel between its layers and a kernel as its last one."""

    def __init__(self, inputs: int = 8, hidden: int = 32, features: int = 4, outputs: int = 3) -> None:
        super().__init__()
        self.rise = nn.Linear(inputs, hidden)
        self.fall = nn.Linear(hidden, features)
        self.knee = nn.Parameter(torch.tensor(0.5))
        self.weight = nn.Parameter(torch.randn(outputs, features, features) / features)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, inputs] -> [batch, outputs]"""
        return pairs(self.fall(bend(self.rise(x), self.knee)), self.weight)


def divided(net: Net, how: str, mesh: DeviceMesh) -> nn.Module:
    """The same network, its work divided among the processes of ``mesh``."""
    if how == "data":
        return nn.parallel.DistributedDataParallel(net)
    if how == "parameters":
        # A parameter that is one number has no dimension to shard.
        fully_shard(net, mesh=mesh, ignored_params={net.knee})
        return net
    # Between the layers each process holds a slice of the hidden units, and of the batch behind them.
    return parallelize_module(
        net,
        mesh,
        {
            "rise": ColwiseParallel(use_local_output=False),
            "fall": RowwiseParallel(input_layouts=Shard(1), output_layouts=Shard(0), use_local_output=False),
        },
    )


def problem(count: int = 64, inputs: int = 8, outputs: int = 3) -> tuple[Tensor, Tensor]:
    """Inputs [count, inputs] and what is to be learnt of them [count, outputs]; the same in every process."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(count, inputs, generator=generator)
    return x, torch.stack([x[:, k] * x[:, k + 1] for k in range(outputs)], 1)


def replicated(net: Net, mesh: DeviceMesh) -> None:
    """Make DTensors of the parameters that no layer of PyTorch holds."""
    for name in ("knee", "weight"):
        parameter = getattr(net, name)
        setattr(net, name, nn.Parameter(distribute_tensor(parameter.detach(), mesh, [Replicate()])))


def train(how: str, steps: int = 60, device: str = "cpu") -> list[float]:
    """The loss before each step. ``how`` is ``"alone"``, ``"data"``, ``"parameters"`` or ``"layers"``."""
    torch.manual_seed(0)
    net = Net().to(device)
    x, y = (part.to(device) for part in problem())
    rank, world = (dist.get_rank(), dist.get_world_size()) if how != "alone" else (0, 1)
    model: nn.Module = net
    if how != "alone":
        mesh = init_device_mesh(device, (world,))
        if how == "layers":
            replicated(net, mesh)
            y = distribute_tensor(y, mesh, [Shard(0)])
        else:
            x, y = x.chunk(world)[rank], y.chunk(world)[rank]
        model = divided(net, how, mesh)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01, foreach=False)
    losses = []
    for _ in range(steps):
        loss = (model(x) - y).square().mean()
        optimiser.zero_grad()
        loss.backward()
        if how == "parameters":
            # FSDP leaves what it does not hold to its user.
            dist.all_reduce(net.knee.grad)
            net.knee.grad /= world
        optimiser.step()
        if how == "layers":
            losses.append(loss.full_tensor().item())
        else:
            whole = loss.detach()
            if how != "alone":
                dist.all_reduce(whole, dist.ReduceOp.SUM)
            losses.append(whole.item() / world)
    return losses


def main() -> None:
    """Train with the division asked for, and alone, and show that the losses are the same."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--divide", choices=("data", "parameters", "layers"), default="data")
    parser.add_argument("--steps", type=int, default=60)
    args = parser.parse_args()
    device = "cuda" if torch.cuda.device_count() >= int(os.environ["LOCAL_WORLD_SIZE"]) else "cpu"
    if device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if device == "cuda" else "gloo")
    losses = train(args.divide, args.steps, device)
    if dist.get_rank() == 0:
        alone = train("alone", args.steps, device)
        print("step   divided     alone")
        for step in (*range(0, args.steps, 10), args.steps - 1):
            print(f"{step:4} {losses[step]:9.6f} {alone[step]:9.6f}")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()

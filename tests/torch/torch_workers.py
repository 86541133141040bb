"""What the worker processes of the tests run; importable by a process that was spawned."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from torch_kernels import PLUGGED, Plugged, as_tuple, total


def by_name(name: str) -> Plugged:
    return next(kernel for kernel in PLUGGED if kernel.name == name)


def network(kernel: Plugged) -> torch.nn.Module:
    """A small network with the kernel in its middle, the same in every process."""
    torch.manual_seed(0)
    return Network(kernel)


class Network(torch.nn.Module):
    def __init__(self, kernel: Plugged) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleList(torch.nn.Linear(6, 5, dtype=torch.float64) for _ in range(kernel.arity))
        self.activation = kernel.module()
        self.last = torch.nn.Linear(5, 2, dtype=torch.float64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        middle = self.activation(*(layer(x) for layer in self.layers))
        first: torch.Tensor = middle[0] if isinstance(middle, tuple) else middle
        if first.dim() == 1:
            first = first[:, None].expand(-1, 5)
        return self.last(first).square().sum(dim=1)


def gradients(model: torch.nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    return list(torch.autograd.grad(model(x).mean(), list(model.parameters())))


def add_gradient(name: str, module: torch.nn.Module, shared: list[torch.Tensor], out: torch.Tensor) -> None:
    """Writes the kernel's first gradient for shared inputs into shared memory."""
    torch.set_num_threads(1)
    assert type(module).__name__ == "KernelModule"
    args = [x.clone().requires_grad_() for x in shared]
    out.copy_(torch.autograd.grad(total(module(*args)), args[0])[0])


class Samples(torch.utils.data.Dataset[Any]):
    """A data set that calls the kernel in the process that loads from it."""

    def __init__(self, kernel: Any, args: list[torch.Tensor]) -> None:
        self.kernel, self.args = kernel, args

    def __len__(self) -> int:
        return len(self.args[0])

    def __getitem__(self, index: int) -> Any:
        rows = self.kernel(*(x[index : index + 1] for x in self.args))
        return tuple(row[0] for row in as_tuple(rows))


def run_ddp(rank: int, world: int, names: list[str], folder: str) -> None:
    """One of the processes of distributed training: saves the gradients that it is left with for each kernel."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{Path(folder, 'rendezvous')}", rank=rank, world_size=world
    )
    x = torch.load(Path(folder, "x.pt"))
    for name in names:
        model = torch.nn.parallel.DistributedDataParallel(network(by_name(name)))
        model(x.chunk(world)[rank]).mean().backward()
        torch.save([p.grad for p in model.module.parameters()], Path(folder, f"{name}.{rank}.pt"))
    # The group's threads are joined only once nobody holds it; one that outlives the interpreter aborts the process.
    del model
    gc.collect()
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()

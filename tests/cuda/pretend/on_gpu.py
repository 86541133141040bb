"""What only a GPU has: graphs, and compiled models; run by ``make test-gpu``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch

from tests.cuda.pretend.kernels import normalised, relu3
from tests.cuda.pretend.place import near, rand


def test_compiled() -> None:
    x = rand(1000).cuda()
    torch.testing.assert_close(torch.compile(relu3, fullgraph=True)(x), relu3(x))


def test_an_error_is_a_device_assert_with_the_line() -> None:
    program = """
import torch
from tests.cuda.pretend.kernels import picked
x = torch.ones(5, device="cuda")
picked(x, torch.tensor([0, 1]).cuda())
found = picked(x, torch.tensor([0, 7]).cuda())
try:
    found.cpu()
except RuntimeError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "device-side assert" in done.stdout, done.stdout + done.stderr
    assert "kernels.py:" in done.stderr and "index 7 is out of range" in done.stderr


def test_where_launches_are_waited_for_the_call_raises_and_the_process_goes_on() -> None:
    program = """
import torch
from ksc.errors import KernelRuntimeError
from tests.cuda.pretend.kernels import picked
x = torch.ones(5, device="cuda")
picked(x, torch.tensor([0, 1]).cuda())
try:
    picked(x, torch.tensor([0, 7]).cuda())
except KernelRuntimeError as error:
    print(error)
print(picked(x, torch.tensor([0, 1]).cuda()).tolist())
"""
    environ = {**os.environ, "CUDA_LAUNCH_BLOCKING": "1"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, env=environ)
    assert "index 7 is out of range" in done.stdout and "[2.0, 2.0]" in done.stdout, done.stdout + done.stderr


def test_graphs_replay() -> None:
    x = rand(64, 8).cuda()
    for kernel in (relu3, normalised):
        torch.cuda.synchronize()
        side = torch.cuda.Stream()
        with torch.cuda.stream(side):
            kernel(x)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            y = kernel(x)
        for k in range(3):
            x.copy_(rand(64, 8, seed=k))
            graph.replay()
            near(y, kernel(x.cpu()))


def test_several_processes(tmp_path: Path) -> None:
    """DDP, and DTensors, with nccl; on as many GPUs as there are, of which one is enough."""
    program = """
import copy, sys
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor
from tests.cuda.pretend.kernels import normalised, relu3
rank, world = int(sys.argv[1]), int(sys.argv[2])
torch.cuda.set_device(rank)
dist.init_process_group("nccl", init_method="file://" + sys.argv[3], rank=rank, world_size=world)
torch.manual_seed(0)
plain = torch.nn.Sequential(torch.nn.Linear(5, 4), relu3.nnModule, torch.nn.Linear(4, 1)).cuda()
shared = torch.nn.parallel.DistributedDataParallel(copy.deepcopy(plain), device_ids=[rank])
x = torch.randn(4 * world, 5).cuda()
plain(x).mean().backward()
shared(x.chunk(world)[rank]).mean().backward()
for one, other in zip(shared.parameters(), plain.parameters(), strict=True):
    torch.testing.assert_close(one.grad, other.grad)
sharded = distribute_tensor(x, init_device_mesh("cuda", (world,)), [Shard(0)])
torch.testing.assert_close(normalised(relu3(sharded)).full_tensor(), normalised(relu3(x)))
dist.destroy_process_group()
"""
    world = torch.cuda.device_count()
    command = [sys.executable, "-c", program]
    ends = [str(world), str(tmp_path / "store")]
    ranks = [
        subprocess.Popen([*command, str(rank), *ends], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for rank in range(world)
    ]
    try:
        said = [rank.communicate(timeout=300)[0] for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    assert not any(rank.returncode for rank in ranks), "\n".join(said)

"""What only a GPU has: graphs, and compiled models; run by ``make test-gpu``."""

from __future__ import annotations

import subprocess
import sys

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

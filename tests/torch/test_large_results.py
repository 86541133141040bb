"""Large results lie in large pages, where the system gives them on request."""

from pathlib import Path

import torch

import ksc as knossos

PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
LARGE = (32 << 20) // 8 + 1000


@knossos.elementwise
def doubled(x: float) -> float:
    return 2.0 * x


@knossos.register
def added(x: torch.Tensor) -> torch.Tensor:
    return x + 1.0


def flags_of(tensor: torch.Tensor) -> list[str]:
    """What the system notes of the memory in the middle of a tensor."""
    middle = tensor.data_ptr() + tensor.nbytes // 2
    here = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        first, *rest = line.split()
        if "-" in first and not first.endswith(":"):
            start, end = (int(part, 16) for part in first.split("-"))
            here = start <= middle < end
        elif here and first == "VmFlags:":
            return rest
    return []


def test_large_results_ask_for_large_pages():
    x = torch.arange(LARGE, dtype=torch.float64)
    for result, expected in ((doubled(x), 2.0 * x), (added(x), x + 1.0)):
        assert torch.equal(result, expected)
        if PAGES.exists():
            assert "hg" in flags_of(result)
    small = doubled(torch.ones(1000, dtype=torch.float64))
    assert small.sum() == 2000.0

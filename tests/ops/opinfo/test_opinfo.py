"""Some of PyTorch's own samples of each operator, interpreted, against PyTorch; `make opinfo` tries all of them."""

import pytest
import torch

from tests.ops.opinfo.checks import Status
from tests.ops.opinfo.database import operators, title
from tests.ops.opinfo.survey import SHORT, survey

PARTS = 12
AGAIN = {"linalg.lstsq.grad_oriented"}
"""A function once more, with samples like those before, which takes seconds."""
FEWEST = 350
"""How many operators kernels know at least."""


@pytest.fixture(autouse=True)
def defaults():
    """A survey sets the width of new tensors, and draws samples from the global generators."""
    before, state = torch.get_default_dtype(), torch.get_rng_state()
    yield
    torch.set_default_dtype(before)
    torch.set_rng_state(state)


@pytest.mark.parametrize("part", range(PARTS))
def test_samples_agree_with_torch_or_are_refused(part):
    known = 0
    for op in operators()[part::PARTS]:
        if title(op) in AGAIN:
            continue
        findings = list(survey(op, SHORT))
        for finding in findings:
            assert finding.outcome.status is not Status.WRONG, f"{title(op)}: {finding}"
        known += any(finding.outcome.status in (Status.PASSED, Status.ANNOTATED) for finding in findings)
    assert known >= FEWEST // PARTS - 8

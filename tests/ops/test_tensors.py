"""Every function of torch on tensors that kernels know, interpreted, against torch."""

import pytest
import torch

from tests.ops import vision_samples  # noqa: F401
from tests.ops.tensor_oracle import check
from tests.ops.tensor_samples import SAMPLES, arguments

CASES = [(sample, call) for sample in SAMPLES for call in sample.calls]


@pytest.fixture(autouse=True)
def double():
    """New tensors of torch have the width that the interpreter computes with."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.mark.parametrize(("sample", "call"), CASES, ids=[f"{sample.name}-{k}" for k, (sample, _) in enumerate(CASES)])
def test_function(sample, call):
    check(sample.function, arguments(call), sample.order, sample.tolerance)

"""A part of the table of tensor functions, compiled: values and cotangents against torch, in both widths."""

import numpy as np
import pytest
import torch

from ksc.codegen import Unit
from ksc.codegen.cpp import generate
from ksc.compiler import build_many, load
from ksc.frontend import trace
from ksc.passes import optimise
from ksc.transforms import vjp
from tests.codegen.harness import STRICT, Host, call_tensors, stored_as
from tests.ops.tensor_oracle import Truth, description
from tests.ops.tensor_samples import SAMPLES, arguments

NAMES = {
    "float64": "composed matmul softmax amax_ties cumprod sort cat_5 pad_modes gather scatter_add conv2d max_pool "
    "cross_entropy group_norm solve cholesky",
    "float32": "norm topk layer_norm attention",
}
TOLERANCE = {"float32": 2e-4, "float64": 1e-9}


@pytest.fixture(autouse=True)
def double():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def source_of(sample, dtype):
    """The primal and its reverse derivative of a sample's first call, generated together."""
    program = trace(sample.function, [description(arg) for arg in arguments(sample.calls[0])]).program
    programs = [("", optimise(program)), ("v", optimise(vjp(program)))]
    return generate(Unit(sample.name, programs, dtype, kind="tensor")), dict(programs)


def ran(kernel, entry, program, args, like, dtype):
    given = [np.asarray(a.detach(), stored_as(p.type, dtype)) for a, p in zip(args, program.main.params, strict=True)]
    host = Host()
    status, outs = call_tensors(kernel, entry, program, given, [tuple(x.shape) for x in like], dtype, host)
    assert status == 0, (entry, host.error)
    return outs


def close(found, expected, dtype):
    for have, want in zip(found, expected, strict=True):
        np.testing.assert_allclose(have, want.detach().numpy(), rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_compiled(dtype):
    names = NAMES[dtype].split()
    chosen = [sample for sample in SAMPLES if sample.name in names]
    assert len(chosen) == len(names)
    sources = [source_of(sample, dtype) for sample in chosen]
    built = build_many([source for source, _ in sources], STRICT)
    for sample, (source, programs), kernel in zip(chosen, sources, map(load, built), strict=True):
        args = arguments(sample.calls[0])
        truth = Truth(sample.function, args)
        close(ran(kernel, source.entries[""], programs[""], args, truth.values, dtype), truth.values, dtype)
        back = ran(kernel, source.entries["v"], programs["v"], [*args, *truth.bars], truth.ins, dtype)
        close(back, truth.cotangents(), dtype)

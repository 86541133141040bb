"""PyTorch's own descriptions of its operators, and the calls with which it tests each of them."""

import random
import warnings
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import islice
from typing import Any

import numpy as np
import torch

from tests.ops.opinfo.spelling import Call, Form, UnspelledError, spelled


@cache
def operators() -> tuple[Any, ...]:
    """All operators that PyTorch describes. The import takes some seconds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.testing._internal.common_methods_invocations import op_db
    # The import forbids to set any flag of torch.backends from then on.
    torch.backends.__allow_nonbracketed_mutation_flag = True
    return tuple(sorted(op_db, key=lambda op: (op.name, op.variant_test_name)))


def title(op: Any) -> str:
    """The name of an operator and of its variant."""
    return f"{op.name}.{op.variant_test_name}" if op.variant_test_name else str(op.name)


def seed() -> None:
    """That of PyTorch's tests, for all generators."""
    # torch.manual_seed prints the stack for each kind of device, which takes longer than most samples.
    torch.default_generator.manual_seed(1234)
    random.seed(1234)
    np.random.seed(1234)


def drawn(samples: Iterable[Any]) -> Iterator[Any]:
    """Each sample as PyTorch's tests draw it, after the same seed.

    Their own iterator searches the stack for the test with every sample, which takes longer than to check it.
    """
    left = iter(samples)
    while True:
        seed()
        try:
            sample = next(left)
        except StopIteration:
            return
        yield sample


def calls(op: Any, form: Form, dtype: torch.dtype, limit: int | None = None) -> Iterator[Call | UnspelledError]:
    """The sample inputs of an operator in one dtype, each as a call in the given form."""
    if dtype not in op.supported_dtypes("cpu"):
        return
    seed()
    differentiable = dtype.is_floating_point and op.supports_autograd
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for sample in islice(drawn(op.sample_inputs_func(op, "cpu", dtype, differentiable)), limit):
            if form.inplace and sample.broadcasts_input:
                continue
            yield spelled(form, sample)


def wrong_calls(op: Any, form: Form) -> Iterator[Call]:
    """The calls that PyTorch must refuse, as far as they can be written in this form."""
    if op.error_inputs_func is None:
        return
    seed()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for error in drawn(op.error_inputs_func(op, "cpu")):
            call = spelled(form, error.sample_input)
            if isinstance(call, Call):
                yield call

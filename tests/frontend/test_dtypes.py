"""Questions about the dtype, device and kind of a value: PyTorch's answer, or a refusal where only the caller knows."""

import pytest
import torch
from tensor_oracle import check, described

from ksc.errors import KnossosError
from ksc.frontend import trace

X = torch.linspace(-1.0, 2.0, 3, dtype=torch.float64)
WANTED = torch.float32
SEVERAL = frozenset({torch.float32, torch.float64})


def of_two_tensors(x, y):
    same = x.dtype == y.dtype and x.dtype is y.dtype and x.device == y.device
    return x + y if same and x.dtype in (y.dtype, torch.int64) else x - y


def of_another_kind(x, i):
    other = x.dtype != i.dtype and x.dtype != torch.int64 and x.dtype is not torch.bool
    return x * 2.0 if other and i.dtype == torch.int64 and (i > 0).dtype == torch.bool else x


def of_a_kind(x, i):
    return x * 2.0 if x.dtype.is_floating_point and not i.dtype.is_floating_point else x


def no_device_is_none(x):
    return x * 2.0 if x.device is None else x


def tensors_and_numbers(x):
    s, n = torch.sum(x), float(torch.sum(x))
    assert torch.is_tensor(x) and isinstance(s, torch.Tensor) and not torch.is_tensor(n)
    return s * n


def narrow_integer(x):
    return x if (x > 0).long().dtype == torch.int32 else x * 2.0


@pytest.mark.parametrize(
    ("fn", "args"),
    [
        (of_two_tensors, (X, X * 2.0)),
        (of_another_kind, (X, torch.tensor([1, 2]))),
        (of_a_kind, (X, torch.tensor([1, 2]))),
        (no_device_is_none, (X,)),
        (narrow_integer, (X,)),
        (tensors_and_numbers, (X,)),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_answers_are_those_of_torch(fn, args):
    check(fn, *args)


def equal(x):
    return x if x.dtype == torch.float32 else x * 2.0


def unequal(x):
    return x if torch.float64 != x.dtype else x * 2.0


def identical(x):
    return x if x.dtype is WANTED else x * 2.0


def in_a_tuple(x):
    return x if x.dtype in (torch.float16, torch.float32) else x * 2.0


def in_a_frozenset(x):
    return x if x.dtype in SEVERAL else x * 2.0


def size_of_an_element(x):
    return x * x.dtype.itemsize


def type_of_a_device(x):
    return x if x.device.type == "cuda" else x * 2.0


def device_by_name(x):
    return x if x.device == "cuda" else x * 2.0


def text_of_a_dtype(x):
    return x if str(x.dtype) == "torch.float32" else x * 2.0


def number_or_tensor(x):
    s = 0.0
    for row in x:
        s = s + row
    return s * 2.0 if isinstance(s, torch.Tensor) else s


@pytest.mark.parametrize(
    ("fn", "message"),
    [
        (equal, "compared with torch.float32"),
        (unequal, "compared with torch.float64"),
        (identical, "compared with torch.float32"),
        (in_a_tuple, "compared with torch.float16"),
        (in_a_frozenset, "compared with torch.float"),
        (size_of_an_element, "'itemsize' of a tensor's dtype"),
        (type_of_a_device, "'type' of a tensor's device"),
        (device_by_name, "compared with cuda"),
        (text_of_a_dtype, "known when the kernel is called"),
        (number_or_tensor, "whether this is a number or a tensor"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_only_the_caller_knows_is_refused(fn, message):
    with pytest.raises(KnossosError, match=message):
        trace(fn, [described(X)])

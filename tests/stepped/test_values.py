"""Interpreted kernels give what compiled ones do: values, derivatives, errors, everywhere that PyTorch calls them."""

import numpy as np
import pytest
import torch

import ksc as knossos
from ksc.errors import ArgumentError, KernelRuntimeError
from tests.stepped import programs

torch.manual_seed(0)
X = torch.linspace(-1.5, 2.5, 12, dtype=torch.float64)
CASES = {
    "relu3": (knossos.elementwise, programs.relu3, (X.reshape(3, 4),)),
    "root": (knossos.vmap, programs.root, (X.exp(),)),
    "power": (knossos.register, programs.power, (torch.tensor(1.5, dtype=torch.float64), 4)),
    "sqrl": (knossos.register, programs.sqrl, (X.reshape(3, 4),)),
    "vsqrl": (knossos.vmap, programs.sqrl, (X.reshape(2, 2, 3),)),
    "prefix_norms": (knossos.register, programs.prefix_norms, (4 * X,)),
    "swapped": (knossos.register, programs.swapped, (X, 3)),
    "largest": (knossos.register, programs.largest, (X.sin(),)),
    "scaled_rows": (knossos.register, programs.scaled_rows, (X.reshape(3, 4), X[:4])),
}


def flat(found):
    return [found] if not isinstance(found, tuple | list) else [leaf for part in found for leaf in flat(part)]


def agree(ours, theirs, tolerance=1e-12):
    ours, theirs = flat(ours), flat(theirs)
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(torch.as_tensor(a), torch.as_tensor(b), rtol=tolerance, atol=tolerance)


@pytest.fixture(params=CASES, name="case")
def _case(request):
    decorator, fn, args = CASES[request.param]
    return decorator(fn, backend="interpret"), decorator(fn), args


def seeds(results):
    return [torch.ones_like(r) * 0.75 for r in flat(results) if torch.is_tensor(r) and r.is_floating_point()]


def test_values(case):
    stepped, compiled, args = case
    agree(stepped(*args), compiled(*args))


def test_vjp_and_jvp(case):
    stepped, compiled, args = case
    bars = seeds(compiled(*args))
    agree(stepped.vjp(*args, *bars), compiled.vjp(*args, *bars))
    dots = [torch.ones_like(a) for a in args if torch.is_tensor(a)]
    agree(stepped.jvp(*args, *dots), compiled.jvp(*args, *dots))


def test_autograd(case):
    stepped, compiled, args = case
    found = []
    for kernel in (stepped, compiled):
        given = [a.clone().requires_grad_() if torch.is_tensor(a) else a for a in args]
        results = [r for r in flat(kernel(*given)) if r.is_floating_point()]
        sum(r.sum() for r in results).backward()
        found.append([a.grad for a in given if torch.is_tensor(a)])
    agree(*found)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_dtypes(dtype):
    x = X.to(dtype).reshape(3, 4)
    for decorator, fn in ((knossos.elementwise, programs.relu3), (knossos.register, programs.sqrl)):
        ours, theirs = decorator(fn, backend="interpret")(x), decorator(fn)(x)
        assert ours.dtype == dtype
        torch.testing.assert_close(ours, theirs)


def test_layouts():
    stepped, compiled = (knossos.register(programs.scaled_rows, backend=b) for b in ("interpret", "compile"))
    x = X.reshape(4, 3).T
    agree(stepped(x, X[::3]), compiled(x, X[::3]))
    relu3 = knossos.elementwise(programs.relu3, backend="interpret")
    agree(relu3(x), knossos.elementwise(programs.relu3)(x))
    assert relu3(torch.empty(0)).shape == (0,)
    assert relu3(0.5) == pytest.approx(1 / 24)


def test_second_order_and_func():
    stepped, compiled = (knossos.register(programs.sqrl, backend=b) for b in ("interpret", "compile"))
    x = X.reshape(3, 4)
    agree(knossos.hessian(stepped)(x), knossos.hessian(compiled)(x))
    agree(torch.func.hessian(stepped)(x), torch.func.hessian(compiled)(x))
    agree(torch.func.vmap(torch.func.grad(stepped))(x[None]), compiled.grad(x)[None])
    agree(stepped.grad(x), compiled.grad(x))


def test_errors_are_those_of_the_program():
    stepped = knossos.register(programs.at, backend="interpret")
    assert stepped(X, 2) == X[2]
    with pytest.raises(KernelRuntimeError, match="out of range") as stopped:
        stepped(X, 99)
    assert stopped.value.span.text == "return x[i]"


def test_deep_recursion_is_an_error():
    stepped = knossos.register(programs.power, backend="interpret")
    with pytest.raises(KernelRuntimeError, match="too deep"):
        stepped(1.0, 100_000)
    assert stepped(2.0, 3) == 8.0


def test_the_backend_stays_with_the_kernel():
    stepped = knossos.register(programs.sqrl, backend="interpret")
    for derived in (knossos.vmap(stepped), knossos.grad(stepped)):
        assert derived.mapping.backend == "interpret"
    assert knossos.vmap(stepped, backend="compile").mapping.backend == "compile"
    with pytest.raises(ArgumentError, match="no backend 'python'"):
        knossos.register(programs.sqrl, backend="python")


def test_many_lanes_in_several_threads():
    x = torch.rand(70_000, dtype=torch.float64)
    np.testing.assert_allclose(knossos.elementwise(programs.relu3, backend="interpret")(x), x**3 / 3, rtol=1e-12)

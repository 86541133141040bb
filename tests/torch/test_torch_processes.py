"""Kernels that are copied, pickled and saved; that run in threads, in other processes, and in distributed training."""

from __future__ import annotations

import copy
import io
import pickle
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing as mp
from torch.testing import assert_close
from torch_kernels import COMPILED, Plugged, as_tuple, relu3, total
from torch_workers import Samples, add_gradient, by_name, gradients, network, run_ddp

from tests.processes import run_python

# A process that is spawned imports PyTorch, which is all that takes long.
METHODS = [*((kernel, "fork") for kernel in COMPILED), (COMPILED[1], "spawn")]


def test_deepcopy_and_pickle_of_a_kernel(plugged: Plugged) -> None:
    for call in (plugged.call, plugged.vjp, plugged.jvp, plugged.value_and_vjp):
        assert copy.deepcopy(call) is call
        assert copy.copy(call) is not None
        assert pickle.loads(pickle.dumps(call)) is call


def test_deepcopy_and_pickle_of_a_module(plugged: Plugged) -> None:
    module = plugged.module().eval()
    args = plugged.inputs(3, 2)
    for copied in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert copied is not module
        assert not copied.training
        assert_close(copied(*args), plugged.reference(*args))
    assert plugged.name.removeprefix("compiled-") in repr(module)
    assert not list(module.parameters())
    assert module.state_dict() == {}


def test_an_operator_without_a_reference_does_not_pickle() -> None:
    from torch_kernels import X, loader

    from ksc.torch import OpSpec, ResultSpec, declare

    operator = declare(OpSpec("test_no_reference", (X,), (ResultSpec(),)), loader("square"))
    with pytest.raises(TypeError, match="no reference to pickle it by"):
        pickle.dumps(operator.call)


def test_save_and_load(compiled: Plugged) -> None:
    model = network(compiled)
    x = torch.rand(4, 6, dtype=torch.float64)
    for saved in (compiled.module(), model):
        file = io.BytesIO()
        torch.save(saved, file)
        file.seek(0)
        loaded = torch.load(file, weights_only=False)
        assert type(loaded) is type(saved)
    assert_close(gradients(loaded, x), gradients(model, x))
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    other = network(compiled)
    for parameter in other.parameters():
        torch.nn.init.zeros_(parameter)
    other.load_state_dict(torch.load(file))
    assert_close(gradients(other, x), gradients(model, x))


_LOAD = """
import sys, torch
sys.path[:0] = sys.argv[2:]
model, x, want = torch.load(sys.argv[1], weights_only=False)
torch.testing.assert_close(model(x), want)
print("loaded")
"""


def test_load_in_a_new_process(compiled: Plugged, tmp_path: Path) -> None:
    model = network(compiled)
    x = torch.rand(4, 6, dtype=torch.float64)
    path = tmp_path / "model.pt"
    torch.save((model, x, model(x).detach()), path)
    here = Path(__file__).resolve().parent
    done = run_python("-c", _LOAD, path, here, here.parents[1])
    assert done.stdout.strip() == "loaded", done.stderr


@pytest.mark.parametrize(("compiled", "method"), METHODS, indirect=["compiled"])
def test_shared_memory_and_worker_processes(compiled: Plugged, method: str) -> None:
    args = compiled.inputs(4, 3)
    wanted = [arg.clone().requires_grad_() for arg in args]
    want = torch.autograd.grad(total(compiled.reference(*wanted)), wanted[0])[0]
    module = compiled.module().share_memory()
    if method == "fork":
        total(module(*wanted)).backward()
    shared = [arg.share_memory_() for arg in args]
    out = torch.zeros(4, 3, dtype=torch.float64).share_memory_()
    worker = mp.get_context(method).Process(target=add_gradient, args=(compiled.name, module, shared, out))
    worker.start()
    worker.join(120)
    assert worker.exitcode == 0
    assert_close(out, want)


@pytest.mark.parametrize(("compiled", "method"), METHODS, indirect=["compiled"])
def test_data_loader_workers(compiled: Plugged, method: str) -> None:
    args = compiled.inputs(6, 3)
    loader = torch.utils.data.DataLoader(
        Samples(compiled.call, args), batch_size=2, num_workers=1, multiprocessing_context=method
    )
    batches = [as_tuple(batch) for batch in loader]
    got = [torch.cat(parts) for parts in zip(*batches, strict=True)]
    assert_close(got, list(as_tuple(compiled.reference(*args))))


def in_threads(count: int, work: Any) -> list[Any]:
    results: list[Any] = [None] * count
    errors: list[BaseException] = []

    def run(i: int) -> None:
        try:
            results[i] = work(i)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    return results


def test_four_threads_at_once(plugged: Plugged) -> None:
    def work(i: int) -> list[Any]:
        outcome = []
        for size in (3, 1000, 50_000):
            args = plugged.inputs(size, 2, grad=True, seed=i)
            outcome.append(torch.autograd.grad(total(plugged.call(*args)), args))
        return outcome

    for i, got in enumerate(in_threads(4, work)):
        for size, grads in zip((3, 1000, 50_000), got, strict=True):
            args = plugged.inputs(size, 2, grad=True, seed=i)
            assert_close(grads, torch.autograd.grad(total(plugged.reference(*args)), args))


def test_replicas_in_threads_over_chunks_of_a_batch(compiled: Plugged) -> None:
    model = network(compiled)
    x = torch.rand(8, 6, dtype=torch.float64)
    want = gradients(model, x)
    outputs = in_threads(2, lambda i: copy.deepcopy(model)(x.chunk(2)[i]))
    assert_close(torch.cat(outputs), model(x))
    # As DataParallel gathers them: the replicas' parameters are those of the model.
    parts = in_threads(2, lambda i: model(x.chunk(2)[i]))
    assert_close(list(torch.autograd.grad(torch.cat(parts).mean(), list(model.parameters()))), want)


def test_distributed_training_equals_the_full_batch(tmp_path: Path) -> None:
    names = [kernel.name for kernel in COMPILED]
    x = torch.rand(8, 6, dtype=torch.float64)
    torch.save(x, tmp_path / "x.pt")
    mp.spawn(run_ddp, args=(2, names, str(tmp_path)), nprocs=2)
    for name in names:
        want = gradients(network(by_name(name)), x)
        for rank in range(2):
            assert_close(torch.load(tmp_path / f"{name}.{rank}.pt"), want)


def test_a_fork_after_parallel_work() -> None:
    relu3.call(torch.rand(200_000))
    receive, send = mp.get_context("fork").Pipe(duplex=False)

    def work() -> None:
        torch.set_num_threads(1)
        send.send(relu3.call(torch.full((200_000,), 2.0)).sum().item())

    worker = mp.get_context("fork").Process(target=work)
    worker.start()
    worker.join(60)
    assert worker.exitcode == 0
    assert receive.recv() == pytest.approx(200_000 * (2 - 2 / 3), rel=1e-5)

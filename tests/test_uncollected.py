"""Kernels are made without automatic garbage collections, which are as they were afterwards."""

import gc
import os
import threading

import pytest
import torch

import ksc as knossos
from ksc import lowering, passes
from ksc.codegen import cpp
from ksc.uncollected import uncollected


def cube(x: float) -> float:
    return x * x * x


@pytest.fixture
def collector():
    """Leaves the collector as it was."""
    was = gc.isenabled()
    yield
    (gc.enable if was else gc.disable)()


def test_collections_wait_while_a_kernel_is_made(collector, monkeypatch):
    gc.enable()
    seen = []
    for module, name in ((lowering, "lower"), (passes, "optimise"), (cpp, "generate")):
        plain = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *args, plain=plain: seen.append(gc.isenabled()) or plain(*args))
    special, _ = knossos.elementwise(cube).example([1.0])
    special.source("", torch.float64)
    assert seen == [False] * 5  # traced, optimised in three derivations that share a source, and printed
    assert gc.isenabled()


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_is_left_as_it_was(collector, enabled):
    (gc.enable if enabled else gc.disable)()
    with pytest.raises(KeyError), uncollected(), uncollected():
        assert not gc.isenabled()
        raise KeyError
    assert gc.isenabled() is enabled


def test_the_last_thread_turns_it_on(collector):
    gc.enable()
    inside, leave = threading.Event(), threading.Event()

    def make():
        with uncollected():
            inside.set()
            leave.wait(10)

    other = threading.Thread(target=make)
    with uncollected():
        other.start()
        inside.wait(10)
    assert not gc.isenabled()
    leave.set()
    other.join()
    assert gc.isenabled()


def test_a_child_of_a_fork_does_not_wait_for_threads_that_it_has_not(collector):
    gc.enable()
    inside, leave = threading.Event(), threading.Event()

    def make():
        with uncollected():
            inside.set()
            leave.wait(10)

    other = threading.Thread(target=make)
    other.start()
    inside.wait(10)
    child = os.fork()
    if child == 0:
        os._exit(0 if gc.isenabled() else 1)
    leave.set()
    other.join()
    assert os.waitpid(child, 0)[1] == 0

"""Sharding rules of operators: what may be sharded in each derivation, and DTensors on two processes."""

import subprocess
import sys
from pathlib import Path

import pytest
from torch.distributed.tensor import Partial, Replicate, Shard

from ksc.torch.sharding import elementwise_rules, roles, tensor_rules
from ksc.torch.spec import ArgSpec, OpSpec, ResultSpec

BATCH = OpSpec(
    name="f",
    args=(
        ArgSpec("x", sizes=(None, None), mapped=(True,)),
        ArgSpec("w", sizes=(None,), mapped=(False,)),
        ArgSpec("n", "int", is_number=True, mapped=(False,)),
    ),
    results=(ResultSpec(rank=2), ResultSpec("int", rank=1)),
    lift="tensor",
)
S, R, P = Shard(0), Replicate(), Partial()


@pytest.mark.parametrize(
    ("derivation", "results", "args"),
    [
        ("", [S, S], [S, R, None]),
        ("v", [S, P], [S, R, None, S]),
        ("j", [S], [S, R, None, S, R]),
        ("j01", [S], [S, R, None, R]),
        ("vv", [S, P, S], [S, R, None, S, S, R]),
        ("vv01", [S, P, S], [S, R, None, S, R]),
        ("vj", [S, P], [S, R, None, S, S, R, S]),
        ("r", [S, P], [S, R, None, S, S]),
        ("r01", [S, P], [S, R, None, S]),
        # The vmap has its own dimension in front, in which what is not mapped is not sharded either.
        ("m100", [Shard(1), Shard(1)], [Shard(1), R, None]),
        ("vm1101", [Shard(1), P], [Shard(1), R, None, Shard(1)]),
    ],
)
def test_each_derivation_is_sharded_over_the_mapped_dimension(derivation, results, args):
    rules = tensor_rules(roles(BATCH, derivation))
    assert rules[0] == ([R] * len(results), [None if arg is None else R for arg in args])
    assert rules[-1] == (results, args)


def test_every_level_of_mapping_may_be_sharded():
    args = (ArgSpec("x", sizes=(None,) * 3, mapped=(True, True)), ArgSpec("y", sizes=(None,) * 2, mapped=(False, True)))
    rules = tensor_rules(roles(OpSpec("g", args, (ResultSpec(rank=3),), "tensor"), "v"))
    assert rules[1:] == [([S, P], [S, R, S]), ([Shard(1), S], [Shard(1), S, Shard(1)])]


def test_what_is_not_mapped_is_replicated():
    spec = OpSpec("h", (ArgSpec("x", sizes=(None,)),), (ResultSpec(),), "tensor")
    assert tensor_rules(roles(spec, "v")) == [([R], [R, R])]


def test_dimensions_that_broadcast_are_replicated():
    rules = elementwise_rules([(4, 1, 3), (2, 3), ()], 2)
    assert rules[1:] == [
        ([S, S], [S, R, R]),
        ([Shard(1), Shard(1)], [R, S, R]),
        ([Shard(2), Shard(2)], [Shard(2), Shard(1), R]),
    ]


def test_kernels_run_on_dtensors_without_a_gather(tmp_path):
    worker = Path(__file__).with_name("sharding_worker.py")
    command = [sys.executable, str(worker)]
    ranks = [
        subprocess.Popen(
            [*command, str(rank), str(tmp_path / "store")], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for rank in range(2)
    ]
    try:
        said = [rank.communicate(timeout=900)[0] for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    assert [rank.returncode for rank in ranks] == [0, 0], "\n".join(said)

"""The derivatives and vmap: each takes a program and gives one, so they compose in any order and to any depth."""

from ksc.transforms.forward.transform import jvp
from ksc.transforms.jacobian import jacobian, row_blocks
from ksc.transforms.reverse.transform import vjp
from ksc.transforms.seeds import seed_ones
from ksc.transforms.vmap import vmap

__all__ = ["jacobian", "jvp", "row_blocks", "seed_ones", "vjp", "vmap"]

"""What a kernel tells the torch side about itself: plain data, no torch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import torch

    from ksc.codegen.cuda.cut import Cut
    from ksc.ir.nodes import Span
    from ksc.ir.sizes import ShapeProgram

Kind = Literal["float", "int", "bool"]
Lift = Literal["broadcast", "same", "scalar", "tensor"]


@dataclass(frozen=True, slots=True)
class ArgSpec:
    """An argument of a kernel.

    Args:
        name: as the user wrote it; error messages use it, and the operator's schema.
        kind: ``"float"`` carries derivatives; ``"int"`` (int64 in the kernel) and ``"bool"`` carry none.
        shared: one number for all lanes, as ``in_dims=None`` says: a Python number or a 0-d tensor.
        sizes: of a tensor kernel's argument: an int where only one size fits, else None; () for a number or 0-d tensor.
        mapped: at each level of mapping, the outermost first, whether this argument is. The mapped dimensions are the
            first: they do not count in promotion, and may well be of size 1.
        is_number: a number in the operator's schema, since sizes depend on it (``shapes.values_used``).
    """

    name: str
    kind: Kind = "float"
    shared: bool = False
    sizes: tuple[int | None, ...] = ()
    mapped: tuple[bool, ...] = ()
    is_number: bool = False

    @property
    def lanes(self) -> int:
        """How many of the dimensions are mapped."""
        return sum(self.mapped)


@dataclass(frozen=True, slots=True)
class ResultSpec:
    """A result of a kernel; ``name`` only shows in the schemas of derivatives, ``rank`` is for tensor kernels."""

    kind: Kind = "float"
    name: str = "result"
    rank: int = 0


@dataclass(frozen=True, slots=True)
class OpSpec:
    """A scalar function that is lifted to tensors, and how; or a function of tensors.

    Args:
        name: the operator becomes ``torch.ops.knossos.<name>``: an identifier, the same in every process, and one
            that no other function has (a hash of the program in it makes sure).
        args: in the order of the call.
        results: flat; one result is returned as a tensor, several as a tuple.
        lift: ``"broadcast"`` as PyTorch's elementwise operators; ``"same"`` where mapped tensors must have equal shapes
            (``vmap``); ``"scalar"`` where every argument is a number or a 0-d tensor (``register``); ``"tensor"`` where
            the function itself takes and gives tensors.
        partial_seeds: the loader knows derivations with digits, in which some seeds are zero and left out. Tensor
            kernels always do.
        shapes: the sizes of a tensor kernel's results.
        doc: the user's docstring.
        span: where the user's function stands; errors of a running kernel name its file.
    """

    name: str
    args: tuple[ArgSpec, ...]
    results: tuple[ResultSpec, ...]
    lift: Lift = "broadcast"
    partial_seeds: bool = False
    shapes: ShapeProgram | None = None
    doc: str = ""
    span: Span | None = None

    @property
    def title(self) -> str:
        """How messages call the kernel: by the user's name, without what makes the operator's name unique."""
        return re.sub(r"_[0-9a-f]{12}_[a-z]+$", "", self.name)

    @property
    def float_args(self) -> tuple[int, ...]:
        """The positions of the arguments that carry derivatives."""
        return tuple(i for i, arg in enumerate(self.args) if arg.kind == "float")

    @property
    def float_results(self) -> tuple[int, ...]:
        """The positions of the results that carry derivatives."""
        return tuple(i for i, result in enumerate(self.results) if result.kind == "float")


@dataclass(frozen=True, slots=True)
class LoadedEntry:
    """A compiled entry: ``ks_elementwise_entry`` or, of a tensor kernel, ``ks_tensor_entry`` of prelude/ks/runtime.h.

    For a GPU it is the ``ks_cuda_kernel`` of prelude/ks/cuda/device.h.

    ``keepalive`` (the loaded library) is held for as long as the operator, that is until the process ends.
    """

    address: int
    keepalive: Any = None


Loader = Callable[[str, "torch.dtype"], LoadedEntry]
"""``loader(derivation, dtype)`` compiles or finds an entry.

``dtype`` is float32, float64, float16 or bfloat16: the storage of Float arguments and results. A derivation is a
string of letters, leftmost applied first: ``""`` the primal, ``"v"`` its vjp, ``"j"`` its jvp, ``"vj"`` the jvp of the
vjp; a last ``"b"`` gives the results and then the cotangents. Where ``partial_seeds`` holds, a letter may be followed
by one digit for each seed (each float result for ``v``, each float argument for ``j``): the entry takes only the seeds
with a 1, and the others are zero. Of a tensor kernel there is also ``"m"``, its vmap, followed by a digit for each
argument, 1 where it is mapped; by none where all are. And ``"r"`` is the vjp whose entry takes results between the
arguments and the cotangents: a digit for each float result says whether it is handed over, and after these one for each
whether its cotangent is; none where all are. It is called once for each pair, on any thread; what it raises
reaches the caller.
"""

DeviceLoader = Callable[[str, "torch.dtype", str, bool], LoadedEntry]
"""``device_loader(derivation, dtype, device_type, wide)``: the same on an accelerator, such as ``"cuda"``.

One that is not ``wide`` may stop with KS_ERROR_OFFSETS where a tensor has 2^31 elements; the wide one is called then.
"""


class Cuts(Protocol):
    """What an accelerator runs instead of a derivation whose products of matrices are large."""

    def cut(self, derivation: str) -> Cut | None:
        """The steps; None where it stays whole."""

    def load_parts(self, derivation: str, dtype: torch.dtype, device: str, wide: bool) -> tuple[LoadedEntry, ...]:
        """The kernels of these steps, in order, of float32 or float64, on a kind of accelerator."""


_STEP = re.compile(r"([vjbmr])([01]*)")


def derivation_steps(derivation: str) -> Iterator[tuple[str, str]]:
    """The letters of a derivation, each with the digits behind it. Raises ValueError where it is none."""
    if re.fullmatch(f"(?:{_STEP.pattern})*", derivation) is None:
        raise ValueError(f"{derivation!r} is not a derivation")
    for step in _STEP.finditer(derivation):
        yield step[1], step[2]


def backward_derivation(handed: str) -> str:
    """What autograd calls where all results have a cotangent; ``handed`` says which it is handed, "" for none."""
    if not handed:
        return "v"
    return "r" if "0" not in handed else f"r{handed}{'1' * len(handed)}"

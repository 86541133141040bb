"""What a code generator takes and gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ksc.ir.nodes import Program, Span

Dtype = Literal["float32", "float64", "float16", "bfloat16"]
Kind = Literal["elementwise", "tensor"]

SUFFIXES: Mapping[str, str] = {
    "v": "_vjp",
    "j": "_jvp",
    "b": "_value_and_vjp",
    "m": "_vmap",
    "r": "_backward",
    "p": "_part",
}
"""What each letter of a derivation adds to the name of an entry; docs/design/0002 defines the letters.

A part is a kernel of a derivation that is cut (``ksc.codegen.cuda.cut``), by its number."""


@dataclass(frozen=True, slots=True)
class Unit:
    """The programs that become one source file.

    Attributes:
        name: the user's name of the kernel.
        programs: each derivation (``""``, ``"v"``, ``"vj"`` …) with its program, in the order of the file.
        dtype: how Float arguments and results are stored; half precision computes in float.
        kind: the calling convention of the entries, as ``prelude/ks/runtime.h`` defines it.
        doc: the user's docstring.
        source: where the user's function stands, such as ``relu3.py:9``.
        offsets: in how many bits a GPU computes places in tensors; with 32 a kernel stops where one has 2^31 elements.
    """

    name: str
    programs: Sequence[tuple[str, Program]]
    dtype: Dtype = "float32"
    kind: Kind = "elementwise"
    doc: str = ""
    source: str = ""
    offsets: Literal[32, 64] = 32


@dataclass(frozen=True, slots=True)
class GeneratedSource:
    """The text of one source file.

    Attributes:
        name: the unit's name, a readable part of file names.
        text: the source.
        entries: the symbol of each derivation.
        line_map: for a line of the text, counted from 1, the place in the user's source that it came from.
        dtype: the unit's dtype.
        copies: how many places copy a tensor so that it can be changed; a comment at each says why.
        folded: for a line of the text, all other places that parts of it came from.
    """

    name: str
    text: str
    entries: Mapping[str, str] = field(default_factory=dict)
    line_map: Mapping[int, Span] = field(default_factory=dict)
    dtype: Dtype = "float32"
    copies: int = 0
    folded: Mapping[int, tuple[Span, ...]] = field(default_factory=dict)

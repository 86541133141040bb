"""The functions of an exported library that C calls: what the header says of them, and what stands behind them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from ksc.codegen.cpp.generate import derivation_suffix
from ksc.exports.model import SUFFIXES, ExportedKernel, Library
from ksc.exports.signature import SizeRef, Slot
from ksc.ir.sizes import ShapeProgram, size_name

FLOATS: dict[torch.dtype, str] = {
    torch.float32: "float",
    torch.float64: "double",
    torch.float16: "uint16_t",
    torch.bfloat16: "uint16_t",
}
"""How C spells the numbers of each dtype; half precision goes by its bits."""

_INFIX = {"eq": "==", "ne": "!=", "lt": "<", "lte": "<=", "gt": ">", "gte": ">=", "and": "&&", "or": "||"}
_SPOKEN = {"add": "+", "sub": "-", "mul": "*", "idiv": "//", "imod": "%", **_INFIX}


@dataclass(frozen=True, slots=True)
class CFunction:
    """One function.

    Attributes:
        name: as C calls it.
        title: the first line of its comment.
        notes: the lines about its parameters.
        parameters: their declarations, after the context.
        body: the lines of the call, in ``src/``.
        entry: the symbol of the kernel's entry behind it; empty for one that only computes sizes.
    """

    name: str
    title: str
    notes: Sequence[str]
    parameters: Sequence[str]
    body: Sequence[str]
    entry: str = ""


class KernelApi:
    """What is exported of one kernel.

    Attributes:
        kernel: the kernel.
        sizes: the function for the sizes of results, None where no result is a tensor.
        functions: those of all derivations and dtypes.
    """

    def __init__(self, library: Library, kernel: ExportedKernel, symbols: dict[torch.dtype, dict[str, str]]) -> None:
        self.library = library.name
        self.kernel = kernel
        self._primal = kernel.signature("")
        self._shapes = kernel.spec.shapes or ShapeProgram(results=((),) * len(kernel.spec.results))
        self.sizes = self._sizes_function() if any(self._shapes.results) else None
        self.functions = [
            self._function(derivation, dtype, symbols[dtype][derivation])
            for dtype in kernel.dtypes
            for derivation in kernel.derivations
        ]

    @property
    def internal(self) -> str:
        """What the file-local names of the kernel begin with."""
        return self.kernel.name

    @property
    def size_struct(self) -> list[str]:
        """Members of the struct that holds the sizes of the results."""
        return [f"int64_t {slot.name}[{len(slot.sizes)}];" for slot in self._primal.results if slot.sizes]

    @property
    def size_parameters(self) -> list[str]:
        """What the sizes of results depend on."""
        found = [f"const int64_t *{self._size_owner(k)}" for k in self._sized_args]
        return found + [f"{_c_number(self._primal.args[k])} {self._primal.args[k].name}" for k in self._numbers]

    @property
    def unread_size_parameters(self) -> list[str]:
        """Those of ``size_parameters`` that no size is computed from."""
        read = {op.a for op in self._shapes.ops if op.code == "size"}
        return [self._size_owner(k) for k in self._sized_args if k not in read]

    @property
    def size_steps(self) -> list[str]:
        """The statements that compute the sizes of the results into the struct ``found``."""
        lines = []
        for k, op in enumerate(self._shapes.ops):
            lines.append(f"const int64_t s{k} = {self._cpp(op.code, op.a, op.b, op.c)};")
        for slot, result, where in zip(self._primal.results, self._shapes.results, self._shapes.lines, strict=True):
            lines += [
                f"found.{slot.name}[{d}] = ks::size_at(s{size}, {line});"
                for d, (size, line) in enumerate(zip(result, where, strict=True))
            ]
        return lines

    def _cpp(self, code: str, a: int, b: int, c: int) -> str:
        match code:
            case "const":
                return f"INT64_C({a})"
            case "size":
                return f"{self._size_owner(a)}[{b}]"
            case "value":
                return self._primal.args[a].name
            case "not":
                return f"s{a} == 0"
            case "select":
                return f"s{a} != 0 ? s{b} : s{c}"
            case "and" | "or":
                return f"s{a} != 0 {_INFIX[code]} s{b} != 0"
            case _ if code in _INFIX:
                return f"s{a} {_INFIX[code]} s{b}"
            case _:
                return f"ks::size_arithmetic::{code}(s{a}, s{b})"

    @property
    def _sized_args(self) -> list[int]:
        """The tensors among the arguments."""
        return [k for k, slot in enumerate(self._primal.args) if slot.sizes]

    @property
    def _numbers(self) -> tuple[int, ...]:
        """The arguments whose value sizes depend on."""
        return self._shapes.values_used

    def _size_owner(self, k: int) -> str:
        return f"{self._primal.args[k].name}_sizes"

    def _sizes_function(self) -> CFunction:
        results = [slot for slot in self._primal.results if slot.sizes]
        places = [f"int64_t *{slot.name}_sizes" for slot in results]
        call = ", ".join(
            [*map(self._size_owner, self._sized_args), *(self._primal.args[k].name for k in self._numbers)]
        )
        notes = [
            *(f"{self._size_owner(k)}: {len(self._primal.args[k].sizes)} sizes" for k in self._sized_args),
            *(f"{self._primal.args[k].name}: as in the call" for k in self._numbers),
            *(f"{slot.name}_sizes: place for {len(slot.sizes)}" for slot in results),
        ]
        pointers = [*(self._size_owner(k) for k in self._sized_args), *(f"{slot.name}_sizes" for slot in results)]
        body = [
            *(f'ks::require("{name}", static_cast<const void *>({name}));' for name in pointers),
            f"const {self.internal}_sizes found = {self.internal}_sizes_of({call});",
            *(f"{slot.name}_sizes[{d}] = found.{slot.name}[{d}];" for slot in results for d in range(len(slot.sizes))),
            "return 0;",
        ]
        name = f"{self.library}_{self.kernel.name}_sizes"
        title = f"The sizes of the results of {self.kernel.name}."
        return CFunction(name, title, notes, [*self.size_parameters, *places], body)

    # The functions that compute

    def _function(self, derivation: str, dtype: torch.dtype, entry: str) -> CFunction:
        signature = self.kernel.signature(derivation)
        suffix = derivation_suffix(derivation)
        name = f"{self.library}_{self.kernel.name}{suffix}_{SUFFIXES[dtype]}"
        where = f" ({self.kernel.source})" if self.kernel.source else ""
        spoken = f"{_SPOKEN_DERIVATIONS.get(derivation, suffix.strip('_') + ' of ')}{self.kernel.name}"
        title = f"{spoken}{where}, {str(dtype).removeprefix('torch.')}."
        notes = [f"{slot.name}: {self._note(slot, dtype, result=False)}" for slot in signature.args]
        notes += [f"{slot.name}: {self._note(slot, dtype, result=True)}" for slot in signature.results]
        if self.kernel.takes_tensors:
            parameters = [self._declared(slot, dtype, result=False) for slot in signature.args]
            parameters += [self._declared(slot, dtype, result=True) for slot in signature.results]
            body = list(self._tensor_body(signature.args, signature.results, entry))
        else:
            parameters = [] if self._is_scalar else ["int64_t n"]
            for slots, result in ((signature.args, False), (signature.results, True)):
                parameters += [part for slot in slots for part in self._lanes_declared(slot, dtype, result)]
            body = list(self._lanes_body(signature.args, signature.results, entry))
        return CFunction(name, title, notes, parameters, body, entry)

    @property
    def _is_scalar(self) -> bool:
        return self.kernel.spec.lift == "scalar"

    def _tensor_body(self, args: Sequence[Slot], results: Sequence[Slot], entry: str) -> Iterator[str]:
        primal = self._primal.args
        for slot in primal:
            if slot.sizes:
                expected = ", ".join("-1" if size is None else str(size) for size in slot.known)
                yield f'ks::require("{slot.name}", {slot.name}, {{{expected}}});'
        needs_sizes = any(ref[0] == "result" for slot in (*args, *results) for ref in slot.sizes)
        if needs_sizes:
            given = [f"{primal[k].name}.sizes" for k in self._sized_args] + [primal[k].name for k in self._numbers]
            yield f"const {self.internal}_sizes found = {self.internal}_sizes_of({', '.join(given)});"
        for slot in (*args[len(primal) :], *results):
            if slot.sizes:
                expected = ", ".join(self._size(ref) for ref in slot.sizes)
                yield f'ks::require("{slot.name}", {slot.name}, {{{expected}}});'
            elif slot in results:
                yield f'ks::require("{slot.name}", static_cast<const void *>({slot.name}));'
        operands = [f"ks::{'written' if slot.sizes else 'place'}({slot.name})" for slot in results]
        operands += [f"ks::{'read' if slot.sizes else 'number'}({slot.name})" for slot in args]
        yield f"return ks::run_tensors(rt, {entry}, {{"
        yield from (f"    {operand}," for operand in operands)
        yield "});"

    def _size(self, ref: SizeRef) -> str:
        owner, k, dim = ref
        if owner == "arg":
            return f"{self._primal.args[k].name}.sizes[{dim}]"
        return f"found.{self._primal.results[k].name}[{dim}]"

    def _lanes_body(self, args: Sequence[Slot], results: Sequence[Slot], entry: str) -> Iterator[str]:
        if self._is_scalar:
            operands = [f'ks::lanes_written("{slot.name}", {slot.name}, 1)' for slot in results]
            operands += [f"ks::shared({slot.name})" for slot in args]
        else:
            operands = [f'ks::lanes_written("{slot.name}", {slot.name}, {slot.name}_stride)' for slot in results]
            operands += [
                f"ks::shared({slot.name})"
                if slot.shared
                else f'ks::lanes_read("{slot.name}", {slot.name}, {slot.name}_stride)'
                for slot in args
            ]
        count = "1" if self._is_scalar else "n"
        yield f"return ks::run_lanes(rt, {entry}, {count}, {{"
        yield from (f"    {operand}," for operand in operands)
        yield "});"

    # Declarations

    def _declared(self, slot: Slot, dtype: torch.dtype, *, result: bool) -> str:
        if slot.sizes:
            return f"{self.library}_{element_suffix(slot, dtype)}_{'out' if result else 'in'} {slot.name}"
        return f"{element(slot, dtype)} {'*' if result else ''}{slot.name}"

    def _lanes_declared(self, slot: Slot, dtype: torch.dtype, result: bool) -> list[str]:
        type_ = element(slot, dtype)
        if not result and (self._is_scalar or slot.shared):
            return [f"{type_} {slot.name}"]
        pointer = f"{'' if result else 'const '}{type_} *{slot.name}"
        return [pointer] if self._is_scalar else [pointer, f"int64_t {slot.name}_stride"]

    # Words

    def _note(self, slot: Slot, dtype: torch.dtype, *, result: bool) -> str:
        what = _describe(slot, dtype)
        if not self.kernel.takes_tensors:
            if self._is_scalar or (slot.shared and not result):
                return what if result or self._is_scalar else f"{what}, the same for all lanes"
            return f"n lanes of {what}"
        if not slot.sizes:
            return what
        sizes = ", ".join(self._spoken_size(slot, k) for k in range(len(slot.sizes)))
        layout = "contiguous" if result else "any strides"
        return f"{what}, sizes [{sizes}], {layout}"

    def _spoken_size(self, slot: Slot, k: int) -> str:
        owner, position, dim = slot.sizes[k]
        if owner == "result":
            return self._spoken(self._shapes.results[position][dim])
        known = self._primal.args[position].known[dim]
        return str(known) if known is not None else self._argument_size(position, dim)

    def _argument_size(self, position: int, dim: int) -> str:
        of = self._primal.args[position]
        return size_name(of.name, len(of.sizes), dim)

    def _spoken(self, position: int, depth: int = 0) -> str:
        op = self._shapes.ops[position]
        if depth > 6:
            return "…"
        if op.code == "const":
            return str(op.a)
        if op.code == "size":
            return self._argument_size(op.a, op.b)
        if op.code == "value":
            return self._primal.args[op.a].name
        a = self._spoken(op.a, depth + 1)
        if op.code == "not":
            return f"not {a}"
        b = self._spoken(op.b, depth + 1)
        if op.code == "select":
            return f"({b} if {a} else {self._spoken(op.c, depth + 1)})"
        if op.code in ("min", "max"):
            return f"{op.code}({a}, {b})"
        text = f"{a} {_SPOKEN[op.code]} {b}"
        return f"({text})" if depth else text


_SPOKEN_DERIVATIONS = {
    "": "",
    "v": "The vjp of ",
    "j": "The jvp of ",
    "b": "The value and the vjp of ",
}


def element(slot: Slot, dtype: torch.dtype) -> str:
    """How C spells the type of a slot's elements."""
    return FLOATS[dtype] if slot.kind == "float" else "int64_t" if slot.kind == "int" else "bool"


def element_suffix(slot: Slot, dtype: torch.dtype) -> str:
    """The same in names."""
    return SUFFIXES[dtype] if slot.kind == "float" else "i64" if slot.kind == "int" else "bool"


def _describe(slot: Slot, dtype: torch.dtype) -> str:
    half = {torch.float16: "the bits of float16", torch.bfloat16: "the bits of bfloat16"}
    what = half.get(dtype, FLOATS[dtype]) if slot.kind == "float" else element(slot, dtype)
    if slot.name.rstrip("_0123456789").endswith("_bar"):
        return f"cotangent, {what}"
    return f"tangent, {what}" if slot.name.rstrip("_0123456789").endswith("_dot") else what


def _c_number(slot: Slot) -> str:
    return "int64_t" if slot.kind == "int" else "bool"

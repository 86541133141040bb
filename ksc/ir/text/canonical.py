"""Programs up to the identity and names of their variables, the order of their functions, and spans."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator

from ksc.ir.nodes import Atom, Block, Const, Eqn, Program, Var, walk


def alpha_equal(a: Program, b: Program) -> bool:
    """Whether two programs are the same but for the identity and names of variables, and for spans."""
    return list(_program(a)) == list(_program(b))


def fingerprint(program: Program) -> str:
    """A hash, in 64 hexadecimal digits, that is equal for programs that are ``alpha_equal``."""
    digest = hashlib.sha256()
    for token in _program(program):
        encoded = token.encode()
        digest.update(f"{len(encoded)}:".encode() + encoded)
    return digest.hexdigest()


def exact_fingerprint(program: Program) -> str:
    """A hash that also depends on what a person sees of a program: the names of variables, lines and their text."""
    digest = hashlib.sha256(fingerprint(program).encode())
    for name in sorted(program.functions):
        body = program.functions[name].body
        blocks = [body]
        for eqn in walk(body):
            blocks += eqn.blocks
            seen = [out.name for out in eqn.outs] + ([str(eqn.span.line), eqn.span.text] if eqn.span else [])
            digest.update("\0".join([*seen, "\n"]).encode())
        for block in blocks:
            digest.update("\0".join([*(param.name for param in block.params), "\n"]).encode())
    return digest.hexdigest()


def _program(program: Program) -> Iterator[str]:
    yield from ("program", program.entry)
    for name in sorted(program.boxes):
        yield from ("box", name, *map(str, program.boxes[name]))
    for name in sorted(program.functions):
        yield from ("function", name)
        yield from _block(program.functions[name].body, {})


def _block(block: Block, numbers: dict[Var, int]) -> Iterator[str]:
    yield "params"
    yield from _bind(block.params, numbers)
    for eqn in block.eqns:
        yield from _eqn(eqn, numbers)
    yield "results"
    for result in block.results:
        yield _atom(result, numbers)


def _eqn(eqn: Eqn, numbers: dict[Var, int]) -> Iterator[str]:
    yield from ("eqn", eqn.op)
    for arg in eqn.args:
        yield _atom(arg, numbers)
    for key in sorted(eqn.params):
        if key != "nested" or eqn.params[key]:
            yield from ("param", key, repr(eqn.params[key]))
    for block in eqn.blocks:
        yield "block"
        yield from _block(block, numbers)
        yield "end"
    yield "outs"
    yield from _bind(eqn.outs, numbers)


def _bind(variables: tuple[Var, ...], numbers: dict[Var, int]) -> Iterator[str]:
    for var in variables:
        numbers[var] = len(numbers)
        yield f"%{numbers[var]}:{var.type}"


def _atom(atom: Atom, numbers: dict[Var, int]) -> str:
    if isinstance(atom, Const):
        value = struct.pack("<d", atom.value).hex() if isinstance(atom.value, float) else repr(atom.value)
        return f"{value}:{atom.type}"
    return f"%{numbers[atom]}" if atom in numbers else f"unbound {atom.name}"

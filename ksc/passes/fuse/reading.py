"""How a tensor is read: where each read stands, whether its index is in range, and how often it runs.

s = (reduce add n m (lam (i j) … (index i t) …))      t has n elements and is read n m times: j repeats
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ksc.ir.nodes import Atom, Eqn, Var
from ksc.ir.types import TensorType
from ksc.passes.fuse.facts import Facts
from ksc.passes.fuse.polynomial import Polynomial
from ksc.passes.fuse.sizes import Place, Size


@dataclass(frozen=True, slots=True)
class Element:
    """A read of one element.

    Attributes:
        eqn: the ``index``.
        repeats: whether an element may be read more than once, by loops whose index the read does not depend on.
        covers: whether every element is read, unconditionally.
    """

    eqn: Eqn
    repeats: bool
    covers: bool


@dataclass(frozen=True, slots=True)
class Reading:
    """The reads of one tensor: of its elements, in range, those that are alike counted once, and any other.

    Attributes:
        elements: the different reads of elements.
        whole: whether there are other reads than these and of sizes.
        eqns: all equations that read elements.
    """

    elements: Sequence[Element]
    whole: bool
    eqns: Sequence[Eqn]


_OTHERWISE = Reading((), whole=True, eqns=())


def reading_of(
    tensor: Var, rank: int, facts: Facts, *, splits: bool = True, once: bool = False, alike: bool = False
) -> Reading:
    """How ``tensor`` is read; reads of elements have ``rank`` indices or more.

    Unless it ``splits``, what has ``rank`` indices is made in one piece: reading two parts of it reads it twice.
    Where it has to be read ``once``, no element more than that and nothing else, or by ``alike`` reads alone, and is
    not, the reading has no elements. That an index is in range is shown last, as it may take long.
    """
    alikes: dict[tuple[Place, tuple[Atom, ...]], list[Eqn]] = {}
    whole = False
    for read in facts.reads.get(tensor, ()):
        if read.eqn is not None and is_element(read.eqn, tensor, rank):
            alikes.setdefault((read.place, read.eqn.args), []).append(read.eqn)
        else:
            whole = whole or read.eqn is None or read.eqn.op != "size"
    if (once and whole) or (alike and len(alikes) > 1):
        return _OTHERWISE
    home = facts.places[tensor]
    elements = {
        key: _element(same[0], tensor, None if splits else rank, key[0], home, facts) for key, same in alikes.items()
    }
    if once and any(element.repeats for element in elements.values()):
        return _OTHERWISE
    fit = [key for key in alikes if _in_range(alikes[key][0], tensor, key[0], facts)]
    if once and len(fit) < len(alikes):
        return _OTHERWISE
    eqns = [eqn for key in fit for eqn in alikes[key]]
    return Reading([elements[key] for key in fit], whole or len(fit) < len(alikes), eqns)


def is_element(eqn: Eqn, tensor: Var, rank: int) -> bool:
    """Whether an equation reads an element of ``tensor`` by at least ``rank`` indices."""
    return eqn.op == "index" and eqn.args[0] is tensor and len(eqn.args) > rank


def _in_range(eqn: Eqn, tensor: Var, place: Place, facts: Facts) -> bool:
    at = eqn.args[1:]
    return all(facts.in_range(index, facts.size(tensor, dim), place) for dim, index in enumerate(at))


def _element(eqn: Eqn, tensor: Var, rank: int | None, place: Place, home: Place, facts: Facts) -> Element:
    assert isinstance(tensor.type, TensorType)
    indices: list[Var] = []
    repeats, conditional = False, False
    for around in place.up_to(home):
        owner = around.owner
        assert owner is not None
        match owner.op:
            case "build" | "reduce":
                indices.extend(owner.blocks[0].params)
            case "for":
                indices.append(owner.blocks[0].params[0])
                conditional = True
            case "while":
                repeats = conditional = True
            case "if":
                conditional = True
    distinct = distinct_indices(eqn.args[1:] if rank is None else eqn.args[1 : rank + 1], facts)
    if not distinct.issuperset(indices):
        repeats = True
    # As many different places as there are elements, all in range, are all of them.
    made = _product(facts.sizes(tensor), facts)
    read = _product([facts.resolve(facts.counts[index]) for index in indices], facts)
    return Element(eqn, repeats, covers=not repeats and not conditional and made is not None and made == read)


def _product(sizes: Sequence[Size], facts: Facts) -> Polynomial | None:
    product = Polynomial.constant(1)
    for size in sizes:
        product = product * facts.polynomial(size)
        if not product.is_small:
            return None
    return product


def distinct_indices(at: Sequence[Atom], facts: Facts) -> set[Var]:
    """The loop indices of which different values give different places."""
    found: set[Var] = set()
    polynomials = [facts.polynomial(index) for index in (*at, *_dividends(at, facts))]
    for polynomial in polynomials:
        varying = [s for s in polynomial.symbols() if isinstance(s, Var) and s in facts.counts and s not in found]
        if len(varying) == 1 and _is_number(polynomial.coefficient(varying[0])):
            found.add(varying[0])
        elif varying:
            found.update(_digits(polynomial, varying, facts))
    return found


def _dividends(at: Sequence[Atom], facts: Facts) -> list[Atom]:
    """What is split by a division into two of the indices."""
    divisions = [eqn for index in at if (eqn := facts.definition(index)) is not None and eqn.op in ("idiv", "imod")]
    quotients = {eqn.args for eqn in divisions if eqn.op == "idiv"}
    return [eqn.args[0] for eqn in divisions if eqn.op == "imod" and eqn.args in quotients]


def _is_number(polynomial: Polynomial | None) -> bool:
    return polynomial is not None and polynomial.value is not None


def _digits(polynomial: Polynomial, varying: Sequence[Var], facts: Facts) -> Sequence[Var]:
    """The indices that count through a number as its digits do: ``(i * m + j) * l + k``, j < m and k < l."""
    factors = {var: polynomial.coefficient(var) for var in varying}
    step = Polynomial.constant(1)
    left = list(varying)
    while left:
        digit = next((var for var in left if factors[var] == step), None)
        count = facts.count(digit) if digit is not None else None
        if digit is None or count is None:
            return ()
        left.remove(digit)
        step = step * count
    return varying

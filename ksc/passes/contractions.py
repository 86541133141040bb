"""Products of matrices that loops compute bit by bit, taken out of them.

    (build n (lam i … (build m (lam j (tanh (reduce add d (lam k (mul (index (i k) x) (index (j k) w)))))))))
      ⟶      t = (build n m (lam (i j) (reduce add d …)))      (build n (lam i … (tanh (index (i j) t)) …))

    (withacc w_bar (build n (lam i (build m (lam j (build d (lam k
      (acc_add (j k) w_bar (mul (f i j) (index (i k) x))))))))))
        ⟶
    t = (build n m (lam (i j) (f i j)))
    (build m d (lam (j k) (reduce add n (lam i (mul (index (i j) t) (index (i k) x))))))

So loops around a sum, and iterations that add to the same element, become a product of whole matrices, which is
computed tile by tile. A factor that is no element of a tensor is put into one. Nothing that may stop the kernel moves.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace

from ksc.ir.liveness import has_effect
from ksc.ir.nodes import Atom, Block, Eqn, Function, Program, Span, Var, const, walk
from ksc.ir.rewrite import effectful_functions, free_in, free_vars, with_functions
from ksc.ir.types import Float
from ksc.ops import PRIMITIVES
from ksc.passes.fuse.sizes import Place
from ksc.passes.moves import Around, Moves
from ksc.passes.product import product_of, terms_of


def take_out_sums(program: Program) -> Program:
    """Take sums of products out of the loops around them, in all functions."""
    effectful = effectful_functions(program.functions)

    def change(function: Function) -> Function:
        has_sums = any(terms_of(eqn) is not None for eqn in walk(function.body))
        return _Sums(function, effectful).run() if has_sums else function

    return with_functions(program, change)


def take_out_additions(program: Program) -> Program:
    """Take additions of products out of the loops that add them up, in all functions."""
    effectful = effectful_functions(program.functions)

    def change(function: Function) -> Function:
        adds = any(eqn.op == "acc_add" and len(eqn.args) > 2 for eqn in walk(function.body))
        return _Additions(function, effectful).run() if adds else function

    return with_functions(program, change)


class _Products(Moves):
    """What sums and additions of products have in common."""

    longest = 40

    def homes(self, nest: Sequence[Around]) -> Iterator[tuple[Eqn, Place, Sequence[Var]]]:
        """Before what, and where, something can stand in front of loops, the outermost first, and their indices."""
        for k, outer in enumerate(nest):
            anchor, home = outer.loop, outer.place
            while home.owner is not None and home.owner.op == "withacc" and home.parent is not None:
                anchor, home = home.owner, home.parent
            loops = [index for around in nest[k:] for index in around.indices]
            yield anchor, home, loops
            if home is not outer.place:
                yield outer.loop, outer.place, loops

    def maker(self, var: Var) -> Eqn | None:
        made = super().maker(var)
        return None if made is None else self.instead.get(made, made)

    def elements(
        self, name: str, value: Atom, eqns: Sequence[Eqn], indices: Sequence[Var], place: Place, span: Span | None
    ) -> Eqn | None:
        """A table of ``value``, which ``eqns`` compute, for all ``indices``, if it can be made at ``place``."""
        counts = [self.facts.counts[index] for index in indices]
        if not indices or not all(self.is_outside(count, place) for count in counts):
            return None
        return self.table(name, Block((), tuple(eqns), (value,)), indices, counts, place, span)

    def is_part(self, eqn: Eqn) -> bool:
        eqn = self.instead.get(eqn) or eqn
        record = PRIMITIVES.get(eqn.op)
        if eqn.op == "if":
            return not any(self.acts(inner) for block in eqn.blocks for inner in walk(block))
        return eqn.op in ("index", "size") or (record is not None and not self.acts(eqn))

    def acts(self, eqn: Eqn) -> bool:
        """Whether an equation does something beside what it gives."""
        return eqn.op == "acc_add" or has_effect(eqn, self.effectful, ())

    def read(self, term: Eqn, place: Place, loops: Sequence[Var]) -> tuple[Eqn, ...] | None:
        """What reads an element of a tensor that is there at ``place``; before it the tensor, if it is a new one."""
        if self.is_outside(term.args[0], place):
            return (term,)
        row = self.facts.definition(term.args[0])
        if row is None or row.op != "build" or len(row.outs) != 1 or row.params.get("nested"):
            return None
        (body,) = row.blocks
        needed = element_of(row)
        if len(term.args) != len(row.args) + 1 or not all(map(self.is_part, needed)):
            return None
        found = self.slice(free_vars(replace(body, eqns=tuple(needed))), place, loops, self.longest)
        if found is None or not found[1]:
            return None
        eqns, indices = found
        inside = [self.instead.get(part) or part for part in needed]
        table = self.elements(
            row.outs[0].name, body.results[0], (*eqns, *inside), (*indices, *body.params), place, row.span
        )
        return None if table is None else (table, replace(term, args=(table.outs[0], *indices, *term.args[1:])))


def element_of(row: Eqn) -> Sequence[Eqn]:
    """The equations that compute an element of what a ``build`` makes, without what else it does."""
    (body,) = row.blocks
    needed = {result for result in body.results if isinstance(result, Var)}
    found: list[Eqn] = []
    for eqn in reversed(body.eqns):
        if not needed.isdisjoint(eqn.outs):
            needed.update(free_in(eqn))
            found.insert(0, eqn)
    return found


class _Sums(_Products):
    """Sums of products, taken out of loops; those that are alike are made once."""

    def __init__(self, function: Function, effectful: Collection[str]) -> None:
        super().__init__(function, effectful)
        self.known: dict[Hashable, Var] = {}

    def moves(self, eqn: Eqn, place: Place, nest: Sequence[Around]) -> bool:
        terms = terms_of(eqn)
        if terms is None or not nest:
            return False
        row = product_of(nest[-1].loop)
        if row is None:
            return any(
                self.moved(eqn, terms, anchor, home, loops, one_loop=len(loops) == len(nest[-1].indices))
                for anchor, home, loops in self.homes(nest)
            )
        return row.left.is_vector and any(
            self.moved(eqn, terms, anchor, home, loops, row=nest[-1].loop)
            for anchor, home, loops in self.homes(nest)
            if len(loops) > len(nest[-1].indices)
        )

    def moved(
        self,
        eqn: Eqn,
        terms: Sequence[Eqn],
        anchor: Eqn,
        place: Place,
        loops: Sequence[Var],
        *,
        row: Eqn | None = None,
        one_loop: bool = False,
    ) -> bool:
        """Put the sum for all iterations of ``loops`` before ``anchor``, if it is a product there.

        In ``one_loop`` it may be a product for each of the leading indices. If it is all that a loop gives, a vector
        times a matrix, ``row`` is that loop, and becomes a row of the product.
        """
        reads: list[Eqn] = []
        tables: list[Eqn] = []
        for term in terms:
            found = self.read(term, place, loops)
            if found is None:
                return False
            tables += found[:-1]
            reads.append(found[-1])
        if not self.is_outside(eqn.args[0], place):
            return False
        (block,) = eqn.blocks
        sums = replace(eqn, blocks=(replace(block, eqns=(*reads, block.eqns[2])),))
        indices = [index for index in loops if any(index in read.args for read in reads)]
        shared = tuple(index for index in indices if index in reads[0].args and index in reads[1].args)
        if shared and not one_loop:
            return False
        if row is not None and tuple(indices[-len(row.args) :]) != row.blocks[0].params:
            return False
        (k,) = block.params
        places = {index: -n for n, index in enumerate([k, *indices])}
        key = (
            place,
            eqn.args[0],
            *(self.facts.counts[index] for index in indices),
            *(tuple(places.get(arg, arg) if isinstance(arg, Var) else arg for arg in read.args) for read in reads),
        )
        whole = self.known.get(key)
        if whole is None:
            made = self.elements(eqn.outs[0].name, eqn.outs[0], (sums,), indices, place, eqn.span)
            product = None if made is None else product_of(made)
            if made is None or product is None or (product.left.is_vector and (row is not None or shared)):
                return False
            self.before.setdefault(anchor, []).extend((*tables, made))
            self.known[key] = whole = made.outs[0]
        if row is not None:
            self.instead[row] = Eqn(row.outs, "index", (whole, *indices[: -len(row.args)]), span=row.span)
            return True
        self.instead[eqn] = Eqn(eqn.outs, "index", (whole, *indices), span=eqn.span)
        return True


@dataclass(frozen=True, slots=True)
class _Target:
    """A ``withacc``, the block that it is in, and what is around it."""

    eqn: Eqn
    place: Place
    loops: Sequence[Around]
    branch: Eqn | None


@dataclass(frozen=True, slots=True)
class _Addition:
    """The ``value`` that is added at ``at`` in ``loops``, one more than these, and what gives the sum of all."""

    out: Var
    value: Eqn
    at: Sequence[Var]
    loops: Sequence[Var]


class _Additions(_Products):
    """Additions of products to the elements of an accumulator: of all that there is to one, or to a part of it."""

    def __init__(self, function: Function, effectful: Collection[str]) -> None:
        super().__init__(function, effectful)
        self.targets: dict[Var, _Target] = {}
        self.tables: dict[tuple[Place, Var], tuple[Eqn, Sequence[Atom]]] = {}

    def moves(self, eqn: Eqn, place: Place, nest: Sequence[Around]) -> bool:
        if eqn.op == "withacc":
            target = _Target(eqn, place, nest, self.branch)
            self.targets.update((param, target) for param in eqn.blocks[0].params[: len(eqn.args)])
        elif eqn.op == "acc_add" and isinstance(eqn.args[0], Var) and eqn.args[0] in self.targets:
            target = self.targets[eqn.args[0]]
            if target.branch is self.branch:
                inside = nest[len(target.loops) :]
                if not self.is_all(eqn, target, inside):
                    any(self.is_part_of(eqn, inside[k:]) for k in range(len(inside)))
        return False

    def is_all(self, eqn: Eqn, target: _Target, nest: Sequence[Around]) -> bool:
        """Make a product of what is added, if all of an accumulator that was zero is the sum of it."""
        acc, *at, _ = eqn.args
        assert isinstance(acc, Var)
        position = target.eqn.blocks[0].params.index(acc)
        addition = self.added(target.eqn.outs[position], eqn, nest)
        if addition is None or len(addition.at) != len(at) or len(self.facts.reads.get(acc, ())) != 1:
            return False
        if not self.starts_at_zero(target, position, at):
            return False
        for anchor, home, around in (*self.homes(target.loops), (target.eqn, target.place, ())):
            found = self.product(addition, around, anchor, home)
            if found is not None:
                self.instead[eqn] = None
                self.give(target, addition.out, *found)
                return True
        return False

    def is_part_of(self, eqn: Eqn, nest: Sequence[Around]) -> bool:
        """Make a product of what some loops add to the elements of a part of an accumulator, and add it at once."""
        anchor, place = nest[0].loop, nest[0].place
        acc, *at, value = eqn.args
        if not isinstance(value, Var):
            return False
        addition = self.added(value, eqn, nest)
        if addition is None or not all(i in addition.at or self.is_outside(i, place) for i in at):
            return False
        found = self.product(addition, (), anchor, place)
        if found is None:
            return False
        params = {index: Var(index.name, index.type) for index in addition.at}
        element = Eqn((Var(value.name, Float),), "index", (found[0], *params.values()), span=eqn.span)
        places = [params.get(i, i) if isinstance(i, Var) else i for i in at]
        body = Block(tuple(params.values()), (element, replace(eqn, args=(acc, *places, *element.outs))), ())
        counts = tuple(self.facts.counts[index] for index in addition.at)
        added = Eqn((), "build", counts, {}, (body,), eqn.span)
        self.facts.adopt([added], place)
        self.before[anchor].append(added)
        self.instead[eqn] = None
        return True

    def added(self, out: Var, eqn: Eqn, nest: Sequence[Around]) -> _Addition | None:
        """What loops add, if it is a product, and all of their indices but one are those of the element, each once."""
        *at, value = eqn.args[1:]
        made = self.facts.definition(value)
        loops = [index for around in nest for index in around.indices]
        own = [index for index in at if isinstance(index, Var) and index in loops]
        if made is None or made.op != "mul" or len(set(own)) != len(own) or len(loops) != len(own) + 1:
            return None
        return _Addition(out, made, own, loops)

    def product(
        self, addition: _Addition, around: Sequence[Var], anchor: Eqn, place: Place
    ) -> tuple[Var, Sequence[Var]] | None:
        """The sum of all that is added, made before ``anchor``, and the first indices of it, of loops ``around``."""
        value, at, loops = addition.value, addition.at, addition.loops
        every = (*around, *loops)
        factors = [factor for arg in value.args if (factor := self.factor(arg, place, every)) is not None]
        if len(factors) < 2:
            return None
        reads = [factor[-1] for factor in factors]
        first, second = (set(read.args[1:]) & set(every) for read in reads)
        (summed,) = (index for index in loops if index not in at)
        count = self.facts.counts[summed]
        if not set(at) <= first | second or summed not in first & second or not self.is_outside(count, place):
            return None
        if first & second != {summed} and any(len(factor) > 1 for factor in factors):
            return None
        outer = [index for index in around if index in first | second]
        product = Eqn((Var(value.outs[0].name, Float),), "mul", tuple(read.outs[0] for read in reads))
        block = Block((summed,), (*reads, product), product.outs)
        total = Eqn((Var(value.outs[0].name, Float),), "reduce", (count,), {"monoid": "add"}, (block,), value.span)
        whole = self.elements(addition.out.name, total.outs[0], (total,), (*outer, *at), place, value.span)
        if whole is None or product_of(whole) is None:
            return None
        before = self.before.setdefault(anchor, [])
        for arg, (*tables, read) in zip(value.args, factors, strict=True):
            made = self.facts.definition(arg)
            if tables and made is not None and tables[0] not in before:
                before += tables
                if made not in self.instead:
                    self.instead[made] = replace(made, op="index", args=read.args, params={}, blocks=())
                    self.read_element(made, read)
        before.append(whole)
        return whole.outs[0], outer

    def read_element(self, read: Eqn, table: Eqn) -> None:
        """Have a row whose elements are in a table now, and that does more than to give them, look them up."""
        row = self.facts.definition(read.args[0]) if read.op == "index" else None
        if row is None or row.op != "build":
            return
        (body,) = row.blocks
        element = self.facts.definition(body.results[0])
        if element in body.eqns and element not in self.instead and len(element.outs) == 1:
            at = (*table.args[: -len(row.args)], *body.params)
            self.instead[element] = replace(element, op="index", args=at, params={}, blocks=())

    def give(self, target: _Target, out: Var, whole: Var, row: Sequence[Var]) -> None:
        """Have ``whole``, or the ``row`` of it that an iteration of the loops around asks for, as what was added up."""
        self.env[out] = whole
        if row:
            part = Eqn((Var(out.name, out.type),), "index", (whole, *row), span=target.eqn.span)
            self.facts.adopt([part], target.place)
            self.before.setdefault(target.eqn, []).append(part)
            self.env[out] = part.outs[0]

    def starts_at_zero(self, target: _Target, position: int, at: Sequence[Atom]) -> bool:
        """Whether an accumulator is filled with zeros, as large as the loops that add to it."""
        start = self.facts.definition(target.eqn.args[position])
        if start is None or start.op != "build" or len(start.args) != len(at):
            return False
        (body,) = start.blocks
        facts = self.facts
        return body.results == (const(0.0),) and all(
            isinstance(index, Var) and facts.equal(facts.resolve(size), facts.resolve(facts.counts[index]))
            for size, index in zip(start.args, at, strict=True)
        )

    def factor(self, atom: Atom, place: Place, loops: Sequence[Var]) -> tuple[Eqn, ...] | None:
        """What reads a factor from a tensor that is there at ``place``; in front the tensor, if it is a new one."""
        read = self.facts.definition(atom)
        if read is None or not isinstance(atom, Var):
            return None
        key = (place, atom)
        own = [index in loops for index in read.args[1:]] if read.op == "index" else []
        # A part of a tensor is read in place where leading indices say which.
        known = any(own) and own == sorted(own) and all(i in loops or self.is_outside(i, place) for i in read.args[1:])
        if key not in self.tables and known:
            element = self.read(read, place, loops)
            if element is not None and len(element) == 1:
                return (replace(element[0], outs=(Var(atom.name, atom.type),)),)
            if element is not None:
                self.tables[key] = element[0], element[1].args[1:]
        if key not in self.tables:
            found = self.slice([atom], place, loops, self.longest)
            table = None if found is None else self.elements(atom.name, atom, *found, place, read.span)
            if found is None or table is None:
                return None
            self.tables[key] = table, found[1]
        table, indices = self.tables[key]
        return table, Eqn((Var(atom.name, atom.type),), "index", (table.outs[0], *indices), span=read.span)

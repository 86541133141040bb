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

from ksc.ir.builder import stack_type
from ksc.ir.liveness import has_effect
from ksc.ir.nodes import Atom, Block, Const, Eqn, Function, Program, Span, Var, const
from ksc.ir.rewrite import Env, assemble, clone_block, effectful_functions, free_vars, substitute_block
from ksc.ir.types import Float
from ksc.ops import PRIMITIVES
from ksc.passes.fuse.cost import fails
from ksc.passes.fuse.facts import Facts
from ksc.passes.fuse.sizes import Place
from ksc.passes.product import product_of, terms_of

_LONGEST = 40
"""The number of equations up to which a factor is computed in a loop of its own."""


def take_out_sums(program: Program) -> Program:
    """Take sums of products out of the loops around them, in all functions."""
    return _each(program, _Sums)


def take_out_additions(program: Program) -> Program:
    """Take additions of products out of the loops that add them up, in all functions."""
    return _each(program, _Additions)


def _each(program: Program, kind: type[_Moves]) -> Program:
    effectful = effectful_functions(program.functions)
    functions = {name: kind(function, effectful).run() for name, function in program.functions.items()}
    if all(functions[name] is function for name, function in program.functions.items()):
        return program
    return assemble(functions, program.entry, program.boxes, renew=False)


@dataclass(frozen=True, slots=True)
class _Around:
    """A loop, the block that it is in, and the indices of its iterations."""

    loop: Eqn
    place: Place
    indices: tuple[Var, ...]


class _Moves:
    """What is put before, and in the place of, the equations of one function."""

    def __init__(self, function: Function, effectful: Collection[str]) -> None:
        self.function = function
        self.effectful = effectful
        self.facts, self.top = Facts.of(function)
        self.before: dict[Eqn, list[Eqn]] = {}
        self.instead: dict[Eqn, Eqn | None] = {}
        self.env: Env = {}
        self.branch: Eqn | None = None

    def run(self) -> Function:
        self.visit(self.function.body, self.top, ())
        if not self.instead:
            return self.function
        body = substitute_block(self.block(self.function.body), self.env)
        return Function(self.function.name, body, self.function.span)

    def visit(self, block: Block, place: Place, nest: Sequence[_Around]) -> None:
        """Look at a block that each iteration of the loops around runs, the outermost first.

        ``branch`` is what else the block is in the innermost, which may run it never, or again.
        """
        for eqn in block.eqns:
            self.look(eqn, place, nest)
            branch = self.branch
            self.branch = branch if eqn.op in ("build", "for", "withacc") else eqn
            for inner in eqn.blocks:
                around: Sequence[_Around] = nest if eqn.op == "withacc" else ()
                if eqn.op in ("build", "for"):
                    params = eqn.blocks[0].params
                    around = (*nest, _Around(eqn, place, params[:1] if eqn.op == "for" else params))
                self.visit(inner, self.facts.inside(inner, eqn, place), around)
            self.branch = branch

    def look(self, eqn: Eqn, place: Place, nest: Sequence[_Around]) -> None:
        raise NotImplementedError

    def block(self, block: Block) -> Block:
        eqns: list[Eqn] = []
        for eqn in block.eqns:
            eqns += self.before.get(eqn, ())
            new = self.instead.get(eqn, eqn)
            if new is not None:
                eqns.append(replace(new, blocks=tuple(map(self.block, new.blocks))) if new.blocks else new)
        return Block(block.params, tuple(eqns), block.results, block.span)

    def homes(self, nest: Sequence[_Around]) -> Iterator[tuple[Eqn, Place, Sequence[Var]]]:
        """Before what, and where, something can stand in front of loops, the outermost first, and their indices."""
        for k, outer in enumerate(nest):
            anchor, home = outer.loop, outer.place
            while home.owner is not None and home.owner.op == "withacc" and home.parent is not None:
                anchor, home = home.owner, home.parent
            loops = [index for around in nest[k:] for index in around.indices]
            yield anchor, home, loops
            if home is not outer.place:
                yield outer.loop, outer.place, loops

    def is_outside(self, atom: Atom, place: Place) -> bool:
        return isinstance(atom, Const) or (isinstance(atom, Var) and self.facts.is_visible(atom, place))

    def table(
        self, name: str, value: Atom, eqns: Sequence[Eqn], indices: Sequence[Var], place: Place, span: Span | None
    ) -> Eqn | None:
        """A ``build`` of ``value``, which ``eqns`` compute, for all ``indices``, unless it may stop the kernel."""
        counts = tuple(self.facts.counts[index] for index in indices)
        if not indices or not all(self.is_outside(count, place) for count in counts):
            return None
        params = tuple(Var(index.name, index.type) for index in indices)
        env: Env = dict(zip(indices, params, strict=True))
        copy = clone_block(substitute_block(Block((), tuple(eqns), (value,)), self.env), env)
        block = Block(params, copy.eqns, copy.results)
        made = Eqn((Var(name, stack_type(len(indices), Float)),), "build", counts, {}, (block,), span)
        self.facts.adopt([made], place)
        inside = Place(made, place)
        return None if any(fails(part, inside, self.facts) for part in block.eqns) else made

    def slice(
        self, needed: Sequence[Var], outside: Place, loops: Sequence[Var]
    ) -> tuple[Sequence[Eqn], Sequence[Var]] | None:
        """What computes variables from what is seen ``outside``, and the indices of ``loops`` that it depends on."""
        ordered: dict[Eqn, None] = {}
        used: set[Var] = set()

        def visit(given: Var) -> bool:
            var = self.env.get(given, given)
            if not isinstance(var, Var) or self.facts.is_visible(var, outside):
                return True
            if var in loops:
                used.add(var)
                return True
            made = self.facts.definition(var)
            made = None if made is None else self.instead.get(made, made)
            if made is None or len(made.outs) != 1 or not self.is_part(made) or len(ordered) >= _LONGEST:
                return False
            if made not in ordered:
                if not all(map(visit, free_vars(Block((), (made,), ())))):
                    return False
                ordered[made] = None
            return True

        if not all(map(visit, needed)):
            return None
        return list(ordered), [index for index in loops if index in used]

    def is_part(self, eqn: Eqn) -> bool:
        eqn = self.instead.get(eqn) or eqn
        record = PRIMITIVES.get(eqn.op)
        return eqn.op in ("index", "size", "if") or (record is not None and not has_effect(eqn, self.effectful, ()))

    def read(self, term: Eqn, place: Place, loops: Sequence[Var]) -> tuple[Eqn, ...] | None:
        """What reads an element of a tensor that is there at ``place``; before it the tensor, if it is a new one."""
        if self.is_outside(term.args[0], place):
            return (term,)
        row = self.facts.definition(term.args[0])
        if row is None or row.op != "build" or len(row.outs) != 1 or row.params.get("nested"):
            return None
        (body,) = row.blocks
        if len(term.args) != len(row.args) + 1 or not all(map(self.is_part, body.eqns)):
            return None
        found = self.slice(free_vars(body), place, loops)
        if found is None or not found[1]:
            return None
        eqns, indices = found
        inside = [self.instead.get(part) or part for part in body.eqns]
        table = self.table(
            row.outs[0].name, body.results[0], (*eqns, *inside), (*indices, *body.params), place, row.span
        )
        return None if table is None else (table, replace(term, args=(table.outs[0], *indices, *term.args[1:])))


class _Sums(_Moves):
    """Sums of products, taken out of loops; those that are alike are made once."""

    def __init__(self, function: Function, effectful: Collection[str]) -> None:
        super().__init__(function, effectful)
        self.known: dict[Hashable, Var] = {}

    def look(self, eqn: Eqn, place: Place, nest: Sequence[_Around]) -> None:
        terms = terms_of(eqn)
        if terms is None or not nest or product_of(nest[-1].loop) is not None:
            return
        any(self.moved(eqn, terms, anchor, home, loops) for anchor, home, loops in self.homes(nest))

    def moved(self, eqn: Eqn, terms: Sequence[Eqn], anchor: Eqn, place: Place, loops: Sequence[Var]) -> bool:
        """Put the sum for all iterations of ``loops`` before ``anchor``, if it is a product there."""
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
        if any(index in reads[0].args and index in reads[1].args for index in indices):
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
            made = self.table(eqn.outs[0].name, eqn.outs[0], (sums,), indices, place, eqn.span)
            if made is None or product_of(made) is None:
                return False
            self.before.setdefault(anchor, []).extend((*tables, made))
            self.known[key] = whole = made.outs[0]
        self.instead[eqn] = Eqn(eqn.outs, "index", (whole, *indices), span=eqn.span)
        return True


@dataclass(frozen=True, slots=True)
class _Target:
    """A ``withacc``, the block that it is in, and what is around it."""

    eqn: Eqn
    place: Place
    loops: Sequence[_Around]
    branch: Eqn | None


class _Additions(_Moves):
    """Additions of products to the elements of an accumulator that nothing else is added to."""

    def __init__(self, function: Function, effectful: Collection[str]) -> None:
        super().__init__(function, effectful)
        self.targets: dict[Var, _Target] = {}
        self.tables: dict[tuple[Place, Var], tuple[Eqn, Sequence[Var]]] = {}

    def look(self, eqn: Eqn, place: Place, nest: Sequence[_Around]) -> None:
        if eqn.op == "withacc":
            target = _Target(eqn, place, nest, self.branch)
            self.targets.update((param, target) for param in eqn.blocks[0].params[: len(eqn.args)])
        elif eqn.op == "acc_add" and isinstance(eqn.args[0], Var) and eqn.args[0] in self.targets:
            target = self.targets[eqn.args[0]]
            if target.branch is self.branch:
                self.addition(eqn, target, nest[len(target.loops) :])

    def addition(self, eqn: Eqn, target: _Target, nest: Sequence[_Around]) -> None:
        """Make a product of what is added, if all of an accumulator that was zero is the sum of it."""
        acc, *at, value = eqn.args
        assert isinstance(acc, Var)
        position = target.eqn.blocks[0].params.index(acc)
        made = self.facts.definition(value)
        loops = [index for around in nest for index in around.indices]
        if made is None or made.op != "mul" or len(self.facts.reads.get(acc, ())) != 1:
            return
        if len(set(at)) != len(at) or not set(at) <= set(loops) or len(loops) != len(at) + 1:
            return
        if not self.starts_at_zero(target, position, at):
            return
        name = target.eqn.outs[position].name
        for anchor, home, around in (*self.homes(target.loops), (target.eqn, target.place, ())):
            found = self.product(name, made, anchor, home, (*around, *loops), at, (*around, *at))
            if found is not None:
                self.instead[eqn] = None
                self.give(target, position, *found)
                return

    def product(
        self,
        name: str,
        value: Eqn,
        anchor: Eqn,
        place: Place,
        loops: Sequence[Var],
        needed: Sequence[Atom],
        at: Sequence[Atom],
    ) -> tuple[Var, Sequence[Var]] | None:
        """The sum of ``value`` over the one of ``loops`` that is not in ``at``, made before ``anchor``.

        It comes with its indices: all that are ``needed``, and others of ``at`` that it depends on.
        """
        factors = [factor for arg in value.args if (factor := self.factor(arg, place, loops)) is not None]
        if len(factors) < 2:
            return None
        reads = [factor[-1] for factor in factors]
        used = [set(read.args[1:]) for read in reads]
        summed = [index for index in loops if index not in at]
        order = [index for index in at if isinstance(index, Var) and index in used[0] | used[1]]
        both = used[0] & used[1]
        if not set(needed) <= set(order):
            return None
        if not set(summed) <= both or not all(self.is_outside(self.facts.counts[k], place) for k in summed):
            return None
        if both != set(summed) and any(len(factor) > 1 for factor in factors):
            return None
        product = Eqn((Var(value.outs[0].name, Float),), "mul", tuple(read.outs[0] for read in reads))
        block = Block(tuple(summed), (*reads, product), product.outs)
        count = tuple(self.facts.counts[index] for index in summed)
        outs = (Var(value.outs[0].name, Float),)
        total = Eqn(outs, "reduce", count, {"monoid": "add"}, (block,), value.span)
        whole = self.table(name, total.outs[0], (total,), order, place, value.span)
        if whole is None or product_of(whole) is None:
            return None
        for arg, (*tables, read) in zip(value.args, factors, strict=True):
            made = self.facts.definition(arg)
            if tables and made is not None and tables[0] not in self.before.setdefault(anchor, []):
                self.before[anchor].extend(tables)
                if made not in self.instead:
                    self.instead[made] = replace(made, op="index", args=read.args, params={}, blocks=())
        self.before.setdefault(anchor, []).append(whole)
        return whole.outs[0], order

    def give(self, target: _Target, position: int, whole: Var, order: Sequence[Var]) -> None:
        """Have ``whole``, or the row of it that an iteration of the loops around asks for, as what was added up."""
        out = target.eqn.outs[position]
        around = {index for outer in target.loops for index in outer.indices}
        row = [index for index in order if index in around]
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
        if read.op == "index" and set(read.args[1:]) <= set(loops):
            element = self.read(read, place, loops)
            if element is not None:
                return (*element[:-1], replace(element[-1], outs=(Var(atom.name, atom.type),)))
        key = (place, atom)
        if key not in self.tables:
            found = self.slice([atom], place, loops)
            table = None if found is None else self.table(atom.name, atom, *found, place, read.span)
            if found is None or table is None:
                return None
            self.tables[key] = table, found[1]
        table, indices = self.tables[key]
        return table, Eqn((Var(atom.name, atom.type),), "index", (table.outs[0], *indices), span=read.span)

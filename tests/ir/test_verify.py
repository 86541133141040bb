"""The verifier refuses each broken rule, and says where and why."""

import pytest

from ksc.errors import InvalidIRError
from ksc.ir.nodes import Block, Const, Eqn, Function, Program, Span, Var, const
from ksc.ir.types import AccType, Bool, BoxType, Float, Integer, String, TensorType, TupleType
from ksc.ir.verify import verify

VEC = TensorType(1, Float)
MAT = TensorType(2, Float)
PAIR = TupleType((Float, Integer))
SPAN = Span("user.py", 2, 0, 2, 5, "x + y")


def program(eqns=(), params=(), results=(), boxes=None, **other):
    functions = {"f": Function("f", Block(tuple(params), tuple(eqns), tuple(results)))}
    return Program({**functions, **other}, "f", boxes or {"B": (Float,)})


def block(params=(), eqns=(), results=()):
    return Block(tuple(params), tuple(eqns), tuple(results))


def v(type_, name="v"):
    return Var(name, type_)


def eqn(op, args=(), outs=(), params=None, blocks=()):
    return Eqn(tuple(v(t, "out") for t in outs), op, tuple(args), params or {}, tuple(blocks), SPAN)


X, N, B, V, M, P = v(Float, "x"), v(Integer, "n"), v(Bool, "b"), v(VEC, "v"), v(MAT, "m"), v(PAIR, "p")
ALL = (X, N, B, V, M, P)
ONE, TWO = const(1.0), const(2)
ACC = v(AccType(Float), "acc")


def loop(params=None, body=None, args=(TWO, ONE), outs=(Float,)):
    body = body or block([v(Integer), c := v(Float)], (), [c])
    return eqn("for", args, outs, {"carries": 1, "reverse": False} if params is None else params, [body])


def while_(cond=None, body=None, params=None):
    cond = cond or block([v(Float)], (), [const(False)])
    body = body or block([c := v(Float)], (), [c])
    return eqn("while", [ONE], [Float], {"carries": 1} if params is None else params, [cond, body])


def index_block(result=ONE, type_=Integer):
    return block([v(type_)], (), [result])


EQUATIONS = {
    "there is no op": eqn("frobnicate", [X], [Float]),
    "add takes": eqn("add", [X, N], [Float]),
    "sin takes": eqn("sin", [X, X], [Float]),
    "sin has 0 blocks": eqn("sin", [X], [Float], blocks=[block()]),
    "gives 1 results": eqn("sin", [X], [Float, Float]),
    "but sin gives Float": eqn("sin", [X], [Integer]),
    "if takes 1 arguments": eqn("if", [], [], blocks=[block(), block()]),
    "condition of if must be Bool": eqn("if", [X], [], blocks=[block(), block()]),
    "if has 2 blocks": eqn("if", [B], [], blocks=[block()]),
    "parameters of the then block": eqn("if", [B], [], blocks=[block([v(Float)]), block()]),
    "parameters of the else block": eqn("if", [B], [], blocks=[block(), block([v(Float)])]),
    "same types": eqn("if", [B], [Float], blocks=[block((), (), [ONE]), block((), (), [TWO])]),
    "for needs the param carries": loop({"reverse": False}),
    "for needs the param reverse": loop({"carries": 1}),
    "carries of for must be of type int": loop({"carries": True, "reverse": False}),
    "reverse of for must be of type bool": loop({"carries": 1, "reverse": 0}),
    "says 2 carries": loop({"carries": 2, "reverse": False}),
    "for needs a count": loop(args=()),
    "the count of for must be Integer": loop(args=(ONE, ONE)),
    "parameters of the body of for": loop(body=block([c := v(Float)], (), [c])),
    "must give the carries": loop(body=block([v(Integer), v(Float)], (), [TWO])),
    "while says 0 carries": while_(params={"carries": 0}),
    "parameters of the condition of while": while_(cond=block((), (), [const(True)])),
    "parameters of the body of while": while_(body=block((), (), [ONE])),
    "must give one Bool": while_(cond=block([v(Float)], (), [TWO])),
    "build needs a size": eqn("build", [], [VEC], blocks=[index_block()]),
    "the sizes of build must be Integer": eqn("build", [X], [VEC], blocks=[index_block(type_=Float)]),
    "parameters of the body of build": eqn("build", [TWO, TWO], [MAT], blocks=[index_block()]),
    "nested of build must be of type bool": eqn("build", [TWO], [VEC], {"nested": 1}, [index_block()]),
    "reduce needs the param monoid": eqn("reduce", [TWO], [Float], blocks=[index_block()]),
    "the monoid of reduce is one of": eqn("reduce", [TWO], [Float], {"monoid": "sub"}, [index_block()]),
    "cannot combine values of type Float by and": eqn("reduce", [TWO], [Float], {"monoid": "and"}, [index_block()]),
    "cannot combine values of type Bool": eqn("reduce", [TWO], [Bool], {"monoid": "add"}, [index_block(const(True))]),
    "accumulates Float and Integer": eqn("withacc", [B], [Bool], blocks=[block([v(AccType(Bool))])]),
    "parameters of the body of withacc": eqn("withacc", [X], [Float], blocks=[block([v(Float)])]),
    "index takes a tensor": eqn("index", [V], [VEC]),
    "needs a tensor, not Float": eqn("index", [X, TWO], [Float]),
    "the indices of index must be Integer": eqn("index", [V, X], [Float]),
    "index with 2 indices of a tensor of rank 1": eqn("index", [V, TWO, TWO], [Float]),
    "update takes a tensor": eqn("update", [V, TWO], [VEC]),
    "update needs a value of type Float": eqn("update", [V, TWO, TWO], [VEC]),
    "size needs the param dim": eqn("size", [V], [Integer]),
    "size needs a tensor": eqn("size", [X], [Integer], {"dim": 0}),
    "has no dimension 1": eqn("size", [V], [Integer], {"dim": 1}),
    "acc_add needs an accumulator": eqn("acc_add", [X, ONE]),
    "acc_add takes": eqn("acc_add", []),
    "call needs the param callee": eqn("call", []),
    "there is no function g": eqn("call", [], params={"callee": "g"}),
    "f takes": eqn("call", [], params={"callee": "f"}),
    "get needs the param n": eqn("get", [P], [Float]),
    "get needs a tuple": eqn("get", [X], [Float], {"n": 0}),
    "has no element 2": eqn("get", [P], [Float], {"n": 2}),
    "box needs the param name": eqn("box", [X], [BoxType("B")]),
    "there is no box C": eqn("box", [X], [BoxType("B")], {"name": "C"}),
    "the box B holds": eqn("box", [TWO], [BoxType("B")], {"name": "B"}),
    "unbox needs a box": eqn("unbox", [X], [Float]),
    "assert needs the param message": eqn("assert", [B]),
    "condition of assert must be Bool": eqn("assert", [X], params={"message": ""}),
    "message of assert must be of type str": eqn("assert", [B], params={"message": None}),
    "declares no box C": eqn("sin", [X], [BoxType("C")]),
    "y is not bound": eqn("sin", [v(Float, "y")], [Float]),
    "neither a variable nor a constant": eqn("sin", [1.0], [Float]),
    "the constant 1 is not a value of type Float": eqn("sin", [Const(1, Float)], [Float]),
    "the constant True is not a value of type Integer": eqn("abs", [Const(True, Integer)], [Integer]),
    "does not fit 64 bits": eqn("abs", [Const(2**63, Integer)], [Integer]),
    "no constants of type": eqn("size", [Const(0.0, VEC)], [Integer], {"dim": 0}),
    "only constant of a box type": eqn("unbox", [Const(0, BoxType("B"))], [Float]),
    "accumulator cannot be a result": eqn("withacc", [X], [Float, AccType(Float)], blocks=[block([ACC], (), [ACC])]),
    "used by acc_add only": eqn("withacc", [X], [Float], blocks=[block([ACC], [eqn("print", [ACC])])]),
    "accumulator cannot be a parameter of a block of if": eqn(
        "if", [B], blocks=[block([v(AccType(Float))]), block([v(AccType(Float))])]
    ),
    "holds no accumulator": eqn("withacc", [X], [Float], blocks=[block([v(AccType(AccType(Float)))])]),
}


@pytest.mark.parametrize("rule", EQUATIONS)
def test_a_broken_equation(rule):
    broken = EQUATIONS[rule]
    with pytest.raises(InvalidIRError) as caught:
        verify(program([broken], ALL))
    assert rule in caught.value.message
    assert caught.value.message.startswith("in f, ")
    assert caught.value.span == SPAN


def test_the_message_names_the_equation():
    with pytest.raises(InvalidIRError, match=r"in f, out = \(add x n\): add takes"):
        verify(program([EQUATIONS["add takes"]], ALL))


def test_a_variable_is_bound_once():
    out = v(Float)
    twice = [Eqn((out,), "sin", (X,)), Eqn((out,), "cos", (X,))]
    with pytest.raises(InvalidIRError, match="v is bound twice"):
        verify(program(twice, [X]))
    with pytest.raises(InvalidIRError, match="x is bound twice"):
        verify(program([], [X, X]))
    body = block((), [Eqn((out,), "sin", (X,))])
    sides = [Eqn((), "if", (const(True),), {}, (body, block((), [Eqn((out,), "sin", (X,))])))]
    with pytest.raises(InvalidIRError, match="v is bound twice"):
        verify(program(sides, [X]))


def test_a_variable_of_an_inner_block_is_not_seen_outside():
    out = v(Float)
    inner = Eqn((), "if", (const(True),), {}, (block((), [Eqn((out,), "sin", (X,))]), block()))
    with pytest.raises(InvalidIRError, match="v is not in scope"):
        verify(program([inner], [X], [out]))
    with pytest.raises(InvalidIRError, match="v is not bound"):
        verify(program([Eqn((v(Float),), "sin", (out,)), Eqn((out,), "sin", (X,))], [X]))


def test_an_accumulator_does_not_cross_a_function():
    with pytest.raises(InvalidIRError, match="cannot be a parameter of a function"):
        verify(program([], [ACC]))


def test_the_program_around_the_functions():
    with pytest.raises(InvalidIRError, match="the entry g is not a function"):
        verify(Program({}, "g"))
    with pytest.raises(InvalidIRError, match="listed under the name g"):
        verify(program(g=Function("h", block())))
    with pytest.raises(InvalidIRError, match="box B has type"):
        verify(program(boxes={"B": (BoxType("C"),)}))


def test_sizes_may_be_known_or_not():
    three = TensorType(1, Float, (3,))
    out = v(three)
    verify(program([Eqn((out,), "update", (V, TWO, ONE))], [V], [out]))
    wrong = Eqn((v(TensorType(1, Float, (4,))),), "update", (a := v(three), TWO, ONE))
    with pytest.raises(InvalidIRError, match="has type"):
        verify(program([wrong], [a]))


def test_strings_are_constants():
    verify(program([eqn("print", [Const("text", String), X])], [X]))

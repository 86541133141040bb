"""An example of each construct of Python that kernels have; the tests trace them, and look that none is missing.

Each stands in ``def f(x: float, n: int, v: Tensor)``, ``v`` having one dimension.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping

STATEMENTS: Mapping[type[ast.stmt], tuple[str, str]] = {
    ast.If: ("if x > 0: x = -x", "any condition; on a value it stays a branch, `elif` and `else` as well"),
    ast.For: ("for i in range(n): x += v[i]", "ranges, tensors, lists, `zip`, `enumerate`, …; `else` too"),
    ast.While: ("while x < 10: x = 2 * x", "any condition; `else` too"),
    ast.Break: ("for i in range(n):\n    if x > 1: break\n    x += v[i]", "anywhere in a loop"),
    ast.Continue: ("for i in range(n):\n    if v[i] < 0: continue\n    x += v[i]", "anywhere in a loop"),
    ast.Return: ("if x < 0: return 0.0", "anywhere, in loops too"),
    ast.Assign: ("a, (b, *rest) = x, (n, 1, 2)", "names, tuples, elements and slices of tensors and lists"),
    ast.AnnAssign: ("y: float = x", "the annotation is not looked at"),
    ast.AugAssign: ("x += 1", "names, elements and slices; in place on tensors, as in PyTorch"),
    ast.Assert: ('assert x > 0, "x is to be positive"', "stops the kernel with a KernelRuntimeError (KS700)"),
    ast.FunctionDef: (
        "def square(a): return a * a\nx = square(x)",
        "local functions, which read the variables around them",
    ),
    ast.Expr: ("xs = []\nxs.append(x)", "a call for its effect; docstrings"),
    ast.Pass: ("pass", ""),
}

EXPRESSIONS: Mapping[type[ast.expr], tuple[str, str]] = {
    ast.Constant: ("1e-3", "numbers, `True`, `False`, `None`, text that is known when the kernel is compiled"),
    ast.Name: ("x", "variables; what is defined outside is read as a constant, and guarded"),
    ast.BinOp: ("x * 2 + n // 3", "see the operators below"),
    ast.UnaryOp: ("-x", ""),
    ast.BoolOp: ("x > 0 and n > 1 or x < -1", "the right side is computed only where it is needed"),
    ast.Compare: ("0 < x <= 1", "chained; each operand is computed once"),
    ast.IfExp: ("x if x > 0 else 0.0", "one side is computed"),
    ast.Call: ("math.sin(x)", "Python functions, recursion with annotated results, methods, the functions below"),
    ast.Attribute: ("v.shape", "modules, dataclasses, namedtuples, tensors"),
    ast.Subscript: ("v[1:-1]", "ints, slices, `None`, `...`, tensors of ints, lists of constants; see below"),
    ast.Slice: ("v[1:]", "`slice(1, None)` is the same, a value that can be named and passed"),
    ast.Tuple: ("(x, n)", "a starred item too, `(*xs, x)`"),
    ast.List: ("[x, x + 1]", "a starred item too"),
    ast.Dict: ('{"a": x, "b": n}', "the keys are constants; `**` of another dict too"),
    ast.Lambda: ("(lambda a: a + x)(1.0)", ""),
    ast.NamedExpr: ("(y := x + 1) * y", "not in comprehensions"),
    ast.JoinedStr: ('f"{1 + 1}"', "of constants; in the message of an `assert` of anything"),
    ast.ListComp: ("[x * k for k in (1, 2, 3) if k > 1]", "`if` on what is known when the kernel is compiled"),
    ast.GeneratorExp: ("sum(v[i] for i in range(n))", "as the argument of a call"),
    ast.DictComp: ("{k: x * k for k in (1, 2)}", "over a number of items that is known"),
}

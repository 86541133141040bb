"""The tables of the page Language, from the tables that the compiler itself works by."""

from __future__ import annotations

import ast
import importlib
import inspect
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from docs.generators import constructs
from docs.generators.markdown import code, table
from ksc.frontend import expressions as expression_handlers
from ksc.frontend import operators, refuse
from ksc.frontend import statements as statement_handlers
from ksc.frontend.lists import DICT_METHODS, LIST_METHODS
from ksc.frontend.python import BUILTINS

# Each module of functions enters them in the tables.
from ksc.frontend.tensors import functions as _functions  # noqa: F401
from ksc.frontend.tensors.refusals import REFUSED
from ksc.frontend.tensors.table import OWNERS, TABLE
from ksc.ops import PRIMITIVES, NonDifferentiable, Primitive
from ksc.ops.names import LOWERINGS
from ksc.ops.names import __name__ as scalar_names

SUPPORTED_STATEMENTS = {*statement_handlers.STATEMENTS, ast.If}
SUPPORTED_EXPRESSIONS = set(expression_handlers.EXPRESSIONS)


def statements() -> str:
    """Every kind of statement that is supported, with an example."""
    return _syntax(constructs.STATEMENTS, SUPPORTED_STATEMENTS)


def expressions() -> str:
    """Every kind of expression that is supported, with an example."""
    return _syntax(constructs.EXPRESSIONS, SUPPORTED_EXPRESSIONS)


def _syntax(examples: Mapping[Any, tuple[str, str]], supported: set[Any]) -> str:
    rows = [(_lines(text), kind.__name__, note) for kind, (text, note) in examples.items() if kind in supported]
    return table(("for example", "kind", ""), rows)


def refused_syntax() -> str:
    """Every kind of statement and expression that has a refusal of its own."""
    refused: dict[Any, tuple[str, str, str]] = {**statement_handlers.REFUSED, **expression_handlers.REFUSED}
    rows = [
        (refuse.NODE_NAMES.get(kind, code(kind.__name__)), reason, instead, _code_link(number))
        for kind, (reason, instead, number) in refused.items()
    ]
    return table(("refused", "because", "instead", "error"), rows)


def python_operators() -> str:
    """The operators."""
    groups: dict[str, list[str]] = defaultdict(list)
    for kind, symbol in operators.SYMBOLS.items():
        base = next(base for base in (ast.operator, ast.unaryop, ast.cmpop) if issubclass(kind, base))
        groups[{"operator": "binary", "unaryop": "unary", "cmpop": "comparison"}[base.__name__]].append(code(symbol))
    groups["unary"].append(code("not"))
    groups["comparison"] += map(code, ("is", "is not", "in", "not in"))
    groups["truth"] = [code("and"), code("or")]
    groups["augmented"] = [
        code(f"{operators.SYMBOLS[kind]}=") for kind in operators.SYMBOLS if issubclass(kind, ast.operator)
    ]
    return table(("", "operators"), [(title, " ".join(symbols)) for title, symbols in groups.items()])


def builtins() -> str:
    """Python's built-in functions and those of its library that kernels know, by module."""
    by_module: dict[str, list[str]] = defaultdict(list)
    for function in BUILTINS:
        module = {"_functools": "functools", "_operator": "operator"}.get(function.__module__, function.__module__)
        by_module[module].append(function.__name__)
    by_module["math"] = sorted(name for name in dir(math) if _known(getattr(math, name)))
    constants = sorted(name for name in dir(math) if isinstance(getattr(math, name), float))
    by_module["math"] += constants
    rows = [
        ("" if module == "builtins" else code(module), " ".join(map(code, names)))
        for module, names in sorted(by_module.items(), key=lambda item: item[0] != "builtins")
        if module not in ("torch",)
    ]
    return table(("module", "functions"), rows)


def methods() -> str:
    """The methods of lists and dicts."""
    views = ("keys", "values", "items")
    rows = [("list", " ".join(map(code, LIST_METHODS))), ("dict", " ".join(map(code, (*views, *DICT_METHODS))))]
    return table(("of a", "methods"), rows)


def torch_names() -> str:
    """Every function and method of torch that kernels know, by what it is about."""
    groups: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for owner, name, home in _torch_functions():
        groups[home][name].append(owner)
    parts = []
    for home, names in sorted(groups.items(), key=lambda item: _order(item[0])):
        rows: dict[tuple[str, ...], list[str]] = defaultdict(list)
        for name, owners in sorted(names.items()):
            rows[tuple(owners)].append(code(name))
        lines = [(_spelling(owners), " ".join(found)) for owners, found in sorted(rows.items())]
        parts.append(f"### {_title(home)}\n\n{table(('as', 'names'), lines)}")
    return "\n\n".join(parts)


def count_of_torch_functions() -> int:
    """How many names of torch kernels know."""
    return sum(1 for _ in _torch_functions())


def library() -> str:
    """How many names there are."""
    homes = "`torch`, `torch.Tensor`, `torch.nn.functional` (`F`), `torch.special` and `torch.linalg`"
    return f"{count_of_torch_functions()} names in {homes}."


def functions() -> str:
    """The functions of this package that may be called inside a kernel."""
    import ksc
    from ksc.frontend.special import Special, special_call

    names = [name for name in ksc.__all__ if special_call(getattr(ksc, name)) is not None]
    assert all(not isinstance(getattr(ksc, name), Special) for name in names)
    return " ".join(code(f"knossos.{name}") for name in names)


def refused_torch() -> str:
    """The functions of torch whose refusal says what to write instead, joined where that is the same."""
    joined: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name, what in REFUSED.items():
        joined[what].append(name)
    rows = [(" ".join(map(code, names)), reason, instead) for (reason, instead), names in joined.items()]
    return table(("names", "refused, since it", "instead"), rows)


def primitives() -> str:
    """The scalar operations, a record each."""
    rows = [
        (
            code(record.name),
            code(record.doc)
            if len(record.doc) < 24 and " " in record.doc and not record.doc.endswith(".")
            else record.doc,
            "<br>".join(f"{', '.join(map(str, each.args))} → {each.result}" for each in record.overloads),
            _derivative(record),
            record.failure.message if record.failure else "",
            f"{record.ulp[0]:g}, {record.ulp[1]:g}" if max(record.ulp) > 1 else "",
        )
        for record in PRIMITIVES.values()
    ]
    return table(("name", "", "types", "derivative", "stops where", "ULP, if above 1"), rows)


def _derivative(record: Primitive) -> str:
    """Whether a derivative is known with respect to each Float argument."""
    if not record.partials:
        return "none to have"
    missing = list(dict.fromkeys(each.why for each in record.partials if isinstance(each, NonDifferentiable)))
    known = any(callable(partial) for partial in record.partials)
    return "; ".join((["yes"] if known else []) + missing)


def _known(obj: object) -> bool:
    return callable(obj) and (obj in BUILTINS or obj in LOWERINGS or obj in TABLE)


def _torch_functions() -> Iterator[tuple[str, str, str]]:
    """Owner, name, and the module that says what the function means."""
    for title, owner in OWNERS.items():
        for name in dir(owner):
            found = getattr(owner, name, None)
            if name.startswith("_") or not callable(found) or isinstance(found, type):
                continue
            if found in TABLE or found in LOWERINGS:
                yield title, name, _home(found)


def _home(function: object) -> str:
    handler = TABLE.get(function)
    if handler is not None:
        inner = inspect.getclosurevars(handler).nonlocals
        found: Callable[..., Any] | None = inner.get("function") or inner.get("library")
        if found is not None:
            return found.__module__
    lowering = LOWERINGS[function]
    return lowering.function.__module__ if lowering.function is not None else scalar_names


def _title(home: str) -> str:
    if home == scalar_names:
        return "Scalar functions"
    doc = inspect.getdoc(importlib.import_module(home)) or home
    return doc.split("\n")[0].rstrip(".").replace("``", "`")


def _order(home: str) -> tuple[bool, str]:
    return home != scalar_names, home


def _spelling(owners: tuple[str, ...]) -> str:
    return ", ".join("method" if owner == "Tensor" else code(f"{owner}.") for owner in owners)


def _lines(text: str) -> str:
    return "<br>".join(f"`{line.replace(' ' * 4, chr(0xA0) * 4)}`" for line in text.split("\n"))


def _code_link(number: str) -> str:
    return f"[{number}](Errors.md#{number.lower()})"

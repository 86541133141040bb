"""Calls: of local functions (inlined), of Python functions (an IR function each), of classes, of known functions."""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import itertools
from collections.abc import Mapping, Sequence
from types import FunctionType

from ksc.errors import ArgumentError, KnossosError
from ksc.frontend.attributes import BoundDictMethod, DictView
from ksc.frontend.capture import capture, is_namedtuple_class
from ksc.frontend.frame import Frame
from ksc.frontend.functions import Entry, locate, parameters, run_body
from ksc.frontend.iteration import static_items
from ksc.frontend.join import abstract_leaves, adopt, atoms_for, rebuild, template_of
from ksc.frontend.library import NumberMethod, known_function
from ksc.frontend.lists import ListMethod, call_dict_method
from ksc.frontend.source import plain_function
from ksc.frontend.special import TracedCallable, derived_function, directional_function, innermost, special_call
from ksc.frontend.storage import WritesArgumentError, from_outside, storages
from ksc.frontend.values import (
    Array,
    BoundMethod,
    Closure,
    Dynamic,
    Iteration,
    Partial,
    Range,
    Ref,
    Rows,
    Static,
    Struct,
    Value,
    describe,
    leaves,
    narrow_dtype,
)
from ksc.ir.nodes import PLACEHOLDER, Span, Var

Keywords = Mapping[str, Value]


class RecursiveClosureError(Exception):
    """A local function that was being inlined calls itself."""

    def __init__(self, node: ast.AST) -> None:
        super().__init__()
        self.node = node


def call_expression(frame: Frame, node: ast.Call) -> Value:
    """Trace a call."""
    from ksc.frontend.expressions import evaluate

    callee = evaluate(frame, node.func)
    args: list[Value] = []
    for arg in node.args:
        if isinstance(arg, ast.Starred):
            args.extend(static_items(frame, evaluate(frame, arg.value), arg))
        else:
            args.append(evaluate(frame, arg))
    kwargs: dict[str, Value] = {}
    for keyword in node.keywords:
        value = evaluate(frame, keyword.value)
        given = {keyword.arg: value} if keyword.arg is not None else _named_items(frame, value, keyword.value)
        for key in given.keys() & kwargs.keys():
            frame.refuse(keyword.value, f"the argument {key!r} is given twice", "give it once", code="KS204")
        kwargs.update(given)
    return call(frame, callee, args, kwargs, node)


def _named_items(frame: Frame, value: Value, node: ast.AST) -> dict[str, Value]:
    if isinstance(value, Struct) and value.cls is dict and all(isinstance(key, str) for key in value.keys):
        return dict(zip(value.keys, value.items, strict=True))
    frame.refuse(node, f"`**` of {describe(value)}", "use a dict with text as keys", code="KS104")


def call(frame: Frame, callee: Value, args: Sequence[Value], kwargs: Keywords, node: ast.AST) -> Value:
    """The value of ``callee(*args, **kwargs)``."""
    match callee:
        case Closure():
            return _call_closure(frame, callee, args, kwargs, node)
        case BoundMethod(function=function, owner=Struct() as owner) if _is_replace(owner, function):
            return _with_fields(frame, owner, args, kwargs, node)
        case BoundMethod(function=function, owner=owner):
            return call_function(frame, function, [owner, *args], kwargs, node)
        case Partial():
            return call(frame, callee.function, [*callee.args, *args], {**callee.kwargs, **kwargs}, node)
        case Static(obj):
            return _call_object(frame, obj, args, kwargs, node)
        case Struct(cls=cls) if isinstance(method := vars(cls).get("__call__"), FunctionType):
            return call_function(frame, method, [callee, *args], kwargs, node)
    frame.refuse(node, f"{describe(callee)} cannot be called", "call a function", code="KS106")


def call_method(frame: Frame, function: FunctionType, owner: Value, args: Sequence[Value], node: ast.AST) -> Value:
    """The value of a method of a dataclass or namedtuple."""
    return call_function(frame, function, [owner, *args], {}, node)


def _call_object(frame: Frame, obj: object, args: Sequence[Value], kwargs: Keywords, node: ast.AST) -> Value:
    from ksc.frontend.tensors.members import InPlaceMethod

    if isinstance(obj, BoundDictMethod):
        return call_dict_method(frame, obj.name, obj.owner, args, kwargs, node)
    if isinstance(obj, DictView):
        return obj.items()
    if isinstance(obj, InPlaceMethod):
        return obj.call(frame, args, kwargs, node)
    if isinstance(obj, ListMethod):
        return obj.call(frame, args, bool(kwargs), node)
    if isinstance(obj, NumberMethod):
        return known_function_call(frame, obj.function, [obj.owner, *args], kwargs, node)
    if obj is dataclasses.replace and args and isinstance(args[0], Struct) and dataclasses.is_dataclass(args[0].cls):
        return _with_fields(frame, args[0], args[1:], kwargs, node)
    if obj is functools.partial and args:
        return Partial(args[0], tuple(args[1:]), dict(kwargs))
    maps = not isinstance(obj, type) and getattr(obj, "__knossos_maps__", False) is True
    maps = maps and _has_tensors([*args, *kwargs.values()])
    local = innermost(obj)
    if isinstance(local, TracedCallable) and not maps:
        return call(frame, local.value, args, kwargs, node)
    if hasattr(type(obj), "__knossos_kernel__"):
        obj, kwargs = _with_options(frame, obj, kwargs, node)
    directional = directional_function(obj)
    if directional is not None:
        from ksc.frontend.directional import call_directional

        return call_directional(frame, directional, args, kwargs, node)
    if maps:
        from ksc.frontend.mapped import call_mapped

        return call_mapped(frame, obj, args, kwargs, node)  # type: ignore[arg-type]
    special = special_call(obj)
    if special is not None:
        return special(frame, args, kwargs, node)
    derived = derived_function(obj)
    if derived is not None:
        from ksc.frontend.derived import call_derived

        return call_derived(frame, derived, args, kwargs, node)
    if known_function(obj) is not None:
        return known_function_call(frame, obj, args, kwargs, node)
    if isinstance(obj, type):
        return _construct(frame, obj, args, kwargs, node)
    function = plain_function(obj)
    if function is not None and not (function.__module__ or "").startswith(("torch.", "numpy.")):
        return call_function(frame, function, args, kwargs, node)
    name = getattr(obj, "__qualname__", None) or type(obj).__name__
    reason = f"{name!r} is not a function that kernels know"
    if obj is print:
        frame.refuse(node, reason, "print the results after the call of the kernel", code="KS106")
    if inspect.ismethod(obj) and isinstance(obj.__func__, FunctionType):
        reason = f"{name!r} is a method of an object that is not an argument of the kernel"
        frame.refuse(node, reason, "write it as a function, and pass the numbers that it reads", code="KS106")
    frame.refuse(node, reason, "use a function of math or torch, or one written in Python", code="KS106")


def _with_options(frame: Frame, obj: object, kwargs: Keywords, node: ast.AST) -> tuple[object, dict[str, Value]]:
    """The derivative that ``kernel.grad(x, argnums=1)`` calls, and the arguments by name that are left."""
    found = {key: kwargs[key] for key in ("argnums", "mode", "sparse") if key in kwargs}
    options = {key: python_constant(frame, value, node) for key, value in found.items()}
    try:
        kernel = obj.__knossos_kernel__(**options)  # type: ignore[attr-defined]
    except (TypeError, ArgumentError) as error:
        frame.refuse(node, str(error), "see its signature", code="KS204")
    return kernel, {key: value for key, value in kwargs.items() if key not in found}


def python_constant(frame: Frame, value: Value, node: ast.AST) -> object:
    """The Python object of a constant or a tuple of them; a function inside the kernel as a TracedCallable.

    Raises UnsupportedError (KS111) for anything else.
    """
    match value:
        case Static(obj):
            return obj
        case Struct(cls=cls, items=items) if cls in (tuple, list):
            return tuple(python_constant(frame, item, node) for item in items)
        case Closure() | Partial() | BoundMethod():
            return TracedCallable(value, getattr(value, "name", "f"), parameter_names(value))
    reason = f"{describe(value)} stands where a function or a constant is needed"
    frame.refuse(node, reason, "pass a function, a number or a tuple of numbers", code="KS111")


def parameter_names(function: Value) -> list[str]:
    """The names of the parameters of a function, none where they are not known."""
    match function:
        case Closure(node=node):
            return [arg.arg for arg in parameters(node)]
        case BoundMethod(function=method):
            return list(inspect.signature(method).parameters)[1:]
        case Partial(function=inner, args=args, kwargs=kwargs):
            return [name for name in parameter_names(inner)[len(args) :] if name not in kwargs]
        case Static(obj) if plain_function(obj) is not None:
            return list(inspect.signature(obj).parameters)
        case _:
            return []


def _has_tensors(args: Sequence[Value]) -> bool:
    """Whether a kernel that maps does so: for numbers alone it is its function."""
    return any(isinstance(leaf, Array | Ref) and leaf.rank > 0 for arg in args for leaf in leaves(arg))


def known_function_call(frame: Frame, obj: object, args: Sequence[Value], kwargs: Keywords, node: ast.AST) -> Value:
    """A call of a built-in function, or of one of math or torch."""
    from ksc.frontend.tensors.narrow import require_wide

    handler = known_function(obj)
    assert handler is not None
    return require_wide(frame, obj, [*args, *kwargs.values()], handler(frame, args, kwargs, node), node)


def call_function(
    frame: Frame, function: FunctionType, args: Sequence[Value], kwargs: Keywords, node: ast.AST
) -> Value:
    """A call of a Python function: a ``call`` of the IR, or inlined where an argument or result is a function."""
    where = frame.span(node)
    defaults = defaults_of(frame, function, node)
    _, definition, _ = locate(function)
    values = bind_arguments(frame, function.__name__, definition, args, kwargs, defaults, node)
    try:
        if function in frame.functions.writing or any(_needs_inlining(value) for value in values):
            return _inline(frame, function, values, node)
        entry = _entry(frame, function, values, where)
        if entry is None:
            return _inline(frame, function, values, node)
    except KnossosError as error:
        error.add_note(f"  in a call of {function.__qualname__!r} at {where.file}:{where.line}")
        raise
    assert entry.result is not None
    if _needs_inlining(entry.result) or (entry.shares and entry.inlinable):
        return _inline(frame, function, values, node)
    return _emit_call(frame, entry, values, node)


def _entry(frame: Frame, function: FunctionType, values: Sequence[Value], where: Span) -> Entry | None:
    """The function of the IR to call; None where it writes into an argument, so that it has to be inlined."""
    try:
        return frame.functions.entry_for(function, tuple(map(template_of, values)), where)
    except WritesArgumentError:
        frame.functions.writing.add(function)
        return None


def _emit_call(frame: Frame, entry: Entry, values: Sequence[Value], node: ast.AST) -> Value:
    assert entry.result is not None
    pairs = zip(entry.arguments, values, strict=True)
    atoms = [atom for template, value in pairs for atom in atoms_for(frame, template, value, node)]
    types = [leaf.type for leaf in abstract_leaves(entry.result)]
    outs: tuple[Var, ...] = ()
    if types or entry.effects or entry.function is None:
        outs = frame.emit(node, "call", atoms, types, params={"callee": entry.name}, names=[PLACEHOLDER] * len(types))
    result = adopt(frame, entry.result, rebuild(entry.result, iter(outs)))
    if entry.shares or entry.function is None:
        cells = [*storages(result), *(cell for value in values for cell in storages(value))]
        for one, other in itertools.combinations(cells, 2):
            one.may_share(other)
    return result


def _needs_inlining(value: Value) -> bool:
    return any(
        isinstance(leaf, Closure | Range | Partial | Iteration | Rows)
        or narrow_dtype(leaf) is not None
        or (isinstance(leaf, BoundMethod) and any(isinstance(part, Dynamic) for part in leaves(leaf.owner)))
        for leaf in leaves(value)
    )


def defaults_of(frame: Frame, function: FunctionType, node: ast.AST) -> dict[str, Value]:
    """The default values of a Python function, as captured objects."""
    code = function.__code__
    frame.guards.record_function(function)
    values = function.__defaults__ or ()
    names = code.co_varnames[code.co_argcount - len(values) : code.co_argcount]
    found = {**dict(zip(names, values, strict=True)), **(function.__kwdefaults__ or {})}
    return {name: from_outside(frame, obj, f"the default of {name}", node) for name, obj in found.items()}


def bind_arguments(
    frame: Frame,
    name: str,
    definition: ast.FunctionDef | ast.Lambda,
    args: Sequence[Value],
    kwargs: Keywords,
    defaults: Mapping[str, Value],
    node: ast.AST,
) -> list[Value]:
    """The value of each parameter, in order.

    Raises TypeMismatchError (KS204) where Python would raise TypeError.
    """
    spec = definition.args
    for starred in filter(None, (spec.vararg, spec.kwarg)):
        reason = f"{name!r} has the starred parameter {starred.arg!r}"
        frame.refuse(node, reason, "call a function that names each parameter", code="KS104")
    positional = [arg.arg for arg in (*spec.posonlyargs, *spec.args)]
    only_positional = {arg.arg for arg in spec.posonlyargs}
    every = [arg.arg for arg in parameters(definition)]
    signature = f"it is {name}({', '.join(every)})"
    if len(args) > len(positional):
        reason = f"{name!r} takes {len(positional)} positional arguments but {len(args)} are given"
        frame.refuse(node, reason, signature, code="KS204")
    bound = dict(zip(positional, args, strict=False))
    for key, value in kwargs.items():
        if key not in every or key in only_positional or key in bound:
            what = "twice" if key in bound else "which it does not take by name"
            frame.refuse(node, f"{name!r} is given the argument {key!r} {what}", signature, code="KS204")
        bound[key] = value
    for key in every:
        if key not in bound and key not in defaults:
            frame.refuse(node, f"{name!r} is not given its argument {key!r}", signature, code="KS204")
    return [bound[key] if key in bound else defaults[key] for key in every]


def _call_closure(frame: Frame, closure: Closure, args: Sequence[Value], kwargs: Keywords, node: ast.AST) -> Value:
    values = bind_arguments(frame, closure.name, closure.node, args, kwargs, closure.defaults, node)
    functions = frame.functions
    if closure.node not in functions.recursive:
        if any(running.node is closure.node for running in functions.inlining):
            raise RecursiveClosureError(closure.node)
        mark = len(frame.builder.eqns)
        functions.inlining.append(closure)
        try:
            return _inline(frame, closure, values, node)
        except RecursiveClosureError as error:
            if error.node is not closure.node:
                raise
            del frame.builder.eqns[mark:]
            functions.recursive.add(closure.node)
        finally:
            functions.inlining.pop()
    entry = functions.entry_for(closure, tuple(map(template_of, values)), frame.span(node))
    return _emit_call(frame, entry, values, node)


def _inline(frame: Frame, callee: FunctionType | Closure, values: Sequence[Value], node: ast.AST) -> Value:
    source, definition, function = locate(callee)
    functions = frame.functions
    if sum(running is callee for running in functions.inlining_functions) > 1:
        reason = f"{callee.__name__ if isinstance(callee, FunctionType) else callee.name!r} calls itself"
        if callee in functions.writing:
            instead = "let it return a new tensor, or work on a copy: `x = x.clone()`"
            frame.refuse(node, f"{reason} and writes into an argument", instead, code="KS113")
        instead = "pass numbers and tensors to a recursive function, not functions"
        frame.refuse(node, f"{reason} with a function as argument", instead, code="KS113")
    inner = Frame(
        functions=functions,
        guards=frame.guards,
        region=frame.region,
        source=source,
        node=definition,
        function=function,
        parent=callee.frame if isinstance(callee, Closure) else None,
    )
    for arg, value in zip(parameters(definition), values, strict=True):
        inner.bind(arg.arg, value, arg)
    functions.inlining_functions.append(callee)
    try:
        return run_body(inner, definition)
    finally:
        functions.inlining_functions.pop()


def _is_replace(owner: Struct, function: FunctionType) -> bool:
    return is_namedtuple_class(owner.cls) and function is vars(owner.cls).get("_replace")


def _with_fields(frame: Frame, owner: Struct, args: Sequence[Value], changes: Keywords, node: ast.AST) -> Value:
    """``dataclasses.replace(owner, **changes)``, or ``owner._replace(**changes)`` of a namedtuple."""
    unknown = [key for key in changes if key not in owner.keys]
    if args or unknown:
        reason = f"{describe(owner)} has no field {unknown[0]!r}" if unknown else "fields are replaced by name"
        frame.refuse(node, reason, f"its fields are {', '.join(owner.keys)}", code="KS204")
    if dataclasses.is_dataclass(owner.cls) and not _plain_dataclass(owner.cls):
        reason = f"the dataclass {owner.cls.__name__} has an __init__ or __post_init__ of its own"
        frame.refuse(node, reason, "give it plain fields only, and build it in a function", code="KS108")
    pairs = zip(owner.keys, owner.items, strict=True)
    return owner.with_items(tuple(changes.get(key, value) for key, value in pairs))


def _construct(frame: Frame, cls: type, args: Sequence[Value], kwargs: Keywords, node: ast.AST) -> Value:
    """An instance of a namedtuple's or dataclass's class."""
    if is_namedtuple_class(cls):
        names = list(cls._fields)  # type: ignore[attr-defined]
        defaults = dict(cls._field_defaults)  # type: ignore[attr-defined]
        order, factories = names, {}
    elif dataclasses.is_dataclass(cls):
        fields = dataclasses.fields(cls)
        if not _plain_dataclass(cls):
            reason = f"the dataclass {cls.__name__} has an __init__ or __post_init__ of its own"
            frame.refuse(node, reason, "give it plain fields only, and build it in a function", code="KS108")
        names = [field.name for field in fields]
        order = [field.name for field in fields if field.init and not field.kw_only]
        defaults = {field.name: field.default for field in fields if field.default is not dataclasses.MISSING}
        factories = {
            field.name: field.default_factory for field in fields if field.default_factory is not dataclasses.MISSING
        }
    else:
        instead = "use a dataclass or a namedtuple"
        frame.refuse(node, f"an object of class {cls.__name__} cannot be made in a kernel", instead, code="KS106")
    if len(args) > len(order):
        reason = f"{cls.__name__!r} has {len(order)} fields but {len(args)} arguments are given"
        frame.refuse(node, reason, f"it is {cls.__name__}({', '.join(names)})", code="KS204")
    bound = dict(zip(order, args, strict=False))
    for key, value in kwargs.items():
        if key not in names or key in bound:
            reason = f"{cls.__name__!r} is given the field {key!r} that it does not have, or twice"
            frame.refuse(node, reason, f"it is {cls.__name__}({', '.join(names)})", code="KS204")
        bound[key] = value
    for key in names:
        if key in factories and key not in bound:
            bound[key] = call(frame, capture(factories[key], f"the default of {key}", frame.span(node)), [], {}, node)
        elif key not in bound:
            if key not in defaults:
                instead = f"it is {cls.__name__}({', '.join(names)})"
                frame.refuse(node, f"{cls.__name__!r} is not given its field {key!r}", instead, code="KS204")
            bound[key] = capture(defaults[key], f"the default of {key}", frame.span(node))
    return Struct(cls, tuple(bound[key] for key in names), tuple(names))


def _plain_dataclass(cls: type) -> bool:
    if "__post_init__" in dir(cls) or not cls.__dataclass_params__.init:  # type: ignore[attr-defined]
        return False
    generated = getattr(cls.__init__, "__code__", None)  # type: ignore[misc]
    if generated is None or generated.co_filename != "<string>":
        return False
    return all(field.init for field in dataclasses.fields(cls))

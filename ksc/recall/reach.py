"""What a function is, told without tracing it: a digest of all that a trace of it could read.

The way goes from the function through the names in its code: the contents of its cells and of its module's globals,
attributes of modules, classes, the functions among these and theirs. That is more than a trace reads, never less: it
reads by the names that stand in the source, which is hashed too. Of an object of a kind that is not known here nothing
can be said, so a function that reaches one has no digest.
"""

from __future__ import annotations

import builtins
import functools
import hashlib
import re
import struct
import sys
import typing
from collections.abc import Callable, Iterable, Sequence
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MethodType, ModuleType, NoneType
from typing import Any

import torch

from ksc.frontend.annotations import is_namedtuple_class, parameter_annotations
from ksc.frontend.guards import MISSING, Guard, GuardSet, place_of

LIBRARIES = frozenset(
    {"abc", "builtins", "collections", "dataclasses", "functools", "ksc", "math", "numpy", "torch", "types", "typing"}
)
"""Packages whose functions are known by name, since their versions are part of a digest."""

_TENSOR_METHOD = re.compile(r"[a-z]\w*")
_PLAIN = (NoneType, bool, int, str, bytes, type(...), type(NotImplemented))
_NAMED = (torch.dtype, torch.device, torch.layout, torch.memory_format)


Written = tuple[Sequence[str], Sequence[str]]


class UnknownReachError(Exception):
    """A function reaches an object of which it cannot be told whether it changes."""


class Reach:
    """The digest of what ``roots`` reach.

    Args:
        roots: functions, kernels, classes and constants.
        written: for a function of the user, names that it uses and its compiled code does not have, and names in that
            code which it only uses as those of attributes.

    Attributes:
        digest: of everything, and of the versions of Python and torch.
        guards: the places that were looked at and can change, in an order that depends on the digest alone.
        classes: those of the user, in such an order.
        functions: those of the user, likewise.
        files: the sources of these.
        written: what the argument gave for each of these.

    Raises UnknownReachError where something reached is of an unknown kind.
    """

    def __init__(self, roots: Iterable[object], written: Callable[[FunctionType], Written]) -> None:
        self._hash = hashlib.sha256()
        self._written = written
        self._known: dict[int, int] = {}
        self._kept: list[object] = []
        self._modules: list[ModuleType] = []
        self._names: set[str] = set()
        self._read: set[tuple[int, str]] = set()
        self.files: set[str] = set()
        self.guards: list[Guard] = []
        self.classes: list[type] = []
        self.functions: list[FunctionType] = []
        self.written: list[Written] = []
        self._feed(sys.version, torch.__version__)
        for root in roots:
            self._value(root)
        self._attributes()
        self.digest = self._hash.hexdigest()

    def _feed(self, *words: str) -> None:
        for word in words:
            data = word.encode("utf-8", "surrogatepass")
            self._hash.update(b"%d:" % len(data) + data)

    def _first(self, obj: object) -> bool:
        """Whether ``obj`` is seen for the first time; else its number says which one it is."""
        number = self._known.get(id(obj))
        if number is not None:
            self._feed("again", str(number))
            return False
        self._known[id(obj)] = len(self._known)
        self._kept.append(obj)
        return True

    def _value(self, obj: Any) -> None:
        kind = type(obj)
        if kind in _PLAIN:
            self._feed(kind.__name__, repr(obj))
        elif kind is float:
            self._feed("float", struct.pack("<d", obj).hex())
        elif kind is complex:
            self._feed("complex", struct.pack("<2d", obj.real, obj.imag).hex())
        elif kind is tuple:
            self._feed("tuple", str(len(obj)))
            for item in obj:
                self._value(item)
        elif kind is frozenset and all(type(item) in _PLAIN for item in obj):
            self._feed("frozenset", *sorted(map(repr, obj)))
        elif kind in (range, slice):
            self._feed(kind.__name__)
            for part in (obj.start, obj.stop, obj.step):
                self._value(part)
        elif kind in _NAMED:
            self._feed(kind.__name__, repr(obj))
        elif kind is FunctionType:
            self._function(obj)
        elif kind is ModuleType:
            self._module(obj)
        elif isinstance(obj, type):
            self._class(obj)
        elif kind is functools.partial:
            self._feed("partial")
            for part in (obj.func, obj.args, *(item for pair in sorted(obj.keywords.items()) for item in pair)):
                self._value(part)
        elif kind is MethodType:
            self._feed("method")
            self._value(obj.__func__)
            self._value(obj.__self__)
        elif is_namedtuple_class(kind) or hasattr(kind, "__dataclass_fields__"):
            self._instance(obj)
        elif kind is BuiltinFunctionType:
            self._builtin(obj)
        else:
            self._made_of_functions(obj)

    def _instance(self, obj: Any) -> None:
        self._feed("instance")
        self._class(type(obj))
        if isinstance(obj, tuple):
            for item in obj:
                self._value(item)
            return
        if not obj.__dataclass_params__.frozen:
            raise UnknownReachError("an object that can change")
        for name in obj.__dataclass_fields__:
            self._value(getattr(obj, name))

    def _made_of_functions(self, obj: Any) -> None:
        """A kernel, its gradient, or a function with a derivative of its own."""
        from ksc.derivatives import Gradient
        from ksc.kernel import Kernel

        rules = sys.modules.get("ksc.custom")
        if type(obj) is Kernel:
            if not self._first(obj):
                return
            self._feed("kernel", repr(obj.mapping), *(_plain_repr(step) for step in obj.steps))
            self._value(obj.__wrapped__)
        elif type(obj) is Gradient:
            self._feed("gradient", str(obj.with_value))
            self._value(obj.kernel)
        elif rules is not None and type(obj) in (rules.custom_vjp, rules.custom_jvp):
            if not self._first(obj):
                return
            self._feed("rule", type(obj).__name__, *map(str, sorted(obj.nondiff_argnums)))
            self.guards.append(Guard(obj, "rule", obj.rule))
            self._value(obj.__wrapped__)
            self._value(obj.rule)
        else:
            raise UnknownReachError(f"a {type(obj).__name__}")

    def _function(self, fn: FunctionType) -> None:
        if not self._first(fn):
            return
        if _library_of(fn) is not None:
            self._feed("library", fn.__module__, fn.__qualname__)
            if _found_by_name(fn) is not fn:
                raise UnknownReachError(fn.__qualname__)
            self._code(fn.__code__)
            return
        self.functions.append(fn)
        self._feed("function", fn.__module__ or "", fn.__qualname__)
        code = fn.__code__
        self._code(code)
        self._file(code.co_filename)
        read = GuardSet()
        read.record_function(fn)
        self.guards += read.freeze()
        self._value(fn.__defaults__)
        for name, default in sorted((fn.__kwdefaults__ or {}).items()):
            self._feed(name)
            self._value(default)
        self._annotations(parameter_annotations(fn))
        for name, cell in zip(code.co_freevars, fn.__closure__ or (), strict=True):
            self._cell(name, cell)
        scope = fn.__globals__
        extras, members = written = self._written(fn)
        self.written.append(written)
        names = names_of(code).union(extras)
        self._names |= names
        for name in sorted(names.difference(members)):
            found = scope.get(name, MISSING)
            self._place(scope, name, found if found is not MISSING else getattr(builtins, name, MISSING))
            self.guards.append(Guard(scope, name, found))
            if found is MISSING and hasattr(builtins, name):
                self.guards.append(Guard(vars(builtins), name, getattr(builtins, name)))

    def _cell(self, name: str, cell: CellType) -> None:
        try:
            found: object = cell.cell_contents
        except ValueError:
            found = MISSING
        self.guards.append(Guard(cell, name, found))
        self._place(cell, name, found)

    def _place(self, container: object, name: str, found: object) -> None:
        self._feed("place", name)
        if found is MISSING:
            self._feed("missing")
            return
        if (id(container), name) in self._read:
            return
        self._read.add((id(container), name))
        self._value(found)

    def _code(self, code: CodeType) -> None:
        counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags, code.co_firstlineno)
        self._feed("code", code.co_name, *map(str, counts), code.co_code.hex(), str(len(code.co_consts)))
        for names in (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars):
            self._feed(str(len(names)), *names)
        for const in code.co_consts:
            if isinstance(const, CodeType):
                self._code(const)
            else:
                self._value(const)

    def _file(self, path: str) -> None:
        self._feed("file", path)
        if path in self.files:
            return
        self.files.add(path)
        try:
            with open(path, "rb") as file:
                self._feed(hashlib.sha256(file.read()).hexdigest())
        except (OSError, ValueError):
            raise UnknownReachError(f"the source {path}") from None

    def _module(self, module: ModuleType) -> None:
        self._feed("module", module.__name__)
        if sys.modules.get(module.__name__) is not module:
            raise UnknownReachError(f"the module {module.__name__}")
        if self._first(module):
            self._modules.append(module)

    def _attributes(self) -> None:
        """Attributes of modules and classes, by every name that any function uses."""
        done: set[tuple[int, str]] = set()
        while True:
            places = [
                (module, name)
                for module in self._modules
                for name in sorted(self._names)
                if (id(module), name) not in done
            ]
            if not places:
                break
            for module, name in places:
                done.add((id(module), name))
                self._attribute(module, name)
        for cls in self.classes:
            self.guards += [Guard(cls, name, getattr(cls, name)) for name in sorted(self._names) if hasattr(cls, name)]
        for name in sorted(filter(_TENSOR_METHOD.fullmatch, self._names)):
            method = getattr(torch.Tensor, name, MISSING)
            if method is not MISSING:
                self.guards.append(Guard(torch.Tensor, name, method))
            if isinstance(method, FunctionType):
                self._function(method)
            elif method is not MISSING:
                self._feed("of Tensor", type(method).__name__, str(getattr(method, "__qualname__", name)))

    def _attribute(self, module: ModuleType, name: str) -> None:
        # Not getattr, which may import what a module offers on demand.
        found = vars(module).get(name, MISSING)
        package = module.__name__.partition(".")[0]
        if package == "ksc":
            if found is not MISSING and _library_of(found) != "ksc" and not isinstance(found, ModuleType):
                raise UnknownReachError(f"{module.__name__}.{name}")
            return
        if found is not MISSING:
            self._feed("attribute", module.__name__, name)
            self._value(found)
        if found is not MISSING or package not in LIBRARIES:
            self.guards.append(Guard(place_of(module, name), name, found))

    def _builtin(self, obj: Any) -> None:
        owner = obj.__self__
        if owner is not None and not isinstance(owner, ModuleType | type):
            raise UnknownReachError(obj.__qualname__)
        home = str(owner.__name__ if isinstance(owner, ModuleType) else (owner or obj).__module__)
        if home.partition(".")[0] not in LIBRARIES:
            raise UnknownReachError(obj.__qualname__)
        self._feed("builtin", home, obj.__qualname__)

    def _class(self, cls: type) -> None:
        if not self._first(cls):
            return
        if _library_of(cls) is not None:
            self._feed("library", cls.__module__, cls.__qualname__)
            if cls is not NoneType and _found_by_name(cls) is not cls:
                raise UnknownReachError(cls.__qualname__)
            return
        if type(cls).__name__ not in ("type", "ABCMeta") or _library_of(type(cls)) is None:
            raise UnknownReachError(f"the class {cls.__qualname__}")
        self.classes.append(cls)
        self._feed("class", cls.__module__, cls.__qualname__, str(len(cls.__bases__)))
        for base in cls.__bases__:
            self._class(base)
        skipped = _IGNORED
        if is_namedtuple_class(cls) and "_fields" in vars(cls):
            skipped = _IGNORED | _OF_NAMEDTUPLES
            defaults = cls._field_defaults  # type: ignore[attr-defined]
            for name in cls._fields:  # type: ignore[attr-defined]
                self._feed("field", name, str(name in defaults))
                self._value(defaults.get(name))
        if "__dataclass_fields__" in vars(cls):
            self._dataclass(cls)
        self._annotations(_hints(cls) if "__annotations__" in vars(cls) else {})
        for name, member in sorted(vars(cls).items()):
            if name not in skipped:
                self._feed("member", name)
                self._member(member)

    def _dataclass(self, cls: Any) -> None:
        self._feed("dataclass", repr(cls.__dataclass_params__))
        for name, field in cls.__dataclass_fields__.items():
            self._feed("field", name, str((field.init, field.repr, field.hash, field.compare, field.kw_only)))
            for default in (field.default, field.default_factory):
                if type(default).__name__ == "_MISSING_TYPE":
                    self._feed("none")
                else:
                    self._value(default)

    def _member(self, member: Any) -> None:
        if isinstance(member, FunctionType) and member.__code__.co_filename == "<string>":
            # Written by ``dataclass`` or ``namedtuple`` from the fields.
            self._feed("generated")
            self._code(member.__code__)
        elif isinstance(member, property):
            self._feed("property")
            for part in (member.fget, member.fset, member.fdel):
                self._value(part)
        elif isinstance(member, staticmethod | classmethod):
            self._feed(type(member).__name__)
            self._value(member.__func__)
        elif type(member).__name__ in ("member_descriptor", "getset_descriptor", "_tuplegetter"):
            self._feed(type(member).__name__)
        else:
            self._value(member)

    def _annotations(self, annotations: dict[str, Any]) -> None:
        self._feed("annotations", str(len(annotations)))
        for name, annotation in sorted(annotations.items()):
            self._feed(name)
            self._annotation(annotation)

    def _annotation(self, annotation: Any) -> None:
        origin, args = typing.get_origin(annotation), typing.get_args(annotation)
        if isinstance(annotation, list):
            args, origin = tuple(annotation), list
        if origin is not None:
            self._feed("of", str(len(args)))
            self._annotation(origin)
            for arg in args:
                self._annotation(arg)
        elif isinstance(annotation, typing.TypeVar) or type(annotation).__module__ == "typing":
            self._feed("typing", repr(annotation))
        else:
            self._value(annotation)


_IGNORED = frozenset(
    {
        "__abstractmethods__", "__annotations__", "__dataclass_fields__", "__dataclass_params__", "__dict__", "__doc__",
        "__getstate__", "__match_args__", "__module__", "__orig_bases__", "__parameters__", "__repr__", "__setstate__",
        "__slots__", "__weakref__", "_abc_impl",
    }
)  # fmt: skip
_OF_NAMEDTUPLES = frozenset(
    {"__getnewargs__", "__new__", "__repr__", "_asdict", "_field_defaults", "_fields", "_make", "_replace"}
)


def names_of(code: CodeType) -> set[str]:
    """The names of globals and attributes in a function's code, and in that of the functions inside it."""
    found = set(code.co_names)
    for const in code.co_consts:
        if isinstance(const, CodeType):
            found |= names_of(const)
    return found


def _hints(cls: type) -> dict[str, Any]:
    try:
        return typing.get_type_hints(cls, include_extras=True)
    except (NameError, TypeError) as error:
        raise UnknownReachError(str(error)) from None


def _library_of(obj: Any) -> str | None:
    """The package of a function or class that belongs to a library."""
    package = str(getattr(obj, "__module__", None)).partition(".")[0]
    return package if package in LIBRARIES else None


def _found_by_name(obj: Any) -> object:
    found: Any = sys.modules.get(obj.__module__)
    for part in obj.__qualname__.split("."):
        found = getattr(found, part, None)
    return found


def _plain_repr(step: Any) -> str:
    """A step as text. Raises UnknownReachError where it holds more than numbers and words."""
    parts = [getattr(step, name) for name in getattr(step, "__dataclass_fields__", ())]
    if not parts or not all(_is_plain(part) for part in parts):
        raise UnknownReachError(f"the step {type(step).__name__}")
    return repr(step)


def _is_plain(value: object) -> bool:
    return type(value) in _PLAIN or (type(value) is tuple and all(map(_is_plain, value)))

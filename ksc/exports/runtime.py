"""Calling exported kernels with PyTorch alone: this file goes along with an export, and imports nothing of Knossos."""

from __future__ import annotations

import ctypes
import dataclasses
import inspect
import json
import platform
from collections import namedtuple
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

Structure = dict[str, Any]
"""A leaf, tuple, record or fixed value, as ``manifest.json`` describes it."""

_NUMBERS: dict[str, tuple[type, ...]] = {
    "bool": (bool,),
    "int": (int, torch.SymInt),
    "float": (float, int, torch.SymFloat, torch.SymInt),
}
_DTYPES = {"float": torch.float64, "int": torch.int64, "bool": torch.bool}


class ExportedKernel:
    """A kernel of an exported library; called with tensors or numbers, as the kernel was.

    Attributes:
        op: the operator, which takes the flat arguments.
        dtypes: of the floats that it was compiled for.
        derivations: what is there beside the value: ``v`` the vjp, ``j`` the jvp, and so on.
    """

    def __init__(self, library: ExportedLibrary, data: Structure) -> None:
        self.__name__: str = data["name"]
        self.__doc__ = data["doc"]
        self.dtypes = [getattr(torch, name) for name in data["dtypes"]]
        self.derivations: list[str] = data["derivations"]
        self.op = getattr(getattr(torch.ops, library.name), self.__name__)
        self._library = library
        self._arguments: list[Structure] = data["arguments"]
        self._lift: str = data["lift"]
        self._parameters: list[Structure] = data["parameters"]
        self._result: Structure = data["result"]
        self.__signature__ = inspect.Signature([_parameter(parameter) for parameter in self._parameters])

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The kernel's results. Raises TypeError or ValueError for arguments that do not fit."""
        flat = self._flat(args, kwargs)
        numbers = not any(isinstance(value, torch.Tensor) for value in flat)
        results = _several(self.op(*self._prepared(flat, self._floats(flat, numbers))))
        return self._rebuilt(self._result, iter(results), numbers)

    def vjp(self, *args: Any) -> Any:
        """``vjp(*args, *cotangents)``: the transposed Jacobian times a cotangent for each float result.

        Gives a cotangent for each parameter, None where that is no float. Raises NotImplementedError where the kernel
        was exported without ``v``, TypeError or ValueError for what does not fit.
        """
        flat, seeds, numbers = self._with_seeds("v", args, self._result)
        orders = [leaf.get("order") for leaf in _float_leaves(self._result)]
        seeds = [_permuted(seed, _inverse(order)) for seed, order in zip(seeds, orders)]  # noqa: B905
        bars = _several(self.op.v(*flat, *seeds))
        leaves = [leaf for parameter in self._parameters for leaf in _float_leaves(parameter["structure"])]
        owners = [value for value, arg in zip(flat, self._arguments) if arg["kind"] == "float"]  # noqa: B905
        found = []
        for bar, owner, leaf in zip(bars, owners, leaves):  # noqa: B905
            if self._lift != "tensor":
                # What lanes share has the sum of their cotangents.
                bar = bar.sum_to_size(owner.shape)
            found.append(_permuted(bar.to(owner.dtype), _inverse(leaf.get("order"))))
        results = iter(found)
        parts = [self._rebuilt(_tangents(parameter["structure"]), results, numbers) for parameter in self._parameters]
        return parts[0] if len(parts) == 1 else tuple(parts)

    def jvp(self, *args: Any) -> Any:
        """``jvp(*args, *tangents)``: the Jacobian times a tangent for each float argument.

        Gives what the kernel gives, None where that is no float. Raises as ``vjp`` does.
        """
        structures = [parameter["structure"] for parameter in self._parameters]
        flat, seeds, numbers = self._with_seeds("j", args, *structures)
        orders = [leaf.get("order") for structure in structures for leaf in _float_leaves(structure)]
        seeds = [_permuted(seed, order) for seed, order in zip(seeds, orders)]  # noqa: B905
        dots = _several(self.op.j(*flat, *seeds))
        found = [_permuted(dot, leaf.get("order")) for dot, leaf in zip(dots, _float_leaves(self._result))]  # noqa: B905
        return self._rebuilt(_tangents(self._result), iter(found), numbers)

    @property
    def nnModule(self) -> torch.nn.Module:  # noqa: N802  as in Knossos
        """A new ``nn.Module`` that calls the kernel."""
        return ExportedModule(self)

    def _flat(self, args: Sequence[Any], kwargs: Structure) -> list[Any]:
        bound = self.__signature__.bind(*args, **kwargs)
        bound.apply_defaults()
        flat: list[Any] = []
        for value, parameter in zip(bound.arguments.values(), self._parameters):  # noqa: B905
            _flatten(value, parameter["structure"], f"{self.__name__}: the argument {parameter['name']}", flat)
        return flat

    def _with_seeds(self, letter: str, args: Sequence[Any], *seeded: Structure) -> tuple[list[Any], list[Any], bool]:
        """The flat arguments and the flat seeds, as tensors; whether all are numbers."""
        kind, what = ("vjp", "cotangent") if letter == "v" else ("jvp", "tangent")
        if letter not in self.derivations:
            raise NotImplementedError(
                f"{self.__name__} was exported without its {kind}; export it again with derivations=[..., {letter!r}]"
            )
        count = len(self._parameters)
        given = {parameter["name"]: value for parameter, value in zip(self._parameters, args)}  # noqa: B905
        named = {p["name"]: given.pop(p["name"]) for p in self._parameters[: len(args)] if p["kind"] == "KEYWORD_ONLY"}
        flat = self._flat(tuple(given.values()), named)
        seeds = list(_seeds(args[count:]))
        wanted = sum(1 for structure in seeded for _ in _float_leaves(structure))
        if len(seeds) != wanted:
            raise TypeError(
                f"the {kind} of {self.__name__} takes {wanted} {what}(s) after its {count} argument(s), "
                f"and {len(seeds)} were given"
            )
        numbers = not any(isinstance(value, torch.Tensor) for value in (*flat, *seeds))
        floats = self._floats(flat, numbers)
        seeds = [seed if isinstance(seed, torch.Tensor) else torch.tensor(seed, dtype=floats) for seed in seeds]
        return self._prepared(flat, floats), seeds, numbers

    def _floats(self, flat: Sequence[Any], numbers: bool) -> torch.dtype:
        """What floats that are numbers become tensors of."""
        if not numbers:
            return _promoted(flat)
        return torch.float64 if torch.float64 in self.dtypes else self.dtypes[0]

    def _prepared(self, flat: Sequence[Any], floats: torch.dtype) -> list[Any]:
        shape: Sequence[Any] | None = None
        found = []
        for value, argument in zip(flat, self._arguments):  # noqa: B905
            name, kind = argument["name"], argument["kind"]
            if isinstance(value, torch.Tensor):
                if argument["is_number"]:
                    raise TypeError(f"{self.__name__}: the argument {name} decides on sizes: a number belongs there")
                if self._lift == "scalar" and value.dim() > 0:
                    raise ValueError(f"{self.__name__} takes numbers, and {name} has the shape {tuple(value.shape)}")
                if self._lift == "same" and argument["shared"] and value.dim() > 0:
                    raise ValueError(
                        f"{self.__name__}: the argument {name} is shared by all lanes: a number belongs there"
                    )
                if self._lift == "same" and value.dim() > 0:
                    if shape is not None and value.shape != shape:
                        raise ValueError(
                            f"{self.__name__} maps tensors of one shape: {tuple(shape)}, {tuple(value.shape)}"
                        )
                    shape = value.shape
            elif not argument["is_number"]:
                value = torch.tensor(value, dtype=floats if kind == "float" else _DTYPES[kind])
            found.append(value)
        return found

    def _rebuilt(self, structure: Structure, results: Iterator[torch.Tensor], numbers: bool) -> Any:
        if "value" in structure:
            return structure["value"]
        if "items" not in structure:
            value = next(results)
            return value.item() if numbers and not structure["tensor"] else _permuted(value, structure.get("order"))
        parts = [self._rebuilt(item, results, numbers) for item in structure["items"]]
        keys = structure["keys"]
        if structure["class"] == "tuple":
            return tuple(parts)
        if structure["class"] == "list":
            return parts
        if structure["class"] == "dict":
            return dict(zip(keys, parts))  # noqa: B905
        return self._library.record(structure["name"], keys, structure["class"] == "namedtuple")(*parts)

    def __repr__(self) -> str:
        parameters = ", ".join(f"{p['name']}: {_spoken(p['structure'])}" for p in self._parameters)
        dtypes = ", ".join(str(dtype).removeprefix("torch.") for dtype in self.dtypes)
        derived = ", ".join(known for known in self.derivations if known and not known[-1].isdigit())
        end = f", with {derived}" if derived else ""
        return f"<exported kernel {self.__name__}({parameters}) -> {_spoken(self._result)}; {dtypes}{end}>"

    def __deepcopy__(self, memo: dict[int, Any]) -> ExportedKernel:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        # By the package, which may lie elsewhere where it is unpickled, or by the folder that was loaded.
        folder = self._library.folder
        return _restored, ("" if folder == _HERE else str(folder), self.__name__)


class ExportedModule(torch.nn.Module):
    """An ``nn.Module`` without parameters whose ``forward`` calls an exported kernel."""

    def __init__(self, kernel: ExportedKernel) -> None:
        super().__init__()
        self.kernel = kernel

    def forward(self, *args: Any) -> Any:
        """The kernel's results for ``args``."""
        return self.kernel(*args)

    def extra_repr(self) -> str:
        return self.kernel.__name__


class ExportedLibrary:
    """What an exported folder holds: each kernel is an attribute; ``kernels`` has them by name.

    Attributes:
        name: of the library, and of the namespace in ``torch.ops``.
        kernels: by name.
        records: the classes of structured results.
    """

    def __init__(self, folder: Path, data: Structure) -> None:
        self.name: str = data["name"]
        self.folder = folder
        self.records: dict[str, type] = {}
        self.kernels = {kernel["name"]: ExportedKernel(self, kernel) for kernel in data["kernels"]}

    def __getattr__(self, name: str) -> ExportedKernel:
        kernels: dict[str, ExportedKernel] = self.__dict__.get("kernels", {})
        if name not in kernels:
            raise AttributeError(f"the library {self.__dict__.get('name')} has no kernel {name!r}")
        return kernels[name]

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.kernels]

    def __repr__(self) -> str:
        return "\n".join([f"<exported library {self.name}>", *(f"  {kernel!r}" for kernel in self.kernels.values())])

    def record(self, name: str, keys: Sequence[str], named_tuple: bool) -> Any:
        """The class of results of this name and these fields, the same each time."""
        known = self.records.get(name)
        if known is None:
            known = namedtuple(name, keys) if named_tuple else dataclasses.make_dataclass(name, keys)
            self.records[name] = known
        return known


_HERE = Path(__file__).resolve().parent


def _restored(folder: str, name: str) -> ExportedKernel:
    return open_library(Path(folder) if folder else _HERE).kernels[name]


_OPENED: dict[Path, tuple[tuple[int, int, int], ExportedLibrary]] = {}


def open_library(folder: Path) -> ExportedLibrary:
    """Load the operators of an export and give its kernels.

    Raises ImportError where the library is for another version of torch or another processor, and says which; and where
    the folder no longer holds what this process has loaded from it.
    """
    data = json.loads((folder / "manifest.json").read_text("utf-8"))
    name, wanted = data["name"], data["torch"]
    if torch.__version__.split(".")[:2] != wanted.split("."):
        raise ImportError(f"{name} was exported for torch {wanted}, and this is {torch.__version__}: export it there")
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine().lower())
    if machine not in data["machines"]:
        raise ImportError(f"{name} was exported for {', '.join(data['machines'])}, and this is {machine}")
    path = folder / "lib" / machine / f"lib{name}.so"
    state = path.stat()
    file = (state.st_ino, state.st_mtime_ns, state.st_size)
    if folder in _OPENED:
        opened, library = _OPENED[folder]
        if opened != file:
            raise ImportError(f"{folder} was exported anew since it was loaded here: load it in another process")
        return library
    try:
        torch.ops.load_library(path)  # type: ignore[no-untyped-call]
    except OSError as error:
        raise ImportError(f"{name} cannot be loaded: {error}") from error
    reason = getattr(ctypes.CDLL(str(path)), f"{name}_failure")
    reason.restype = ctypes.c_char_p
    failure = reason()
    if failure is not None:
        raise ImportError(failure.decode())
    _OPENED[folder] = file, ExportedLibrary(folder, data)
    return _OPENED[folder][1]


def _several(results: Any) -> Sequence[Any]:
    return results if isinstance(results, tuple | list) else (results,)


def _permuted(value: Any, order: Sequence[int] | None) -> Any:
    return value.permute(order) if order and value.dim() == len(order) else value


def _inverse(order: Sequence[int] | None) -> Sequence[int] | None:
    return order and [order.index(dim) for dim in range(len(order))]


def _leaves(structure: Structure) -> Iterator[Structure]:
    if "items" in structure:
        for item in structure["items"]:
            yield from _leaves(item)
    elif "value" not in structure:
        yield structure


def _float_leaves(structure: Structure) -> Iterator[Structure]:
    return (leaf for leaf in _leaves(structure) if leaf["kind"] == "float")


def _tangents(structure: Structure) -> Structure:
    """The structure of tangents or cotangents, their dimensions as they are to be: None where there is no float."""
    if "items" in structure:
        return {**structure, "items": [_tangents(item) for item in structure["items"]]}
    if structure.get("kind") != "float":
        return {"value": None}
    return {key: value for key, value in structure.items() if key != "order"}


def _seeds(given: Sequence[Any]) -> Iterator[Any]:
    for seed in given:
        if isinstance(seed, tuple | list):
            yield from _seeds(seed)
        elif dataclasses.is_dataclass(seed) and not isinstance(seed, type):
            yield from _seeds([getattr(seed, field.name) for field in dataclasses.fields(seed)])
        elif seed is not None:
            yield seed


def _spoken(structure: Structure) -> str:
    if "value" in structure:
        return repr(structure["value"])
    if "items" not in structure:
        return f"{structure['kind']} tensor" if structure["tensor"] else str(structure["kind"])
    keys = structure["keys"]
    parts = [f"{keys[k]}: {_spoken(item)}" if keys else _spoken(item) for k, item in enumerate(structure["items"])]
    return f"{structure['name'] if keys else ''}({', '.join(parts)})"


def _promoted(flat: Sequence[Any]) -> torch.dtype:
    """What PyTorch computes floats in: tensors with dimensions decide, else those without."""
    floats = [value for value in flat if isinstance(value, torch.Tensor) and value.is_floating_point()]
    if not floats:
        return torch.get_default_dtype()
    chosen = [value.dtype for value in floats if value.dim() > 0] or [value.dtype for value in floats]
    dtype = chosen[0]
    for other in chosen[1:]:
        dtype = torch.promote_types(dtype, other)
    return dtype


def _parameter(data: Structure) -> inspect.Parameter:
    default = data.get("default", inspect.Parameter.empty)
    return inspect.Parameter(data["name"], getattr(inspect.Parameter, data["kind"]), default=default)


def _flatten(value: Any, structure: Structure, path: str, flat: list[Any]) -> None:
    if "value" in structure:
        if value != structure["value"]:
            raise TypeError(f"{path} was exported as {structure['value']!r}, and is {value!r}")
        return
    if "items" not in structure:
        _flatten_leaf(value, structure, path, flat)
        return
    keys = structure["keys"]
    if keys and not isinstance(value, tuple):
        missing = [key for key in keys if not hasattr(value, key)]
        if missing:
            raise TypeError(f"{path} is to be a {structure['name']}, and has no {missing[0]}")
        value = tuple(getattr(value, key) for key in keys)
    if not isinstance(value, tuple) or len(value) != len(structure["items"]):
        raise TypeError(f"{path} is to have {len(structure['items'])} parts")
    for k, (part, item) in enumerate(zip(value, structure["items"])):  # noqa: B905
        _flatten(part, item, f"{path}.{keys[k] if keys else k}", flat)


def _flatten_leaf(value: Any, structure: Structure, path: str, flat: list[Any]) -> None:
    kind = structure["kind"]
    if isinstance(value, torch.Tensor):
        order = structure.get("order")
        if order and value.dim() != len(order) and value.dim() > 0:
            raise ValueError(f"{path} is to have {len(order)} dimensions, and has {value.dim()}")
        flat.append(value.permute(order) if order and value.dim() > 0 else value)
        return
    known = _NUMBERS[kind]
    if structure["tensor"] or not isinstance(value, known) or (kind != "bool" and isinstance(value, bool)):
        wanted = "a tensor" if structure["tensor"] else f"a tensor or a number ({kind})"
        raise TypeError(f"{path} is to be {wanted}, and is of type {type(value).__name__}")
    flat.append(value)

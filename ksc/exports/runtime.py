"""Calling exported kernels with PyTorch alone: this file goes along with an export, and imports nothing of Knossos."""

from __future__ import annotations

import ctypes
import dataclasses
import inspect
import json
import platform
from collections import namedtuple
from collections.abc import Callable, Iterator, Sequence
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

    def __init__(self, library: str, data: Structure, records: Callable[[str, Sequence[str], bool], Any]) -> None:
        self.__name__: str = data["name"]
        self.__doc__ = data["doc"]
        self.dtypes = [getattr(torch, name) for name in data["dtypes"]]
        self.derivations: list[str] = data["derivations"]
        self.op = getattr(getattr(torch.ops, library), self.__name__)
        self._arguments: list[Structure] = data["arguments"]
        self._lift: str = data["lift"]
        self._parameters: list[Structure] = data["parameters"]
        self._result: Structure = data["result"]
        self._records = records
        self.__signature__ = inspect.Signature([_parameter(parameter) for parameter in self._parameters])

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The kernel's results. Raises TypeError or ValueError for arguments that do not fit."""
        bound = self.__signature__.bind(*args, **kwargs)
        bound.apply_defaults()
        flat: list[Any] = []
        for value, parameter in zip(bound.arguments.values(), self._parameters):  # noqa: B905
            _flatten(value, parameter["structure"], f"{self.__name__}: the argument {parameter['name']}", flat)
        numbers = not any(isinstance(value, torch.Tensor) for value in flat)
        given = self.op(*self._prepared(flat, numbers))
        results = iter(given if isinstance(given, tuple | list) else (given,))
        return self._rebuilt(self._result, results, numbers)

    @property
    def nnModule(self) -> torch.nn.Module:  # noqa: N802  as in Knossos
        """A new ``nn.Module`` that calls the kernel."""
        return ExportedModule(self)

    def _prepared(self, flat: list[Any], numbers: bool) -> list[Any]:
        floats = torch.float64 if torch.float64 in self.dtypes else self.dtypes[0]
        if not numbers:
            floats = _promoted(flat)
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
            order = structure.get("order")
            if numbers and not structure["tensor"]:
                return value.item()
            return value.permute(order) if order and value.dim() == len(order) else value
        parts = [self._rebuilt(item, results, numbers) for item in structure["items"]]
        keys = structure["keys"]
        if structure["class"] == "tuple":
            return tuple(parts)
        if structure["class"] == "list":
            return parts
        if structure["class"] == "dict":
            return dict(zip(keys, parts))  # noqa: B905
        return self._records(structure["name"], keys, structure["class"] == "namedtuple")(*parts)

    def __repr__(self) -> str:
        return f"<exported kernel {self.__name__}{self.__signature__}>"

    def __deepcopy__(self, memo: dict[int, Any]) -> ExportedKernel:
        return self


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
        self.kernels = {kernel["name"]: ExportedKernel(self.name, kernel, self._record) for kernel in data["kernels"]}

    def __getattr__(self, name: str) -> ExportedKernel:
        kernels: dict[str, ExportedKernel] = self.__dict__.get("kernels", {})
        if name not in kernels:
            raise AttributeError(f"the library {self.__dict__.get('name')} has no kernel {name!r}")
        return kernels[name]

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.kernels]

    def __repr__(self) -> str:
        return f"<exported library {self.name}: {', '.join(self.kernels)}>"

    def _record(self, name: str, keys: Sequence[str], named_tuple: bool) -> Any:
        known = self.records.get(name)
        if known is None:
            known = namedtuple(name, keys) if named_tuple else dataclasses.make_dataclass(name, keys)
            self.records[name] = known
        return known


def open_library(folder: Path) -> ExportedLibrary:
    """Load the operators of an export and give its kernels.

    Raises ImportError where the library is for another version of torch or another processor, and says which.
    """
    data = json.loads((folder / "manifest.json").read_text("utf-8"))
    name, wanted = data["name"], data["torch"]
    if torch.__version__.split(".")[:2] != wanted.split("."):
        raise ImportError(f"{name} was exported for torch {wanted}, and this is {torch.__version__}: export it there")
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine().lower())
    if machine not in data["machines"]:
        raise ImportError(f"{name} was exported for {', '.join(data['machines'])}, and this is {machine}")
    path = folder / "lib" / machine / f"lib{name}.so"
    try:
        torch.ops.load_library(path)  # type: ignore[no-untyped-call]
    except OSError as error:
        raise ImportError(f"{name} cannot be loaded: {error}") from error
    reason = getattr(ctypes.CDLL(str(path)), f"{name}_failure")
    reason.restype = ctypes.c_char_p
    failure = reason()
    if failure is not None:
        raise ImportError(failure.decode())
    return ExportedLibrary(folder, data)


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

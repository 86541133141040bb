"""The parameters of a Python function, as a caller has to fill them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ksc.frontend.annotations import annotated_template, is_tensor, parameter_annotations
from ksc.frontend.functions import locate, parameters
from ksc.frontend.refuse import refuse
from ksc.frontend.source import plain_function
from ksc.frontend.values import Value
from ksc.ir.nodes import Span


class _NoDefault:
    def __repr__(self) -> str:
        return "<no default>"


NO_DEFAULT = _NoDefault()


@dataclass(frozen=True, slots=True, eq=False)
class Parameter:
    """One parameter.

    Attributes:
        name: its name.
        annotation: the annotation as an object, None where there is none or it cannot be evaluated.
        template: the description that the annotation tells in full (float, int, bool, tuples, namedtuples,
            dataclasses), else None.
        is_tensor: whether it is annotated as torch.Tensor.
        default: the default value, or NO_DEFAULT.
        keyword_only: whether it must be given by name.
        positional_only: whether it must be given by position.
    """

    name: str
    annotation: Any
    template: Value | None
    is_tensor: bool
    default: Any
    keyword_only: bool
    positional_only: bool


@dataclass(frozen=True, slots=True, eq=False)
class Signature:
    """The parameters of a function, in order, and what it is annotated to return."""

    name: str
    parameters: tuple[Parameter, ...]
    returns: Value | None
    span: Span

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(parameter.name for parameter in self.parameters)

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The argument of each parameter in order, defaults included.

        Raises TypeError with Python's own wording where they do not fit.
        """
        positional = [parameter.name for parameter in self.parameters if not parameter.keyword_only]
        if len(args) > len(positional):
            raise TypeError(f"{self.name}() takes {len(positional)} positional arguments but {len(args)} were given")
        bound = dict(zip(positional, args, strict=False))
        known = {parameter.name: parameter for parameter in self.parameters}
        for key, value in kwargs.items():
            if key not in known or known[key].positional_only:
                raise TypeError(f"{self.name}() got an unexpected keyword argument {key!r}")
            if key in bound:
                raise TypeError(f"{self.name}() got multiple values for argument {key!r}")
            bound[key] = value
        missing = [p.name for p in self.parameters if p.name not in bound and p.default is NO_DEFAULT]
        if missing:
            raise TypeError(f"{self.name}() missing required arguments: {', '.join(map(repr, missing))}")
        return {p.name: bound.get(p.name, p.default) for p in self.parameters}


def signature(fn: object) -> Signature:
    """Read the parameters of a Python function, annotations given as text included.

    Raises:
        UnsupportedError: ``fn`` has no Python source, or starred parameters.
    """
    function = plain_function(fn)
    if function is None:
        title = getattr(fn, "__qualname__", repr(fn))
        refuse(None, f"{title} has no Python source", "write it with `def` and math or torch functions", code="KS109")
    source, node, _ = locate(function)
    for starred in filter(None, (node.args.vararg, node.args.kwarg)):
        refuse(source.span(starred), "a starred parameter", "name each parameter", code="KS104")
    annotations = parameter_annotations(function)
    values = function.__defaults__ or ()
    code = function.__code__
    defaults = dict(zip(code.co_varnames[code.co_argcount - len(values) : code.co_argcount], values, strict=True))
    defaults.update(function.__kwdefaults__ or {})
    found = []
    for k, arg in enumerate(parameters(node)):
        annotation = annotations.get(arg.arg)
        found.append(
            Parameter(
                name=arg.arg,
                annotation=annotation,
                template=None if annotation is None else annotated_template(annotation),
                is_tensor=is_tensor(annotation),
                default=defaults.get(arg.arg, NO_DEFAULT),
                keyword_only=k >= code.co_argcount,
                positional_only=k < code.co_posonlyargcount,
            )
        )
    returns = annotated_template(annotations["return"]) if "return" in annotations else None
    return Signature(function.__name__, tuple(found), returns, source.span(node, head=True))

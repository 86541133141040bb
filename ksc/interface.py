"""What a caller sees of a function: its parameters, their defaults and their annotations."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from ksc.arguments import Template
from ksc.frontend.annotations import TensorOf, annotated_template, is_tensor, parameter_annotations
from ksc.frontend.guards import GuardSet
from ksc.frontend.plain import plain_function
from ksc.traced import Places


class Interface:
    """The parameters of a function as they were when this was made.

    Attributes:
        signature: as ``inspect`` gives it.
        templates: what the annotation of each parameter says.
    """

    def __init__(self, fn: Callable[..., Any]) -> None:
        self.signature = inspect.signature(fn)
        plain = plain_function(fn)
        guards = GuardSet()
        if plain is not None:
            guards.record_function(plain)
        self._guards = guards.freeze()
        annotations = parameter_annotations(plain) if plain is not None else {}
        self.templates = [_template(annotations.get(name, inspect.Parameter.empty)) for name in self.names]

    def holds(self) -> bool:
        """Whether the function still has these parameters, defaults and annotations."""
        return all(guard.holds() for guard in self._guards)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the parameters."""
        return tuple(self.signature.parameters)

    @property
    def written(self) -> str:
        """The signature as the user wrote it."""
        # Annotations kept as text would show in quotes.
        return str(self.signature).replace("'", "")

    def by_kind(self, args: Sequence[Any]) -> tuple[Sequence[Any], dict[str, Any]]:
        """The positional arguments and those by keyword alone of ``args``, which has one for each parameter first."""
        pairs = list(zip(self.signature.parameters.values(), args, strict=False))
        by_name = {p.name: arg for p, arg in pairs if p.kind is inspect.Parameter.KEYWORD_ONLY}
        return args[: len(pairs) - len(by_name)], by_name

    def places(self, count: int, names: tuple[str, ...]) -> Places | None:
        """Where each parameter's argument stands among ``count`` positional ones and those named, or its default.

        None where the arguments do not fit, which a call outside a trace has the words for.
        """
        try:
            bound = self.signature.bind(*range(count), **{name: count + k for k, name in enumerate(names)})
        except TypeError:
            return None
        given = bound.arguments
        parameters = self.signature.parameters.values()
        return tuple((given[p.name], None) if p.name in given else (-1, p.default) for p in parameters)


def _template(annotation: Any) -> Template:
    return TensorOf() if is_tensor(annotation) else annotated_template(annotation)

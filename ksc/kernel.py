"""What a decorator returns: a kernel that is specialised, compiled and called, and that shows its every stage."""

from __future__ import annotations

import dataclasses
import inspect
import pickle
import sys
import threading
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch

from ksc import reload
from ksc.arguments import NUMBER_DTYPES, Leaf, bind, flatten, key, map_leaves, rebuild
from ksc.errors import ArgumentError
from ksc.frontend.annotations import annotated_template, parameter_annotations
from ksc.frontend.source import plain_function
from ksc.frontend.values import NONE, Abstract, Struct, Value
from ksc.ir.nodes import Program
from ksc.ir.types import Float
from ksc.mapping import Mapping, from_front, to_front
from ksc.notebook import kernel_html
from ksc.specialise import Specialisation
from ksc.steps import Grad
from ksc.torch import FastCallable, KernelModule, Operator
from ksc.torch.operator import core

CallKind = Literal["primal", "vjp", "jvp"]

reload.install()


@core.vectorcall
class Kernel(FastCallable):
    """A Python function compiled for PyTorch, with its derivatives; made by ``register``, ``vmap`` or ``elementwise``.

    Called with tensors it gives tensors; called with numbers alone it computes in float64 and gives numbers. Tensors of
    float32 and float64 compute in just that, float16 and bfloat16 in float32; mixed dtypes promote as in PyTorch.

    Attributes:
        vjp: ``vjp(*args, *cotangents)``, the transposed Jacobian times a cotangent for each float result, past the
            autograd engine: a cotangent for each argument, None for one that is no float; for one argument just that.
        jvp: ``jvp(*args, *tangents)``, the Jacobian times a tangent for each float argument: a tangent for each result.
        grad: ``grad(*args, argnums=0)``, the gradient of the one float result with respect to ``argnums``, at each lane
            where the kernel maps; raises DifferentiationError where there is no such gradient.
        value_and_grad: ``value_and_grad(*args, argnums=0)``, the pair of result and gradient, computed in one pass.

    Raises:
        ArgumentError: arguments do not fit the parameters.
        UnsupportedError: the function uses Python that has no meaning in a kernel; on the first call.
        TypeMismatchError: types inside the function do not fit together; on the first call.
        KernelRuntimeError: an assert failed, an integer was divided by zero, recursion went too deep.
    """

    def __init__(self, fn: Callable[..., Any], mapping: Mapping, steps: tuple[Grad, ...] = ()) -> None:
        if not callable(fn):
            raise ArgumentError(f"a kernel is made of a function, not of a {type(fn).__name__}")
        self.__wrapped__ = fn
        self.__name__: str = getattr(fn, "__name__", type(fn).__name__)
        self.__qualname__: str = getattr(fn, "__qualname__", self.__name__)
        self.__module__: str = getattr(fn, "__module__", "__main__")
        self.__doc__ = fn.__doc__
        self.mapping = mapping
        self.steps = steps
        self._lock = threading.RLock()
        self._specialisations: dict[Hashable, Specialisation] = {}
        self._gradients: dict[Grad, Kernel] = {}
        self._plain_call: Callable[..., Any] = self
        self._prepare = _constant_under_dynamo(self._set_plain_call)
        self.vjp = _Derivative(self, "vjp")
        self.jvp = _Derivative(self, "jvp")
        self.grad = _Gradient(self, with_value=False)
        self.value_and_grad = _Gradient(self, with_value=True)
        reload.remember(self)

    # Calling

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The function's results for ``args``: tensors, numbers or structures of these."""
        if torch.compiler.is_dynamo_compiling() and self._prepare() and not kwargs:
            return self._plain_call(*args)
        special, leaves = self._specialise(args, kwargs)
        self._arm(self, special, "primal")
        return rebuild(special.result, iter(self._flat(special, leaves, (), "primal")))

    def gradient(self, argnums: int | tuple[int, ...] = 0, *, with_value: bool = False) -> Kernel:
        """The kernel of ``grad``, or of ``value_and_grad``."""
        step = Grad(argnums if isinstance(argnums, int) else tuple(argnums), with_value)
        with self._lock:
            if step not in self._gradients:
                self._gradients[step] = Kernel(self.__wrapped__, self.mapping, (*self.steps, step))
            return self._gradients[step]

    def compile(
        self, example_inputs: Iterable[Any], *, derivations: Sequence[str] = ("", "v"), dtype: torch.dtype | None = None
    ) -> Kernel:
        """Build ahead of time what a call with arguments like ``example_inputs`` needs, and give the kernel back.

        Args:
            example_inputs: one value for each parameter; only structure and dtypes count.
            derivations: which ones, see ``ksc.derive``.
            dtype: the floating dtype, in place of the inputs'.
        """
        special, leaves = self._specialise(tuple(example_inputs), {})
        for derivation in derivations:
            special.built(derivation, dtype or float_dtype(leaves))
        return self

    # The PyTorch side

    @property
    def op(self) -> Any:
        """The operator, ``torch.ops.knossos.<name>.default``; it takes the flat arguments as tensors."""
        return self._annotated().operator.op

    @property
    def nnModule(self) -> KernelModule:  # noqa: N802  the documented spelling
        """A new ``nn.Module`` that calls the kernel."""
        return KernelModule(self)

    @property
    def autogradFunction(self) -> type[torch.autograd.Function]:  # noqa: N802  the documented spelling
        """A ``torch.autograd.Function`` over the operator."""
        return self._annotated().operator.autograd_function

    # Looking inside

    @property
    def program(self) -> Program:
        """The optimised IR of the function as the kernel maps it."""
        return self._mapped("")

    @property
    def ir(self) -> str:
        """The IR as text; ``vjp_ir`` and ``jvp_ir`` are those of the derivatives."""
        return _text(self._mapped(""))

    @property
    def vjp_ir(self) -> str:
        """The IR of the vjp as text."""
        return _text(self._mapped("v"))

    @property
    def jvp_ir(self) -> str:
        """The IR of the jvp as text."""
        return _text(self._mapped("j"))

    @property
    def cpp(self) -> str:
        """The generated C++ of the kernel and its vjp, in the default dtype."""
        return self._annotated().source("", torch.get_default_dtype()).text

    @property
    def source_path(self) -> Path:
        """Where that C++ lies, below ``build/torch_extensions``; it is built if it was not yet."""
        return self._annotated().built("", torch.get_default_dtype()).source_path

    def __repr__(self) -> str:
        steps = "".join("value_and_grad of " if step.with_value else "grad of " for step in reversed(self.steps))
        code = getattr(self.__wrapped__, "__code__", None)
        place = f" at {code.co_filename}:{code.co_firstlineno}" if code else ""
        return f"<knossos {self.mapping.name} of {steps}{self.__name__}{self._written_signature}{place}>"

    def _repr_html_(self) -> str:
        return kernel_html(repr(self), self.__wrapped__, self.cpp)

    # Copying and pickling: a kernel is known by the function it is made of.

    def __copy__(self) -> Kernel:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Kernel:
        return self

    def __reduce__(self) -> str | tuple[Any, ...]:
        found = _look_up(self.__module__, self.__qualname__)
        if found is self:
            return str(self.__qualname__)
        if found is self.__wrapped__:
            return Kernel, (self.__wrapped__, self.mapping, self.steps)
        if isinstance(found, Kernel) and found.__wrapped__ is self.__wrapped__:
            return _remade, (found, self.mapping, self.steps)
        raise pickle.PicklingError(
            f"the kernel {self.__name__} is made of a function that cannot be found as "
            f"{self.__module__}.{self.__qualname__}; define it at the top level of a module"
        )

    @property
    def __knossos_function__(self) -> Callable[..., Any]:
        """The function that a call inside another kernel means; a gradient has none."""
        if self.steps:
            raise AttributeError(f"{self!r} is no plain function")
        return self.__wrapped__

    # How a call finds its program

    @cached_property
    def _signature(self) -> inspect.Signature:
        return inspect.signature(self.__wrapped__)

    @property
    def _written_signature(self) -> str:
        # Annotations kept as text would show in quotes.
        return str(self._signature).replace("'", "")

    @cached_property
    def _templates(self) -> list[Value | None]:
        fn = plain_function(self.__wrapped__)
        annotations = parameter_annotations(fn) if fn is not None else {}
        return [
            annotated_template(annotations.get(name, inspect.Parameter.empty)) for name in self._signature.parameters
        ]

    def _specialise(self, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[Specialisation, list[Leaf]]:
        values = bind(self._signature, self.__name__, args, kwargs)
        leaves: list[Leaf] = []
        params = [
            flatten(value, template, name, leaves)
            for value, template, name in zip(values, self._templates, self._signature.parameters, strict=True)
        ]
        return self._special(params), leaves

    def _special(self, params: Sequence[Value]) -> Specialisation:
        known = tuple(key(param) for param in params)
        with self._lock:
            special = self._specialisations.get(known)
            if special is None or not special.holds():
                names = tuple(self._signature.parameters)
                shared = self.mapping.shared(len(params))
                special = Specialisation(
                    self.__wrapped__, params, names, self.steps, self.mapping.lift, shared, lambda: (_operator, (self,))
                )
                self._specialisations[known] = special
            return special

    def _annotated(self) -> Specialisation:
        """The program that the annotations alone tell, or that of the only call so far."""
        if all(template is not None for template in self._templates):
            return self._special([template for template in self._templates if template is not None])
        if len(self._specialisations) == 1:
            return next(iter(self._specialisations.values()))
        raise ArgumentError(
            f"the annotations of {self.__name__}{self._signature} do not tell the types of its parameters",
            remedy="annotate them with float, int or bool, or call the kernel first",
        )

    def _set_plain_call(self) -> bool:
        """Whether the operator itself is the kernel, as the annotations tell; ``_plain_call`` then calls it."""
        if not self.mapping.is_plain or not all(isinstance(template, Abstract) for template in self._templates):
            return False
        special = self._annotated()
        if not _is_flat(special.result):
            return False
        self._plain_call = special.operator.call
        return True

    def _mapped(self, derivation: str) -> Program:
        from ksc.transforms import vmap

        program = self._annotated().program_of(derivation)
        return program if self.mapping.lift == "scalar" else vmap(program)

    def _arm(self, call: FastCallable, special: Specialisation, kind: CallKind) -> None:
        """Let later calls like this one take the fast path, where the flat results are the results."""
        if not self.mapping.is_plain or not all(isinstance(param, Abstract) for param in special.params):
            return
        spec = special.spec
        flat = {
            "primal": _is_flat(special.result),
            "vjp": len(spec.float_args) == len(spec.args),
            "jvp": _is_flat(special.result) and len(spec.float_results) == len(spec.results),
        }[kind]
        if flat:
            call.share_binding(special.operator.call if kind == "primal" else getattr(special.operator, kind))
            call.set_guards(tuple((guard.container, guard.name, guard.seen) for guard in special.guards))

    def _call_derivative(self, kind: Literal["vjp", "jvp"], args: tuple[Any, ...]) -> Any:
        count = len(self._signature.parameters)
        special, leaves = self._specialise(args[:count], {})
        seeds, what = _flat_seeds(args[count:]), "cotangent" if kind == "vjp" else "tangent"
        wanted = special.spec.float_results if kind == "vjp" else special.spec.float_args
        if len(seeds) != len(wanted):
            raise ArgumentError(
                f"the {kind} of {self.__name__} takes {len(wanted)} {what}(s) after its {count} argument(s), "
                f"and {len(seeds)} were given"
            )
        call = self.vjp if kind == "vjp" else self.jvp
        self._arm(call, special, kind)
        flat = self._flat(special, leaves, seeds, kind)
        if kind == "jvp":
            return rebuild(_floats_only(special.result), iter(flat))
        bars = iter(flat)
        parts = [rebuild(_floats_only(param), bars) for param in special.params]
        return parts[0] if len(parts) == 1 else tuple(parts)

    def _flat(
        self, special: Specialisation, leaves: Sequence[Leaf], seeds: Sequence[Any], kind: CallKind
    ) -> Sequence[Any]:
        """The flat results; numbers alone are computed in float64 and give numbers."""
        values = [leaf.value for leaf in leaves]
        numbers = not any(isinstance(value, torch.Tensor) for value in (*values, *seeds))
        if numbers:
            values = [torch.tensor(leaf.value, dtype=NUMBER_DTYPES[leaf.kind]) for leaf in leaves]
            seeds = [torch.tensor(seed, dtype=torch.float64) for seed in seeds]
        spec = special.spec
        arg_dims = self.mapping.arg_dims(special.owners, len(special.params))
        float_arg_dims = [arg_dims[k] for k in spec.float_args]
        result_dims = self.mapping.result_dims(len(spec.results))
        float_result_dims = [result_dims[k] for k in spec.float_results]
        seed_dims, out_dims = {
            "primal": ([], result_dims),
            "vjp": (float_result_dims, float_arg_dims),
            "jvp": (float_arg_dims, float_result_dims),
        }[kind]
        call = special.operator.call if kind == "primal" else getattr(special.operator, kind)
        results = call(*to_front(values, arg_dims), *to_front(seeds, seed_dims))
        flat = results if isinstance(results, tuple) else (results,)
        return [result.item() for result in flat] if numbers else from_front(flat, out_dims)


@core.vectorcall
class _Derivative(FastCallable):
    """The vjp or jvp of a kernel as a callable."""

    def __init__(self, kernel: Kernel, kind: Literal["vjp", "jvp"]) -> None:
        self.kernel = kernel
        self.kind: Literal["vjp", "jvp"] = kind

    def __call__(self, *args: Any) -> Any:
        """Call the derivative with the arguments, then the seeds."""
        return self.kernel._call_derivative(self.kind, args)

    def __repr__(self) -> str:
        return f"<{self.kind} of {self.kernel!r}>"

    def __deepcopy__(self, memo: dict[int, Any]) -> _Derivative:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (self.kernel, self.kind)


@core.vectorcall
class _Gradient(FastCallable):
    """The ``grad`` or ``value_and_grad`` of a kernel as a callable."""

    def __init__(self, kernel: Kernel, *, with_value: bool) -> None:
        self.kernel = kernel
        self.with_value = with_value

    def __call__(self, *args: Any, argnums: int | tuple[int, ...] = 0, **kwargs: Any) -> Any:
        """Call the gradient with the arguments of the kernel."""
        gradient = self.kernel.gradient(argnums, with_value=self.with_value)
        result = gradient(*args, **kwargs)
        # The fast path is for calls that name no argnums.
        if argnums == 0 and not kwargs:
            gradient._arm(self, gradient._specialise(args, kwargs)[0], "primal")
        return result

    def __repr__(self) -> str:
        return f"<{'value_and_grad' if self.with_value else 'grad'} of {self.kernel!r}>"

    def __deepcopy__(self, memo: dict[int, Any]) -> _Gradient:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (self.kernel, "value_and_grad" if self.with_value else "grad")


def float_dtype(leaves: Iterable[Leaf]) -> torch.dtype:
    """The dtype that PyTorch promotes the float tensors among ``leaves`` to; float64 where there is no tensor."""
    tensors = [leaf.value for leaf in leaves if isinstance(leaf.value, torch.Tensor)]
    floats = [tensor for tensor in tensors if tensor.is_floating_point()]
    if not floats:
        return torch.get_default_dtype() if tensors else torch.float64
    result = floats[0]
    dtype = result.dtype
    for tensor in floats[1:]:
        dtype = torch.result_type(torch.empty(result.shape, dtype=dtype), tensor)
    return dtype


def _text(program: Program) -> str:
    from ksc.ir.text import to_text

    return to_text(program)


def _is_flat(result: Value) -> bool:
    """Whether the operator's results are the function's as they stand."""
    if isinstance(result, Struct):
        return (
            result.cls is tuple and len(result.items) > 1 and all(isinstance(item, Abstract) for item in result.items)
        )
    return isinstance(result, Abstract)


def _floats_only(value: Value) -> Value:
    """The structure of tangents or cotangents: None in the place of what is no float."""
    return map_leaves(value, lambda type_: Abstract(type_) if type_ == Float else NONE)


def _flat_seeds(seeds: Iterable[Any]) -> list[Any]:
    """The leaves of seeds given in the structure of what they belong to; None stands for what is no float."""
    flat: list[Any] = []
    for seed in seeds:
        if isinstance(seed, tuple):
            flat += _flat_seeds(seed)
        elif dataclasses.is_dataclass(seed) and not isinstance(seed, type):
            flat += _flat_seeds(getattr(seed, field.name) for field in dataclasses.fields(seed))
        elif seed is not None:
            flat.append(seed)
    return flat


def _constant_under_dynamo(decide: Callable[[], bool]) -> Callable[[], bool]:
    """A function that Dynamo runs while it traces, taking what it gives as a constant."""

    def constant() -> bool:
        return decide()

    constant._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return constant


def _look_up(module: str, qualname: str) -> Any:
    found: Any = sys.modules.get(module)
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return found


def _remade(kernel: Kernel, mapping: Mapping, steps: tuple[Grad, ...]) -> Kernel:
    return Kernel(kernel.__wrapped__, mapping, steps)


def _operator(kernel: Kernel) -> Operator:
    """The operator of a kernel that its annotations tell, as it is found again after pickling."""
    return kernel._annotated().operator

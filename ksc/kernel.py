"""What a decorator returns: a kernel that is specialised, compiled and called, and that shows its every stage."""

from __future__ import annotations

import inspect
import pickle
import sys
import threading
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal

import torch
from typing_extensions import ParamSpec, TypeVar

from ksc import reload
from ksc.arguments import Leaf, Template, bind, flatten, flatten_seeds, key, map_leaves, rebuild
from ksc.derivatives import Derivative, Gradient, tangent_of
from ksc.diagnostics import without_own_frames
from ksc.errors import ArgumentError, KnossosError
from ksc.frontend.guards import MISSING
from ksc.frontend.values import NONE, Abstract, Static, Struct, Value, leaves
from ksc.inside import Inside
from ksc.interface import Interface
from ksc.mapping import Mapping
from ksc.running import CallKind, float_dtype, permuted_call, run
from ksc.small import SmallSizes
from ksc.specialise import Lanes, Specialisation
from ksc.torch.operator import FastCallable, Operator, core
from ksc.traced import FlatCall, TracedCalls

if TYPE_CHECKING:
    from ksc.explore import Exploration
    from ksc.frontend.special import Derived
    from ksc.steps import Step
    from ksc.torch.module import KernelModule
    from ksc.whole import Whole

MAX_SPECIALISATIONS = 256
"""How many structures of arguments a kernel may be compiled for: more of them are an accident."""

P = ParamSpec("P", default=...)
"""The parameters of a call."""

R = TypeVar("R", default=Any, covariant=True)
"""What a call gives."""

reload.install()


@core.vectorcall
class Kernel(Inside, FastCallable, Generic[P, R]):
    """A Python function compiled for PyTorch, with its derivatives; made by ``register``, ``vmap`` or ``elementwise``.

    Called with tensors it gives tensors; called with numbers alone it computes in float64 and gives numbers. Tensors of
    float32 and float64 compute in just that, float16 and bfloat16 in float32; mixed dtypes promote as in PyTorch.

    Attributes:
        vjp: ``vjp(*args, *cotangents)``, the transposed Jacobian times a cotangent for each float result, past the
            autograd engine: a cotangent for each argument, None for one that is no float; for one argument just that.
        jvp: ``jvp(*args, *tangents)``, the Jacobian times a tangent for each float argument: a tangent for each result.
        grad: ``grad(*args, argnums=0)``, the gradient of the one float result with respect to ``argnums``, numbers or
            names, at each lane where the kernel maps; raises DifferentiationError where there is no such gradient.
        value_and_grad: ``value_and_grad(*args, argnums=0)``, the pair of result and gradient, computed in one pass.
        jacobian: ``jacobian(*args, argnums=0, mode="auto")``, all derivatives of the float results, see
            ``knossos.jacobian``; ``hessian`` likewise.

    Raises:
        ArgumentError: arguments do not fit the parameters.
        UnsupportedError: the function uses Python that has no meaning in a kernel; on the first call.
        TypeMismatchError: types inside the function do not fit together; on the first call.
        KernelRuntimeError: an assert failed, an integer was divided by zero, recursion went too deep.
    """

    def __init__(self, fn: Callable[..., Any], mapping: Mapping, steps: tuple[Step, ...] = ()) -> None:
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
        self._small = SmallSizes()
        self._derived: dict[Step, Kernel] = {}
        self._latest: Specialisation | None = None
        self._known_interface: Interface | None = None
        self._traced = TracedCalls(self._flat_call, lambda count, names: self._interface.places(count, names))
        self.vjp = Derivative(self, "vjp")
        self.jvp = Derivative(self, "jvp")
        self.grad = Gradient(self, with_value=False)
        self.value_and_grad = Gradient(self, with_value=True)
        reload.remember(self)

    # Calling

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The function's results for ``args``: tensors, numbers or structures of these."""
        __tracebackhide__ = True
        if torch.compiler.is_dynamo_compiling():
            found: R = self._traced.call(args, kwargs)
            if found is not NotImplemented:
                return found
        special, leaves = self._specialise(args, kwargs)
        self._arm(self, special, "primal")
        result: R = rebuild(special.result, iter(run(self.mapping, special, leaves, (), "primal")))
        return result

    def gradient(self, argnums: int | str | tuple[int | str, ...] = 0, *, with_value: bool = False) -> Kernel:
        """The kernel of ``grad``, or of ``value_and_grad``."""
        from ksc.steps import Grad

        return self.derived(Grad(self.positions(argnums), with_value))

    @cached_property
    def jacobian(self) -> Whole:
        """``jacobian(*args, argnums=0, mode="auto")``, all derivatives of the float results."""
        from ksc.whole import Whole

        return Whole(self, "jacobian")

    @cached_property
    def hessian(self) -> Whole:
        """``hessian(*args, argnums=0, mode="auto")``, the Jacobian of the gradient of the one float result."""
        from ksc.whole import Whole

        return Whole(self, "hessian")

    def derived(self, step: Step) -> Kernel:
        """The kernel of what a step makes of the function."""
        with self._lock:
            if step not in self._derived:
                self._derived[step] = Kernel(self.__wrapped__, self.mapping, (*self.steps, step))
            return self._derived[step]

    def positions(self, argnums: int | str | Sequence[int | str]) -> int | tuple[int, ...]:
        """The positions of arguments given by number or name. Raises ArgumentError for a name that is none of them."""
        if isinstance(argnums, int):
            return argnums
        if isinstance(argnums, str):
            names = list(self._signature.parameters)
            if argnums not in names:
                raise ArgumentError(f"{self.__name__}{self._interface.written} has no argument {argnums!r}")
            return names.index(argnums)
        positions = [self.positions(argnum) for argnum in argnums]
        return tuple(position for position in positions if isinstance(position, int))

    def with_defaults(self, args: Sequence[Any]) -> tuple[Any, ...]:
        """One argument for each parameter: ``args``, and the defaults of the others."""
        values = bind(self._signature, self.__name__, args, {})
        return (*args, *values[len(args) :])

    def float_positions(self, args: Sequence[Any]) -> tuple[int, ...]:
        """The positions of the arguments that hold floats, in a call with ``args``."""
        from ksc.steps import float_leaves

        special, _ = self._specialise(*self._interface.by_kind(args))
        return tuple(k for k in range(len(special.params)) if float_leaves(special.params, k))

    def compile(
        self,
        example_inputs: Iterable[Any] | None = None,
        *,
        derivations: Sequence[str] | None = None,
        dtype: torch.dtype | None = None,
        device: str | None = None,
    ) -> Kernel:
        """Build ahead of time what a call with arguments like ``example_inputs`` needs, and give the kernel back.

        Args:
            example_inputs: one value for each parameter; only structure, dtypes, the number of dimensions and which of
                these are of size 1 count. None for what the annotations say, or for arguments like the latest call's.
            derivations: which ones, see ``ksc.derive``; by default the value, and the vjp where there is one.
            dtype: the floating dtype, in place of the inputs', or of the default dtype where there are none.
            device: ``"cuda"`` for GPUs as well, at the same time; no GPU is needed for it.
        """
        special, leaves = self.example(example_inputs)
        inputs = float_dtype(leaves) if example_inputs is not None else torch.get_default_dtype()
        wanted = list(special.likely if derivations is None else derivations)
        special.build_all(wanted, dtype or inputs, device)
        return self

    def load(self, dtype: torch.dtype | None = None) -> Kernel:
        """Build, as ``compile()`` does, and open what was built, so that the first call has nothing to wait for."""
        special = self._annotated()
        for derivation in special.likely:
            special.loaded(derivation, dtype or torch.get_default_dtype())
        return self

    # The PyTorch side

    @property
    def op(self) -> Any:
        """The operator, ``torch.ops.knossos.<name>.default``; it takes the flat arguments as tensors."""
        return self._annotated().operator.op

    @property
    def nnModule(self) -> KernelModule:  # noqa: N802  the documented spelling
        """A new ``nn.Module`` that calls the kernel."""
        from ksc.torch.module import KernelModule

        return KernelModule(self)

    @property
    def autogradFunction(self) -> type[torch.autograd.Function]:  # noqa: N802  the documented spelling
        """A ``torch.autograd.Function`` over the operator."""
        return self._annotated().operator.autograd_function

    # Looking inside

    def explore(
        self,
        example_inputs: Iterable[Any] | None = None,
        *,
        path: str | Path | None = None,
        dtype: torch.dtype | None = None,
        plot_range: tuple[float, float] = (-3.0, 3.0),
    ) -> Exploration:
        """A page that shows the kernel at every stage, complete in one file; opened in the browser.

        The Python source, the IR after each pass, that of the vjp and jvp, and the C++ stand side by side, and a line
        lights up what it became. In a notebook the page is shown there, and with a ``path`` it is only written.

        Args:
            example_inputs: as of ``compile``; their sizes are put into the counts of operations and memory.
            path: where to write the page.
            dtype: what floats are in the C++; the default dtype where it is None.
            plot_range: over which arguments a function of one number is drawn.

        Raises what a first call does.
        """
        from ksc.explore import explore

        return explore(self, example_inputs, path=path, dtype=dtype, plot_range=plot_range)

    def example(self, example_inputs: Iterable[Any] | None) -> tuple[Specialisation, list[Leaf]]:
        """The program for such arguments, and these; for None what the annotations say, or the latest call."""
        if example_inputs is None:
            return self._annotated(), []
        return self._specialise(tuple(example_inputs), {})

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """The names of the parameters."""
        return tuple(self._signature.parameters)

    def __repr__(self) -> str:
        steps = "".join(f"{step.name} of " for step in reversed(self.steps))
        code = getattr(self.__wrapped__, "__code__", None)
        place = f" at {code.co_filename}:{code.co_firstlineno}" if code else ""
        return f"<knossos {self.mapping.name} of {steps}{self.__name__}{self._interface.written}{place}>"

    def _repr_html_(self) -> str:
        from ksc.notebook import kernel_html

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

    @property
    def __knossos_maps__(self) -> bool:
        """Whether the kernel maps over tensors, which its function does not."""
        return self.mapping.lift != "scalar"

    @property
    def __knossos_derived__(self) -> Derived | None:
        """The derivative that a call inside another kernel means."""
        from ksc.frontend.special import Derived

        return Derived(self.__wrapped__, self.steps) if self.steps else None

    # How a call finds its program

    @property
    def _interface(self) -> Interface:
        found = self._known_interface
        if found is None or not found.holds():
            found = self._known_interface = Interface(self.__wrapped__)
        return found

    @property
    def _signature(self) -> inspect.Signature:
        return self._interface.signature

    def _specialise(self, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[Specialisation, list[Leaf]]:
        __tracebackhide__ = True
        interface = self._interface
        values = bind(interface.signature, self.__name__, args, kwargs)
        flat: list[Leaf] = []
        in_dims = self.mapping.in_dims(len(values))
        params = [
            flatten(value, template, name, flat, dims, scalars=self.mapping.lift == "broadcast")
            for value, template, name, dims in zip(values, interface.templates, interface.names, in_dims, strict=True)
        ]
        lanes = tuple(map(Lanes.of, flat))
        steps_in_python = self.mapping.backend == "interpret"
        refined = None if steps_in_python else self._small.refine(params, flat)
        if refined is not None:
            try:
                return self._special(refined, lanes), flat
            except KnossosError:
                # The program for any sizes has the words, and stops only where a call gets so far.
                self._small.refuse(params, refined)
        return self._special(params, lanes), flat

    @without_own_frames
    def _special(self, params: Sequence[Value], lanes: tuple[Lanes, ...]) -> Specialisation:
        known = (*(key(param) for param in params), lanes)
        with self._lock:
            special = self._specialisations.get(known)
            if special is None or not special.holds():
                if special is None and len(self._specialisations) >= MAX_SPECIALISATIONS:
                    raise ArgumentError(
                        f"{self.__name__} was compiled for {MAX_SPECIALISATIONS} different structures of arguments",
                        remedy="pass functions that are defined once, and numbers rather than text",
                    )
                special = Specialisation(
                    self.__wrapped__,
                    params,
                    self._interface.names,
                    self.steps,
                    self.mapping,
                    lanes,
                    lambda: (_operator, (self, tuple(params), lanes)),
                )
                self._specialisations[known] = special
            self._latest = special
            return special

    def _annotated(self) -> Specialisation:
        """The program that the annotations alone tell, or that of the latest call."""
        templates = self._interface.templates
        params = [template for template in templates if isinstance(template, Value)]
        found = [leaf for param in params for leaf in leaves(param)]
        numbers = not any(isinstance(leaf, Abstract) and leaf.is_tensor for leaf in found)
        if len(params) == len(templates) and (numbers or not self.mapping.levels):
            dims = self.mapping.in_dims(len(params))
            lanes = [
                Lanes(
                    tuple(dim is not None for dim in dims[k]),
                    len(dims[k]) > 0 and not any(dim is not None for dim in dims[k]),
                )
                for k, param in enumerate(params)
                for _ in leaves(param)
            ]
            return self._special(params, tuple(lanes))
        latest = self._last_called()
        if latest is not None:
            return latest
        raise ArgumentError(
            f"the annotations of {self.__name__}{self._interface.written} do not tell the types of its parameters",
            remedy="annotate numbers with float, int or bool; for tensors, call the kernel first, "
            "or compile(example_inputs), so that it knows their number of dimensions (`ksc` takes --args)",
        )

    def _last_called(self) -> Specialisation | None:
        """That of the latest call, or of one of a derivative, whose arguments are those of the kernel."""
        if self._latest is None:
            for kernel in tuple(self._derived.values()):
                called = kernel._last_called()
                if called is not None:
                    return self._special(called.params, called.lanes)
        return self._latest

    def _flat_call(self, args: tuple[Any, ...], kind: CallKind = "primal") -> FlatCall | None:
        """What calls with such arguments come to, where the arguments pass as they are."""
        if len(args) < len(self._signature.parameters):
            return None
        special, given = self._specialise(*self._interface.by_kind(args))
        if self._is_flat(special, kind):
            return special.call(kind), None
        if kind != "primal":
            return None
        return (
            special.call(kind) if self.mapping.is_plain else permuted_call(self.mapping, special, given)
        ), special.result

    def _is_flat(self, special: Specialisation, kind: CallKind) -> bool:
        """Whether arguments and results pass between the kernel and its operator as they are."""
        if not self.mapping.is_plain or not all(isinstance(param, Abstract) for param in special.params):
            return False
        spec = special.spec
        if kind == "vjp":
            return len(spec.float_args) == len(spec.args)
        return _is_flat(special.result) and (kind == "primal" or len(spec.float_results) == len(spec.results))

    def _arm(
        self,
        call: FastCallable,
        special: Specialisation,
        kind: CallKind,
        seeds: Sequence[Any] = (),
        reserved: tuple[str, ...] = (),
    ) -> None:
        """Let later calls like this one take the fast path; ``reserved`` arguments by name are for ``__call__``."""
        if not self.mapping.is_plain:
            return
        from ksc.layout import derivative_layout, parameters_layout, result_part

        interface = self._interface
        if kind == "primal":
            layout, result = parameters_layout(interface, special.params, reserved), special.result
        else:
            layout, result = derivative_layout(interface, special.params, seeds), _derivatives(special, kind)
        # What is not annotated was a number in each lane; with more axes it is a tensor.
        limited = not special.takes_tensors and self.mapping.lift == "same"
        limit = (len(self.mapping.levels),) if limited and not all(map(_is_number, interface.templates)) else ()
        guards = tuple(
            (guard.container, guard.name, *(() if guard.seen is MISSING else (guard.seen,))) for guard in special.guards
        )
        layout = special.layouts.setdefault((kind, reserved, layout[len(special.params) :]), layout)
        call.arm(special.call(kind), guards, layout, result_part(result), *limit)

    def _call_derivative(self, kind: Literal["vjp", "jvp"], args: tuple[Any, ...]) -> Any:
        count = len(self._signature.parameters)
        special, leaves = self._specialise(*self._interface.by_kind(args))
        seeds, what = flatten_seeds(args[count:]), "cotangent" if kind == "vjp" else "tangent"
        wanted = special.spec.float_results if kind == "vjp" else special.spec.float_args
        if len(seeds) != len(wanted):
            raise ArgumentError(
                f"the {kind} of {self.__name__} takes {len(wanted)} {what}(s) after its {count} argument(s), "
                f"and {len(seeds)} were given"
            )
        self._arm(self.vjp if kind == "vjp" else self.jvp, special, kind, args[count:])
        return rebuild(_derivatives(special, kind), iter(run(self.mapping, special, leaves, seeds, kind)))


def _is_flat(result: Value) -> bool:
    """Whether the operator's results are the function's as they stand."""
    if isinstance(result, Struct):
        return (
            result.cls is tuple and len(result.items) > 1 and all(isinstance(item, Abstract) for item in result.items)
        )
    return isinstance(result, Abstract)


def _derivatives(special: Specialisation, kind: CallKind) -> Value:
    """The structure of what the jvp or vjp gives."""
    if kind == "jvp":
        return map_leaves(special.result, tangent_of)
    parts = tuple(NONE if isinstance(param, Static) else map_leaves(param, tangent_of) for param in special.params)
    return parts[0] if len(parts) == 1 else Struct(tuple, parts)


def _is_number(template: Template) -> bool:
    """Whether an annotation says that a parameter receives a number."""
    return isinstance(template, Abstract) and not template.is_tensor


def _look_up(module: str, qualname: str) -> Any:
    found: Any = sys.modules.get(module)
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return found


def _remade(kernel: Kernel, mapping: Mapping, steps: tuple[Step, ...]) -> Kernel:
    return Kernel(kernel.__wrapped__, mapping, steps)


def _operator(kernel: Kernel, params: tuple[Value, ...], lanes: tuple[Lanes, ...]) -> Operator:
    """The operator of one specialisation of a kernel, as it is found again after pickling."""
    return kernel._special(params, lanes).operator

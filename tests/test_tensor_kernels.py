"""Kernels of functions of tensors, as a user meets them."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import pytest
import torch
from torch import func
from torch.testing import assert_close

import ksc as knossos
from ksc.errors import ArgumentError, DifferentiationError, KernelRuntimeError, UnsupportedError

F64 = torch.float64


def rand(*shape: int, dtype: torch.dtype = F64, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed)) + 0.25


@knossos.register
def sqrl(x: torch.Tensor):
    """Squared leaky ReLU of a small block, typically 4x4."""
    y = torch.sum(x)
    if y < 0.0:
        t = -0.125 * x
    else:
        t = 1 / 2 * x**2
    return torch.mean(torch.sin(t) * t)


def sqrl_reference(x: torch.Tensor) -> torch.Tensor:
    t = torch.where(x.sum() < 0, -0.125 * x, 0.5 * x**2)
    return torch.mean(torch.sin(t) * t)


vsqrl = knossos.vmap(sqrl)


@knossos.register
def doubled(x: torch.Tensor):
    return torch.sum(x) * 2.0 + 0.125


@knossos.register
def scaled(x: torch.Tensor, s: float, n: int):
    return x * s + n


@knossos.register
def repeated(x: torch.Tensor, n: int):
    out = torch.zeros(n, x.shape[0])
    for i in range(n):
        out[i] = x * i
    return out


@dataclass(frozen=True)
class Layer:
    weight: torch.Tensor
    bias: torch.Tensor
    scale: float


class Out(NamedTuple):
    y: torch.Tensor
    norm: torch.Tensor


@knossos.register
def apply_layer(layer: Layer, x: torch.Tensor):
    y = layer.scale * (layer.weight @ x) + layer.bias
    return Out(y, torch.sum(y * y))


def apply_reference(weight: torch.Tensor, bias: torch.Tensor, scale: float, x: torch.Tensor) -> Any:
    y = scale * (weight @ x) + bias
    return y, (y * y).sum()


class TestTheTour:
    @pytest.mark.parametrize("dtype", [torch.float32, F64])
    def test_sqrl_and_its_vmap(self, dtype: torch.dtype) -> None:
        xs = torch.randn(10, 4, 4, dtype=dtype, generator=torch.Generator().manual_seed(1))
        tolerance = {"rtol": 1e-5, "atol": 1e-6} if dtype == torch.float32 else {"rtol": 1e-12, "atol": 1e-14}
        assert_close(sqrl(xs[0]), sqrl_reference(xs[0]), **tolerance)
        assert_close(vsqrl(xs), func.vmap(sqrl_reference)(xs), **tolerance)
        gradient = func.vmap(func.grad(sqrl_reference))(xs)
        for got in (
            knossos.vmap(knossos.grad(sqrl))(xs),
            vsqrl.grad(xs),
            vsqrl.value_and_grad(xs)[1],
            vsqrl.vjp(xs, torch.ones(10, dtype=dtype)),
            func.vmap(sqrl.grad)(xs),
        ):
            assert_close(got, gradient, **tolerance)
        value, tangent = knossos.jvp(vsqrl, (xs,), (xs,))
        assert_close((value, tangent), func.jvp(func.vmap(sqrl_reference), (xs,), (xs,)), **tolerance)

    def test_second_order(self) -> None:
        xs = torch.randn(3, 2, 2, dtype=F64, generator=torch.Generator().manual_seed(2))
        assert_close(func.vmap(func.hessian(sqrl))(xs), func.vmap(func.hessian(sqrl_reference))(xs))
        v = rand(2, 2)
        _, second = knossos.jvp(knossos.grad(sqrl), (xs[0],), (v,))
        assert_close(second, func.jvp(func.grad(sqrl_reference), (xs[0],), (v,))[1])
        assert knossos.gradcheck(sqrl, (xs[0],))

    def test_its_stages_can_be_looked_at(self) -> None:
        sqrl(rand(2, 2))
        assert "def sqrl" in sqrl.ir
        assert "[rev sqrl]" in sqrl.vjp_ir
        assert "sqrl" in sqrl.cpp
        assert sqrl.op.name().startswith("knossos::sqrl_")
        assert sqrl.source_path.is_file()


class TestSpecialisation:
    def test_one_kernel_for_any_number_of_dimensions(self) -> None:
        kernel = knossos.register(lambda x: torch.sum(x * x))
        for shape in [(3,), (2, 3), (1, 3), (), (2, 3, 4), (0,), (3,), (5,)]:
            x = rand(*shape)
            assert_close(kernel(x), (x * x).sum(), check_dtype=True)
            assert_close(kernel.grad(x), 2 * x)

    def test_a_size_of_one_broadcasts_and_any_other_does_not(self) -> None:
        kernel = knossos.register(lambda x, y: x + y)
        for a, b in [((3, 1), (3, 4)), ((3, 4), (4,)), ((1,), (5,)), ((3, 4), (3, 4))]:
            assert_close(kernel(rand(*a), rand(*b, seed=1)), rand(*a) + rand(*b, seed=1))
        with pytest.raises(KernelRuntimeError):
            kernel(rand(3), rand(4))

    def test_a_change_of_shape_is_seen_by_the_fast_path(self) -> None:
        kernel = knossos.register(lambda x, y: x * y)
        for shape in [(3,), (1,), (3,), (2, 3), (3,), (1, 3), (1, 1)]:
            assert_close(kernel(rand(*shape), rand(3)), rand(*shape) * rand(3))

    def test_what_was_a_number_in_a_lane_may_be_a_tensor_in_the_next_call(self) -> None:
        kernel = knossos.vmap(lambda x: x / torch.sum(x))
        assert_close(kernel(rand(3)), torch.ones(3, dtype=F64))
        assert_close(kernel(rand(3, 2)), rand(3, 2) / rand(3, 2).sum(1, keepdim=True))
        assert_close(kernel(rand(3)), torch.ones(3, dtype=F64))

    def test_ranks_that_are_not_known_yet(self) -> None:
        kernel = knossos.register(lambda x: x * 2.0)
        for look in (lambda: kernel.op, lambda: kernel.cpp, lambda: kernel.ir, lambda: kernel.vjp_ir):
            with pytest.raises(ArgumentError, match=r"call the kernel first, or compile\(example_inputs\)"):
                look()
        kernel.compile([torch.empty(2, 3)], derivations=())
        assert "(Tensor 2 Float)" in kernel.ir
        kernel(rand(3))
        assert "(Tensor 1 Float)" in kernel.ir

    @pytest.mark.parametrize("derivative", ["jacobian", "hessian", "grad", "value_and_grad", "vjp", "jvp"])
    def test_ranks_known_of_a_derivative(self, derivative: str) -> None:
        kernel = knossos.register(lambda x: torch.sum(x * x))
        x = rand(3)
        seeds = {"vjp": [torch.tensor(1.0, dtype=F64)], "jvp": [x]}.get(derivative, [])
        getattr(kernel, derivative)(x, *seeds)
        assert "(Tensor 1 Float)" in kernel.ir
        assert "ks::tensor<float, 1> x" in kernel.cpp

    def test_too_many_specialisations(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("ksc.kernel.MAX_SPECIALISATIONS", 2)
        kernel = knossos.register(lambda x, mode: x * 2.0)
        kernel(rand(2), "a")
        kernel(rand(2), "b")
        with pytest.raises(ArgumentError, match="compiled for 2 different structures"):
            kernel(rand(2), "c")
        assert_close(kernel(rand(2), "a"), 2 * rand(2))


class TestArguments:
    def test_numbers_beside_tensors_do_not_widen(self) -> None:
        x = rand(3, dtype=torch.float32)
        assert_close(scaled(x, 2.0, 3), x * 2 + 3)
        assert_close(scaled(x, torch.tensor(2.0, dtype=F64), torch.tensor(3)), x * 2 + 3)
        assert_close(scaled(x, s=2, n=1), x * 2 + 1)
        x_bar, s_bar, n_bar = scaled.vjp(x, 2.0, 3, torch.ones(3))
        assert n_bar is None
        assert_close((x_bar, s_bar), (torch.full((3,), 2.0), x.sum()))

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_precision_computes_in_float32(self, dtype: torch.dtype) -> None:
        x = rand(4, 4).to(dtype)
        assert_close(sqrl(x), sqrl_reference(x.float()).to(dtype))
        assert_close(sqrl.grad(x), func.grad(sqrl_reference)(x.float()).to(dtype))

    def test_promotion_and_cotangents_in_their_own_dtype(self) -> None:
        product = knossos.register(lambda x, y: x * y)
        x, y = rand(3, dtype=torch.float32).requires_grad_(), rand(3).requires_grad_()
        result = product(x, y)
        assert result.dtype == F64
        grads = torch.autograd.grad(result.sum(), (x, y))
        assert [g.dtype for g in grads] == [torch.float32, F64]
        assert [g.dtype for g in product.vjp(x.detach(), y.detach(), rand(3))] == [torch.float32, F64]

    @pytest.mark.parametrize("n", [10**8, 2**31, 2**32, 2**49, 2**62])
    def test_a_result_that_does_not_fit_into_memory(self, n: int) -> None:
        def square(x: torch.Tensor, n: int) -> torch.Tensor:
            return torch.zeros(n, n) + x

        kernel, x = knossos.register(square), torch.ones(())
        for call in (lambda: kernel(x, n), lambda: kernel.jvp(x, n, x), lambda: kernel(x.requires_grad_(), n)):
            with pytest.raises(KernelRuntimeError, match=r"a result of shape .* does not fit into memory") as stopped:
                call()
            assert stopped.value.span is not None
            assert stopped.value.span.line == square.__code__.co_firstlineno + 1

    def test_a_size_that_an_int_tells(self) -> None:
        x = rand(3).requires_grad_()
        for n in (2, torch.tensor(4), 0):
            want = x * torch.arange(int(n), dtype=F64)[:, None]
            assert_close(repeated(x, n), want)
            assert_close(torch.autograd.grad(repeated(x, n).sum(), x), torch.autograd.grad(want.sum(), x))
        with pytest.raises(KernelRuntimeError, match="negative size"):
            repeated(x.detach(), -1)
        compiled = torch.compile(lambda x, n: repeated(x, n), fullgraph=True, dynamic=True, backend="aot_eager")
        for n in (2, 5):
            assert_close(compiled(x, n), repeated(x, n))

    def test_a_result_that_integers_alone_tell(self) -> None:
        @knossos.register
        def table(n: int, doubled: bool = False):
            y = torch.arange(n) * 1.0
            if doubled:
                y = y * 2
            return y.reshape(1, n), n

        rows, count = table(3, True)
        assert (rows.tolist(), count) == ([[0.0, 2.0, 4.0]], 3)
        assert table(0)[0].shape == (1, 0)
        assert table.op(2, torch.tensor(False))[0].tolist() == [[0.0, 1.0]]
        assert rows.dtype == torch.get_default_dtype()

    def test_a_result_without_arguments(self) -> None:
        assert knossos.register(ones)().tolist() == [1.0, 1.0]

    def test_structures_of_tensors(self) -> None:
        layer, x = Layer(rand(2, 3), rand(2), 1.5), rand(3, seed=1)
        out = apply_layer(layer, x)
        assert isinstance(out, Out)
        want = apply_reference(layer.weight, layer.bias, 1.5, x)
        assert_close(tuple(out), want)
        scale = torch.tensor(1.5, dtype=F64)
        layer_bar, x_bar = apply_layer.vjp(layer, x, Out(rand(2), torch.tensor(2.0, dtype=F64)))
        pull = func.vjp(apply_reference, layer.weight, layer.bias, scale, x)[1]
        bars = pull((rand(2), torch.tensor(2.0, dtype=F64)))
        assert_close((layer_bar.weight, layer_bar.bias, x_bar), (bars[0], bars[1], bars[3]))
        assert_close(layer_bar.scale, bars[2])
        dots = apply_layer.jvp(layer, x, Layer(rand(2, 3), rand(2), 0.5), x)
        tangents = (rand(2, 3), rand(2), torch.tensor(0.5, dtype=F64), x)
        assert_close(tuple(dots), func.jvp(apply_reference, (layer.weight, layer.bias, scale, x), tangents)[1])

    def test_results_of_a_call_with_numbers_alone(self) -> None:
        kernel = knossos.register(lambda n, s: (torch.zeros(n) + s, s * 2.0))
        filled, double = kernel(3, 1.5)
        assert_close(filled, torch.full((3,), 1.5, dtype=F64))
        assert (type(double), double) == (float, 3.0)

    LAYOUTS: ClassVar[dict[str, Callable[[torch.Tensor], torch.Tensor]]] = {
        "transposed": lambda x: x.t(),
        "strided": lambda x: x[::2, 1::2],
        "expanded": lambda x: x[:1].expand(4, 6),
        "offset": lambda x: x[2:],
        "empty": lambda x: x[:0],
        "one": lambda x: x[:1, :1],
        "negative bit": lambda x: torch.imag(torch.complex(-x, x).conj()),
    }

    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_layouts(self, layout: str) -> None:
        x = self.LAYOUTS[layout](rand(4, 6))
        assert_close(sqrl(x), sqrl_reference(x), equal_nan=True)
        assert_close(sqrl.grad(x), func.grad(sqrl_reference)(x), equal_nan=True)
        y = x.detach().requires_grad_()
        assert_close(torch.autograd.grad(sqrl(y), y)[0], func.grad(sqrl_reference)(x), equal_nan=True)

    REFUSED: tuple[tuple[Callable[[], Any], type[Exception], str], ...] = (
        (lambda: sqrl(2.0), ArgumentError, "annotated as a tensor, and the float 2.0"),
        (lambda: sqrl(torch.ones(2, dtype=torch.complex64)), ArgumentError, "real numbers"),
        (lambda: scaled(rand(2), rand(2), 1), ArgumentError, "argument s .* shape .*2.*number"),
        (lambda: scaled(rand(2), 1.0, 1.5), ArgumentError, "annotated int"),
        (
            lambda: sqrl.vjp(rand(2, 2), rand(2)),
            ArgumentError,
            r"cotangent of the result .*\(2,\), and should have \(\)",
        ),
        (lambda: scaled.vjp(rand(2), 1.0, 1, rand(3)), ArgumentError, r"shape \(3,\), and should have \(2,\)"),
        (lambda: scaled.jvp(rand(2), 1.0, 1, rand(3), 1.0), ArgumentError, "tangent of x"),
        (lambda: scaled.vjp(rand(2), 1.0, 1, 1.0), ArgumentError, "type float: a tensor of shape"),
        (lambda: knossos.elementwise(sqrl)(rand(2)), (ArgumentError, UnsupportedError), "elementwise"),
        (lambda: knossos.elementwise(lambda x: torch.zeros(3) + x)(rand(2)), UnsupportedError, "elementwise maps"),
        (lambda: knossos.grad(lambda x: x * 2.0)(rand(2)), DifferentiationError, "one float"),
        (lambda: sqrl.op(rand(3)), ValueError, r"argument x is to have .* dimension"),
    )

    @pytest.mark.parametrize(("call", "error", "message"), REFUSED)
    def test_what_does_not_fit(self, call: Callable[[], Any], error: type[Exception], message: str) -> None:
        sqrl(rand(2, 2))
        with pytest.raises(error, match=message):
            call()

    def test_the_operator_checks_seeds(self) -> None:
        sqrl(rand(2, 2))
        vjp = getattr(torch.ops.knossos, sqrl.op.name().removeprefix("knossos::")).v
        with pytest.raises(ValueError, match=r"argument result_bar is to have the shape \(\)"):
            vjp(rand(2, 2), rand(2))

    def test_arguments_are_left_alone(self) -> None:
        x = rand(3)
        before = x.clone()
        result = knossos.register(lambda v: v)(x)
        result.zero_()
        assert_close(x, before)


@knossos.register
def matvec(m: torch.Tensor, v: torch.Tensor):
    return m @ v


def shared_scale(x: torch.Tensor, s: float) -> torch.Tensor:
    return x * s


def ones():
    return torch.ones(2)


class TestVmap:
    DIMS = ((0, 0, 0), (1, 0, 0), (2, -1, 1), ((-1), 0, -1), (0, None, 0), (None, 0, 1))

    @pytest.mark.parametrize(("of_m", "of_v", "out"), DIMS)
    def test_dimensions(self, of_m: int | None, of_v: int | None, out: int) -> None:
        m = rand(2, 3) if of_m is None else rand(5, 2, 3).movedim(0, of_m)
        v = rand(3) if of_v is None else rand(5, 3).movedim(0, of_v)
        got, want = knossos.vmap(matvec, (of_m, of_v), out), func.vmap(torch.mv, (of_m, of_v), out)
        assert_close(got(m, v), want(m, v))
        seed = rand(*want(m, v).shape, seed=3)
        assert_close(got.vjp(m, v, seed), func.vjp(want, m, v)[1](seed))
        assert_close(got.jvp(m, v, m, v), func.jvp(want, (m, v), (m, v))[1])

    @pytest.mark.parametrize(("inner", "outer"), [((0, None), (None, 0)), ((0, 0), (0, 0)), ((1, None), (0, 1))])
    def test_nested(self, inner: Any, outer: Any) -> None:
        sizes = {(0, None): ((4, 2, 3), (5, 3)), (0, 0): ((5, 4, 2, 3), (5, 4, 3)), (1, None): ((5, 2, 4, 3), (3, 5))}
        m, v = (rand(*shape) for shape in sizes[inner])
        got = knossos.vmap(knossos.vmap(matvec, inner, 1), outer, -1)
        want = func.vmap(func.vmap(torch.mv, inner, 1), outer, -1)
        assert_close(got(m, v), want(m, v))
        assert_close(got.vjp(m, v, want(m, v)), func.vjp(want, m, v)[1](want(m, v)))

    def test_nested_over_numbers(self) -> None:
        outer = knossos.vmap(knossos.vmap(lambda x, y: x * y, (0, None)), (None, 0))
        x, y = rand(3), rand(4)
        assert_close(outer(x, y), y[:, None] * x)
        turned = knossos.vmap(knossos.vmap(lambda x: x * 2.0, 0, 0), 1, 0)
        assert_close(turned(rand(2, 3)), 2 * rand(2, 3).t())

    def test_a_number_for_each_lane(self) -> None:
        kernel = knossos.vmap(shared_scale)
        x, s = rand(4, 3, dtype=torch.float32), rand(4)
        assert_close(kernel(x, s), x * s[:, None].float())
        assert_close(kernel(x, 2.0), x * 2)
        assert_close(knossos.vmap(shared_scale, (0, None))(x, torch.tensor(2.0)), x * 2)
        with pytest.raises(ArgumentError):
            kernel(x, rand(4, 3))
        with pytest.raises(KernelRuntimeError, match=r"mapped dimensions of . and . differ in size"):
            kernel.op(x, rand(5))

    def test_structures(self) -> None:
        layers = Layer(rand(4, 2, 3), rand(2, 4), 1.5)
        kernel = knossos.vmap(apply_layer, ((0, 1, None), None), (1, 0))
        x = rand(3, seed=5)
        out = kernel(layers, x)
        want = func.vmap(apply_reference, (0, 1, None, None), (1, 0))(layers.weight, layers.bias, 1.5, x)
        assert_close(tuple(out), want)

    def test_a_call_inside_another_kernel(self) -> None:
        twice = knossos.vmap(lambda x: x * 2.0)
        assert knossos.register(lambda x: twice(x) + 1.0)(3.0) == 7.0
        x = rand(2, 4, 4)
        want = func.vmap(func.grad(sqrl_reference))(x)
        assert_close(knossos.register(lambda x: vsqrl.grad(x))(x), want)

    def test_a_mapping_is_not_undone(self) -> None:
        with pytest.raises(ArgumentError, match="mapped already"):
            knossos.register(vsqrl)
        with pytest.raises(ArgumentError, match="mapped already"):
            knossos.elementwise(knossos.vmap(sqrl, 1))

    def test_an_empty_batch(self) -> None:
        empty = torch.empty(0, 4, 4, dtype=F64, requires_grad=True)
        assert vsqrl(empty).shape == (0,)
        assert torch.autograd.grad(vsqrl(empty).sum(), empty)[0].shape == (0, 4, 4)
        assert knossos.vmap(matvec)(torch.empty(0, 2, 3), torch.empty(0, 3)).shape == (0, 2)

    def test_what_does_not_fit(self) -> None:
        for kernel, args, message in (
            (knossos.vmap(matvec, (0,)), (rand(2, 2, 3), rand(3)), "in_dims names 1 parameters"),
            (
                knossos.vmap(matvec, (3, None)),
                (rand(2, 2, 3), rand(3)),
                "dimension 3, and there are 3: .* out of range",
            ),
            (knossos.vmap(matvec, ((0, 0), None)), (rand(2, 2, 3), rand(3)), "names parts of argument 'm'"),
            (knossos.vmap(matvec, (0, None), (0, 0)), (rand(2, 2, 3), rand(3)), "out_dims names 2 results"),
            (knossos.vmap(repeated, (0, 0)), (rand(2, 3), torch.tensor([1, 2])), "differs between the lanes"),
        ):
            with pytest.raises(ArgumentError, match=message):
                kernel(*args)


@knossos.register
def scaled_power(x: torch.Tensor, n: int = 2, *, negate: bool = False, what: str = "power"):
    y = x**n if what == "power" else x * n
    return -y if negate else y, x.sum()


class TestTracedArguments:
    @pytest.mark.parametrize("dynamic", [False, True])
    def test_defaults_and_keywords_under_fullgraph(self, dynamic: bool) -> None:
        def all_of(call, x):
            return call(x)[0] + call(x, 3)[0] * call(x, negate=True)[1] + call(n=4, x=x, what="multiple")[0]

        compiled = torch.compile(
            lambda x: all_of(scaled_power, x), fullgraph=True, dynamic=dynamic, backend="aot_eager"
        )
        x = rand(5, 4).requires_grad_()
        expected = all_of(scaled_power.__wrapped__, x)
        found = compiled(x)
        torch.testing.assert_close(found, expected)
        wanted = torch.autograd.grad(expected.sum(), x)
        torch.testing.assert_close(torch.autograd.grad(found.sum(), x), wanted)

    def test_a_kernel_of_several_ranks_in_one_graph(self) -> None:
        def total_of_squares(x: torch.Tensor):
            return (x * x).sum()

        total = knossos.register(total_of_squares)
        compiled = torch.compile(
            lambda x: total(x) + total(x[0]) + total(x[0, 0]), fullgraph=True, dynamic=False, backend="aot_eager"
        )
        x = rand(3, 4)
        torch.testing.assert_close(compiled(x), (x * x).sum() + (x[0] * x[0]).sum() + x[0, 0] ** 2)
        torch.testing.assert_close(compiled(x), compiled(x))

    def test_derivatives_take_keyword_arguments_in_the_order_of_the_parameters(self) -> None:
        x, y_bar = rand(3), (rand(3), torch.tensor(1.0))
        x_bar, *rest = scaled_power.vjp(x, 3, True, "power", *y_bar)
        torch.testing.assert_close(x_bar, -3 * x**2 * y_bar[0] + 1)
        assert rest == [None, None, None]

    def test_function_forms_fill_in_defaults(self) -> None:
        def scaled(x: torch.Tensor, s: float = 3.0, n: int = 2):
            return x**n * s

        x, seed = rand(3), rand(3, seed=1)
        value, pullback = knossos.vjp(scaled, x)
        torch.testing.assert_close(value, 3 * x**2)
        torch.testing.assert_close(pullback(seed), (6 * x * seed,))
        torch.testing.assert_close(knossos.jvp(scaled, (x,), (seed,)), (3 * x**2, 6 * x * seed))
        torch.testing.assert_close(knossos.vjp(scaled_power, x)[1](seed, torch.tensor(0.0)), (2 * x * seed,))

    def test_arguments_that_do_not_fit_are_told_as_outside(self) -> None:
        with pytest.raises(Exception, match="unexpected keyword argument 'm'"):
            torch.compile(lambda x: scaled_power(x, m=3), backend="aot_eager")(rand(3))


@knossos.register
def counted(n: int):
    return torch.zeros(n, 2) + n, torch.arange(n)


class TestIdentity:
    def test_pickles_with_its_operator(self) -> None:
        x = rand(2, 2)
        sqrl(x)
        assert pickle.loads(pickle.dumps(sqrl)) is sqrl
        call = sqrl._annotated().operator.call
        assert pickle.loads(pickle.dumps(call)) is call
        assert_close(pickle.loads(pickle.dumps(vsqrl))(x[None]), vsqrl(x[None]))
        assert_close(pickle.loads(pickle.dumps(sqrl.nnModule))(x), sqrl(x))

    def test_pickles_by_the_kernel_that_can_be_found(self) -> None:
        def lost(x: torch.Tensor):
            return torch.sum(x) * 2.0 + 0.125

        lost.__name__ = "doubled"
        twin = knossos.register(lost)
        twin(rand(2, 2))
        doubled(rand(2, 2))
        call = doubled._annotated().operator.call
        assert twin._annotated().operator.call is call
        assert pickle.loads(pickle.dumps(call)) is call

    def test_derivatives_under_compile(self) -> None:
        def all_of(x: torch.Tensor) -> Any:
            return sqrl.vjp(x, x.sum()), sqrl.jvp(x, x), sqrl.grad(x), sqrl.value_and_grad(x)[0], vsqrl.grad(x)

        x = rand(3, 2)
        compiled = torch.compile(all_of, fullgraph=True, backend="aot_eager", dynamic=True)
        assert_close(compiled(x), all_of(x))
        assert_close(compiled(rand(4, 5)), all_of(rand(4, 5)))

    def test_a_structure_under_compile(self) -> None:
        layer, x = Layer(rand(2, 3), rand(2), 1.5), rand(3, seed=1)
        compiled = torch.compile(
            lambda w, b, v: tuple(apply_layer(Layer(w, b, 1.5), v)), backend="aot_eager", fullgraph=True
        )
        assert_close(compiled(layer.weight, layer.bias, x), apply_reference(layer.weight, layer.bias, 1.5, x))

    def test_a_kernel_of_integers_alone_under_compile(self) -> None:
        """Its operator takes no tensor; PyTorch takes such a one for a constructor with a ``device``."""

        def both(n: int) -> tuple[torch.Tensor, ...]:
            return counted(n)[0] * 2, counted(n)[1]

        compiled = torch.compile(both, backend="aot_eager", fullgraph=True, dynamic=True)
        assert_close(compiled(3), both(3))
        assert_close(compiled(5), (torch.full((5, 2), 10.0), torch.arange(5)))


def test_mapped_dimensions_need_not_be_the_first_in_a_graph():
    @knossos.vmap(in_dims=(1, None), out_dims=1)
    def columns(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return torch.sin(w @ x)

    compiled = torch.compile(lambda x, w: columns(x, w) + 1.0, backend="eager", fullgraph=True)
    x, w = torch.randn(4, 5, requires_grad=True), torch.randn(3, 4)
    torch.testing.assert_close(compiled(x, w), columns(x, w) + 1.0)
    (given,) = torch.autograd.grad(compiled(x, w).sum(), x)
    torch.testing.assert_close(given, torch.autograd.grad(columns(x, w).sum(), x)[0])

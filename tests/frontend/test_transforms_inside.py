"""vmap and derivatives taken inside a kernel, of local functions too: torch.func runs the same program."""

import functools

import pytest
import torch
from orders import check_orders
from tensor_oracle import check, described
from torch import func

import ksc as knossos
from ksc.errors import KernelRuntimeError, KnossosError
from ksc.frontend import trace
from ksc.ir.interpret import interpret

GENERATOR = torch.Generator().manual_seed(4)
X = torch.randn(4, 3, generator=GENERATOR, dtype=torch.float64)
W = torch.randn(3, generator=GENERATOR, dtype=torch.float64)


def energy(x):
    return torch.sum(torch.sin(x) * x)


def loss(w, x):
    return torch.sum(torch.tanh(w * x)) ** 2


def field(x):
    return torch.sin(x) * torch.sum(x)


def bent(a: float) -> float:
    return a * a * a if a > 0 else a


def bent_slope(x):
    return torch.where(x > 0, 3 * x * x, torch.ones_like(x))


ENERGY, LOSS, ROWS, BENT = (
    knossos.register(energy),
    knossos.register(loss),
    knossos.vmap(energy),
    knossos.vmap(bent),
)
BROADCAST = knossos.elementwise(bent)
GRADIENTS = knossos.vmap(knossos.grad(loss), in_dims=(None, 0))
SLOPES = func.vmap(func.grad(energy))

OF_GLOBAL_FUNCTIONS = {
    "vmap": (lambda x, w: knossos.vmap(energy)(x) * w[0], lambda x, w: func.vmap(energy)(x) * w[0]),
    "vmap_of_grad": (
        lambda x, w: knossos.vmap(knossos.grad(loss), in_dims=(None, 0))(w, x),
        lambda x, w: func.vmap(func.grad(loss), in_dims=(None, 0))(w, x),
    ),
    "a_kernel_of_it": (
        lambda x, w: GRADIENTS(w, x) * 2.0,
        lambda x, w: func.vmap(func.grad(loss), in_dims=(None, 0))(w, x) * 2.0,
    ),
    "grad": (lambda x, w: knossos.grad(energy)(w) * x, lambda x, w: func.grad(energy)(w) * x),
    "jvp": (lambda x, w: knossos.jvp(energy, (w,), (x[0],)), lambda x, w: func.jvp(energy, (w,), (x[0],))),
    "vjp": (lambda x, w: knossos.vjp(field, w)[1](x[0])[0], lambda x, w: func.vjp(field, w)[1](x[0])[0]),
    "hvp": (lambda x, w: knossos.hvp(energy, (w,), (x[0],)), lambda x, w: func.hessian(energy)(w) @ x[0]),
    "hvp_of_two": (
        lambda x, w: knossos.hvp(loss, (w, x[0]), (x[1], x[2])),
        lambda x, w: func.jvp(func.grad(loss, argnums=(0, 1)), (w, x[0]), (x[1], x[2]))[1],
    ),
    "jacobian_of_rows": (
        lambda x, w: knossos.vmap(knossos.jacobian(field))(x),
        lambda x, w: func.vmap(func.jacrev(field))(x),
    ),
    "hessian_of_rows": (
        lambda x, w: knossos.vmap(knossos.hessian(energy))(x),
        lambda x, w: func.vmap(func.hessian(energy))(x),
    ),
    "method_vjp": (lambda x, w: ENERGY.vjp(w, x[0, 0]), lambda x, w: func.grad(energy)(w) * x[0, 0]),
    "method_jvp": (lambda x, w: ENERGY.jvp(w, x[0]), lambda x, w: func.jvp(energy, (w,), (x[0],))[1]),
    "method_grad_argnums": (lambda x, w: LOSS.grad(w, x[0], argnums=1), lambda x, w: func.grad(loss, 1)(w, x[0])),
    "method_grad_of_both": (
        lambda x, w: LOSS.grad(w, x[0], argnums=(1, 0)),
        lambda x, w: func.grad(loss, (1, 0))(w, x[0]),
    ),
    "method_vjp_of_two": (
        lambda x, w: LOSS.vjp(w, x[0], x[0, 0])[1],
        lambda x, w: func.grad(loss, argnums=1)(w, x[0]) * x[0, 0],
    ),
    "mapped_vjp": (lambda x, w: ROWS.vjp(x, x[:, 0]), lambda x, w: SLOPES(x) * x[:, :1]),
    "mapped_jvp": (lambda x, w: ROWS.jvp(x, x * x), lambda x, w: func.jvp(func.vmap(energy), (x,), (x * x,))[1]),
    "mapped_grad": (lambda x, w: ROWS.grad(x) * w, lambda x, w: SLOPES(x) * w),
    "numbers_vjp": (lambda x, w: BENT.vjp(w, w), lambda x, w: bent_slope(w) * w),
    "numbers_grad": (lambda x, w: knossos.grad(BENT)(x), lambda x, w: bent_slope(x)),
    "broadcast_grad": (lambda x, w: knossos.grad(BROADCAST)(x), lambda x, w: bent_slope(x)),
    "elementwise": (lambda x, w: knossos.elementwise(bent)(x), lambda x, w: torch.where(x > 0, x**3, x)),
    "register": (lambda x, w: knossos.register(energy)(w) * x, lambda x, w: energy(w) * x),
    "of_a_partial": (
        lambda x, w: knossos.grad(functools.partial(loss, w))(x[0]),
        lambda x, w: func.grad(functools.partial(loss, w))(x[0]),
    ),
}


@pytest.mark.parametrize("name", OF_GLOBAL_FUNCTIONS)
def test_of_global_functions(name):
    mine, theirs = OF_GLOBAL_FUNCTIONS[name]
    check_orders(mine, X, W, twin=theirs)


def of_a_local_function(tool, jacobian):
    def kernel(x, w):
        def local(row):
            return torch.sum(torch.sin(row) * w)

        slope = tool.grad(local)(x[0])
        return slope * slope, tool.vmap(local)(x), tool.vmap(tool.grad(local))(x)

    return kernel


def descent(tool, jacobian):
    def kernel(x, w):
        def local(p):
            return torch.sum((torch.sin(p) - w) ** 2)

        p = x[0]
        for _ in range(4):
            p = p - 0.1 * tool.grad(local)(p)
        return p

    return kernel


def newton(tool, jacobian):
    def kernel(x, w):
        p = 0.1 * w
        for _ in range(3):
            residual = torch.sin(p) + 2.0 * p - x[0]
            p = p - torch.linalg.solve(jacobian(lambda t: torch.sin(t) + 2.0 * t)(p), residual)
        return p

    return kernel


def pairwise(tool, jacobian):
    def kernel(x, w):
        return tool.vmap(lambda r: tool.vmap(lambda c: torch.exp(-torch.sum((r - c) ** 2)))(x))(x)

    return kernel


def other_dimensions(tool, jacobian):
    def kernel(x, w):
        a = tool.vmap(lambda r, c: torch.sum(r * c), in_dims=(0, None))(x, w)
        b = tool.vmap(lambda r: r * a, in_dims=1, out_dims=1)(x)
        return a, b

    return kernel


def nested_gradients(tool, jacobian):
    def kernel(x, w):
        def outer(p):
            def inner(q):
                return torch.sum(q**3 * p * w)

            return torch.sum(tool.grad(inner)(p * x[0]))

        return tool.grad(outer)(w)

    return kernel


def of_numbers(tool, jacobian):
    def kernel(x, w):
        k = 3.0
        scale = torch.sum(w)
        return tool.vmap(lambda r: k * scale * r[0] * r[1])(x)

    return kernel


def chosen_in_a_branch(tool, jacobian):
    def kernel(x, w):
        if x[0, 0] > 0:
            shift = w * 2.0
        else:
            shift = w * w
        return tool.grad(lambda r: torch.sum(r * r * shift))(x[1])

    return kernel


def of_a_list_around(tool, jacobian):
    def kernel(x, w):
        parts = [w, w * w]
        parts.append(x[0])
        return tool.grad(lambda r: sum(torch.sum(torch.sin(r * part)) for part in parts))(x[1])

    return kernel


LOCAL = [
    of_a_local_function,
    descent,
    newton,
    pairwise,
    other_dimensions,
    nested_gradients,
    of_numbers,
    chosen_in_a_branch,
    of_a_list_around,
]


@pytest.mark.parametrize("make", LOCAL)
def test_of_local_functions(make):
    check_orders(make(knossos, knossos.jacobian), X, W, twin=make(func, func.jacrev))


def test_by_an_argument_counted_from_the_end():
    def mine(x, w):
        return knossos.grad(lambda a, b: torch.sum(a * b * w), -1)(x[0], x[1])

    check(mine, X, W, twin=lambda x, w: x[0] * w)


def writes_what_it_captures(x):
    y = x * 2.0

    def local(r):
        y[0] = 1.0
        return torch.sum(r * y)

    return knossos.grad(local)(x)


REFUSED = {
    "a write to a captured tensor": (writes_what_it_captures, "'y' is changed"),
    "too few seeds": (lambda x: LOSS.vjp(x, x), r"1 cotangent\(s\) are needed, and 0 are given"),
    "a seed of another rank": (lambda x: ENERGY.jvp(x, x[0]), "stands for the derivative of"),
    "an option that is not there": (lambda x: ENERGY.grad(x, argnums=3), "argument 3"),
    "seeds by name": (lambda x: ENERGY.jvp(x, tangent=x), "by name"),
    "dimensions that are none": (lambda x: knossos.vmap(energy, None)(x), "at least one parameter is mapped"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name):
    fn, message = REFUSED[name]
    with pytest.raises(KnossosError, match=message):
        trace(fn, [described(W)])


@pytest.mark.parametrize("kind", ["vjp", "jvp"])
def test_a_seed_of_another_size_stops_the_kernel(kind):
    field_kernel = knossos.register(field)
    fn = (lambda x, v: field_kernel.vjp(x, v)) if kind == "vjp" else (lambda x, v: field_kernel.jvp(x, v))
    program = trace(fn, [described(W), described(W)]).program
    with pytest.raises(KernelRuntimeError):
        interpret(program, [W.numpy(), X[:, 0].numpy()])

"""What a user does with an exported package, where Knossos is not installed: python -I -S without_ksc.py SITE PACKAGES."""

import sys

sys.path += sys.argv[1:]

import copy
import importlib.util
import pickle

import pylib
import torch

assert importlib.util.find_spec("ksc") is None
assert "ksc" not in sys.modules


def relu3(x):
    return torch.where(x < 0, 0.0, torch.where(x < 1, x**3 / 3, x - 2 / 3))


# Values in both dtypes, broadcast and strided, empty, numbers alone.
for dtype in (torch.float32, torch.float64):
    x = torch.linspace(-1, 2, 24, dtype=dtype).reshape(4, 6)
    torch.testing.assert_close(pylib.relu3(x), relu3(x))
    torch.testing.assert_close(pylib.relu3(x.T[::2]), relu3(x.T[::2]))
assert pylib.relu3(torch.empty(0, 3)).shape == (0, 3)
assert abs(pylib.hyp(3.0, 4.0) - 5.0) < 1e-15
large = torch.randn(300, 300)
torch.testing.assert_close(pylib.relu3(large), relu3(large))

# Autograd, forward mode, functional transforms.
# Away from the kinks of the slope.
x = torch.linspace(-0.9, 1.9, 7, dtype=torch.float64, requires_grad=True)
assert torch.autograd.gradcheck(pylib.relu3, (x,), check_forward_ad=True)
slope = torch.func.vmap(torch.func.grad(pylib.relu3))(x.detach())
torch.testing.assert_close(slope, torch.autograd.grad(relu3(x).sum(), x)[0])
blocks = torch.randn(3, 4, 4, dtype=torch.float64, requires_grad=True)
assert torch.autograd.gradcheck(pylib.vsqrl, (blocks,))
assert pylib.vsqrl(torch.empty(0, 4, 4)).shape == (0,)

# One of several results, and of several arguments, has a derivative.
value = torch.rand(3, dtype=torch.float64, requires_grad=True)
out, last = pylib.prefix(value, 2, 0.5)
assert out.shape == (5,)
(alone,) = torch.autograd.grad(last, value, retain_graph=True)
torch.testing.assert_close(alone, value.detach())
assert torch.autograd.gradcheck(lambda v: pylib.prefix(v, 2, 0.5), (value,))


# Structures, by position and by name.
class Camera:
    focal = torch.rand(3)
    center = torch.rand(2)


p = torch.rand(3)
moved = pylib.project(Camera, p=p)
torch.testing.assert_close(moved.focal, Camera.focal * p)
torch.testing.assert_close(moved.center, Camera.center + p.sum())
assert type(moved).__name__ == "Camera"
lanes, halves = pylib.scaled(x.detach(), 4, True)
torch.testing.assert_close(lanes, x.detach().sin() * 4)
assert (halves == 2).all()
columns = torch.randn(4, 3, dtype=torch.float64)
torch.testing.assert_close(pylib.sums(columns), columns.sum(0))

# Modules, their copies, export and compilation.
model = torch.nn.Sequential(torch.nn.Linear(4, 8), pylib.relu3.nnModule, torch.nn.Linear(8, 1))
given = torch.randn(5, 4)
torch.testing.assert_close(copy.deepcopy(model)(given), model(given))
loss = model(given).square().sum()
loss.backward()
assert all(parameter.grad is not None for parameter in model.parameters())
exported = torch.export.export(model, (given,), dynamic_shapes=({0: torch.export.Dim("n", min=2)},))
torch.testing.assert_close(exported.module()(torch.cat([given, given])), torch.cat([model(given), model(given)]))

# Derivatives by name: sums for what is broadcast, one of several results, structures, dimensions in other places.
seed = torch.randn(7, dtype=torch.float64)
torch.testing.assert_close(pylib.relu3.vjp(x.detach(), seed), torch.autograd.grad(relu3(x), x, seed)[0])
torch.testing.assert_close(pylib.relu3.jvp(x.detach(), seed), torch.func.jvp(relu3, (x.detach(),), (seed,))[1])
assert sum(pylib.hyp.vjp(3.0, 4.0, 10.0)) == 14.0
assert abs(pylib.hyp.jvp(3.0, 4.0, 1.0, 0.5) - 1.0) < 1e-15
bars = pylib.scaled.vjp(x.detach(), 2, True, seed)
torch.testing.assert_close(bars[0], 2 * x.detach().cos() * seed)
assert bars[1:] == (None, None)
value_bar, n_bar, context_bar = pylib.prefix.vjp(value.detach(), 2, 0.5, torch.zeros(5, dtype=torch.float64), 1.0)
torch.testing.assert_close(value_bar, value.detach())
assert n_bar is None
torch.testing.assert_close(context_bar, value.detach().square().sum())
camera_bar, p_bar = pylib.project.vjp(Camera, p, (torch.ones(3), torch.ones(2)))
torch.testing.assert_close(camera_bar.focal, p)
torch.testing.assert_close(p_bar, Camera.focal + 2)
torch.testing.assert_close(pylib.sums.vjp(columns, columns[0]), columns[0].expand(4, 3))
torch.testing.assert_close(pylib.sums.jvp(columns, 2 * columns), 2 * columns.sum(0))
single = torch.rand(2, 1, requires_grad=True)
torch.testing.assert_close(
    pylib.relu3.vjp(single, torch.ones(2, 1)), torch.autograd.grad(relu3(single).sum(), single)[0]
)

# What it says of itself; by reference, it goes to other processes.
assert pickle.loads(pickle.dumps(pylib.relu3)) is pylib.relu3
assert "project(camera: Camera(focal: float tensor, center: float tensor), p: float tensor)" in repr(pylib.library)
assert "<exported kernel relu3(x: float) -> float; float32, float64, with v, j>" in repr(pylib.library)


def raises(error, words, call):
    try:
        call()
    except error as raised:
        assert words in str(raised), raised
    else:
        raise AssertionError(words)


raises(RuntimeError, "kernels.py:", lambda: pylib.prefix(torch.ones(3), 0, 1e6))
raises(RuntimeError, "[KS701]", lambda: pylib.prefix(torch.ones(3), 0, 1e6))
raises(NotImplementedError, "without float16", lambda: pylib.relu3(torch.ones(2, dtype=torch.float16)))
second = torch.func.grad(torch.func.grad(pylib.once))
raises(NotImplementedError, "without the derivative vv", lambda: second(torch.tensor(1.0)))
raises(TypeError, "is to be a tensor", lambda: pylib.vsqrl("text"))
raises(ValueError, "to have", lambda: pylib.vsqrl(torch.ones(2)))
raises(TypeError, "has no focal", lambda: pylib.project(3, p))
raises(TypeError, "missing a required argument", lambda: pylib.hyp(1.0))
raises(ValueError, "maps tensors of one shape", lambda: pylib.added(torch.ones(2), torch.ones(3)))
raises(
    TypeError, "takes 2 cotangent(s) after its 3 argument(s), and 1 were given", lambda: pylib.prefix.vjp(p, 2, 0.5, p)
)
sys.stdout.write("fine\n")

"""Kernels that the tests export."""

import math
from dataclasses import dataclass

import torch

import ksc as knossos


@knossos.elementwise
def relu3(x: float) -> float:
    """Like ReLU, but smoother. /* Like GELU, but cheaper. */ \\"""
    if x < 0.0:
        return 0.0
    elif x < 1.0:
        return 1 / 3 * x**3
    return x - 2 / 3


@knossos.vmap(in_dims=(0, None, None))
def scaled(x: float, k: int, flag: bool):
    return (math.sin(x) * k if flag else x / (k + 1)), k // 2


@knossos.register
def hyp(x: float, y: float) -> float:
    return math.hypot(x, y)


@knossos.register
def prefix(x: torch.Tensor, n: int, context: float):
    out = torch.zeros(n + x.shape[0])
    s = 0.0
    for i in range(x.shape[0]):
        s += x[i] * x[i] * context
        assert s < 1000.0
        out[i + n] = math.sqrt(s)
    return out, s


@knossos.register
def pick(x: torch.Tensor, i: int):
    return x[i] * 2


@knossos.register
def transposed(a: torch.Tensor, b: torch.Tensor):
    return a.T @ b + 1


@knossos.register
def sqrl(x: torch.Tensor):
    """Squared leaky ReLU of a small block."""
    y = torch.sum(x)
    if y < 0.0:
        t = -0.125 * x
    else:
        t = 1 / 2 * x**2
    return torch.mean(torch.sin(t) * t)


vsqrl = knossos.vmap(sqrl)


@knossos.vmap(in_dims=1)
def sums(x: torch.Tensor):
    return torch.sum(x)


@knossos.elementwise
def once(x: float) -> float:
    return x * x


@knossos.vmap
def added(x: float, y: float) -> float:
    return x + y


@dataclass
class Camera:
    focal: torch.Tensor
    center: torch.Tensor


@knossos.register
def project(camera: Camera, p: torch.Tensor):
    return Camera(camera.focal * p, camera.center + p.sum())


@knossos.register
def depth(n: int, x: float) -> float:
    if n == 0:
        return x
    return depth(n - 1, x * 0.5) + 1.0


@knossos.register
def keywords(double: float, restrict: float, n: float, s0: float, x_stride: float, x: float) -> float:
    return double * restrict + n * s0 + x * x_stride


asked = knossos.callback(lambda x: 2.0 * x, float)


@knossos.elementwise
def calls_back(x: float) -> float:
    return asked(x)

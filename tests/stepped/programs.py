"""Functions that are run in Python and compared with compiled code."""

import math

import torch


def relu3(x: float) -> float:
    if x < 0.0:
        y = 0.0
    elif x < 1.0:
        y = 1 / 3 * x**3
    else:
        y = x - 2 / 3
    return y


def root(x: float) -> float:
    y = 1.0
    while abs(y * y - x) > 1e-6:
        y = 0.5 * (y + x / y)
    return y


def power(x: float, n: int) -> float:
    if n == 0:
        return 1.0
    return x * power(x, n - 1)


def sqrl(x: torch.Tensor):
    y = torch.sum(x)
    if y < 0.0:
        t = -0.125 * x
    else:
        t = 1 / 2 * x**2
    return torch.mean(torch.sin(t) * t)


def prefix_norms(x: torch.Tensor):
    out = torch.zeros(x.shape[0])
    s = 0.0
    for i in range(x.shape[0]):
        s += x[i] * x[i]
        if s > 100.0:
            break
        out[i] = math.sqrt(s)
    return out


def swapped(x: torch.Tensor, n: int):
    a = x
    b = 2 * x
    for _ in range(n):
        a, b = b, a * 0.5 + torch.sin(b)
    return a, b.sum()


def largest(x: torch.Tensor):
    best = x[0]
    where = 0
    for i in range(1, x.shape[0]):
        if x[i] > best:
            best = x[i]
            where = i
    return best * best, where


def scaled_rows(x: torch.Tensor, w: torch.Tensor):
    total = torch.zeros(x.shape[1])
    for i in range(x.shape[0]):
        total += torch.softmax(x[i] * w, 0)
    return total


def at(x: torch.Tensor, i: int):
    return x[i]

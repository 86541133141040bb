"""Kernels as engineers write them, of computer vision, robotics and simulation, against PyTorch's autograd.

Values and both derivatives are compared as the interpreter runs them, value and gradient of some as compiled.
"""

# Names of matrices are written as in the field.
# ruff: noqa: E741, N803, N806

import math
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F

import ksc as knossos

sys.path.insert(0, str(Path(__file__).parents[1] / "frontend"))

from tensor_oracle import check_derivatives

CASES = {}


def normal(*shape, seed=0, scale=1.0, shift=0.0):
    generator = torch.Generator().manual_seed(seed + 17 * len(shape) + sum(shape))
    return torch.randn(shape, generator=generator, dtype=torch.float64) * scale + shift


def uniform(*shape, seed=0, lo=0.0, hi=1.0):
    generator = torch.Generator().manual_seed(seed + 17 * len(shape) + sum(shape))
    return torch.rand(shape, generator=generator, dtype=torch.float64) * (hi - lo) + lo


def case(*args):
    def enter(fn):
        CASES[fn.__name__] = fn, args
        return fn

    return enter


def skew(v):
    zero = torch.zeros_like(v[0])
    return torch.stack(
        [torch.stack([zero, -v[2], v[1]]), torch.stack([v[2], zero, -v[0]]), torch.stack([-v[1], v[0], zero])]
    )


def rodrigues(w):
    theta = torch.linalg.norm(w)
    if theta < 1e-8:
        return torch.eye(3, dtype=w.dtype) + skew(w)
    k = skew(w / theta)
    return torch.eye(3, dtype=w.dtype) + torch.sin(theta) * k + (1 - torch.cos(theta)) * (k @ k)


class Camera(NamedTuple):
    rot: torch.Tensor
    center: torch.Tensor
    focal: torch.Tensor
    x0: torch.Tensor
    rad: torch.Tensor


def project(cam, X):
    Xc = rodrigues(cam.rot) @ (X - cam.center)
    x = Xc[:2] / Xc[2]
    r2 = (x**2).sum()
    L = 1 + cam.rad[0] * r2 + cam.rad[1] * r2**2
    return x * L * cam.focal + cam.x0


@case(
    Camera(normal(3), normal(3, seed=1), normal(), normal(2), normal(2, seed=3)),
    normal(7, 3, seed=4),
    normal(7, 2, seed=3),
    uniform(7),
    torch.tensor([0, 1, 2, 1, 0, 5, 6]),
)
def bundle_residuals(cam: Camera, X, feats, w, idx):
    errs = []
    for i in range(feats.shape[0]):
        err = w[i] * (project(cam, X[idx[i]]) - feats[i])
        errs.append(err)
    werr = 1 - w * w
    return torch.cat(errs), werr


BONES = [("wrist", -1), ("thumb1", 0), ("thumb2", 1), ("index1", 0), ("index2", 3)]


def euler(a):
    sx, sy, sz = torch.sin(a)
    cx, cy, cz = torch.cos(a)
    Rx = torch.eye(3, dtype=a.dtype)
    Rx[1, 1] = cx
    Rx[1, 2] = -sx
    Rx[2, 1] = sx
    Rx[2, 2] = cx
    Ry = torch.eye(3, dtype=a.dtype)
    Ry[0, 0] = cy
    Ry[0, 2] = sy
    Ry[2, 0] = -sy
    Ry[2, 2] = cy
    Rz = torch.eye(3, dtype=a.dtype)
    Rz[0, 0] = cz
    Rz[0, 1] = -sz
    Rz[1, 0] = sz
    Rz[1, 1] = cz
    return Rz @ Ry @ Rx


@case(normal(5, 3), normal(5, 3, seed=9))
def hand_kinematics(angles, offsets):
    globals_ = []
    for k, (_, parent) in enumerate(BONES):
        local = torch.eye(4, dtype=angles.dtype)
        local[:3, :3] = euler(angles[k])
        local[:3, 3] = offsets[k]
        if parent < 0:
            globals_.append(local)
        else:
            globals_.append(globals_[parent] @ local)
    return torch.stack([g[:3, 3] for g in globals_])


def se3_exp(xi):
    v, w = xi[:3], xi[3:]
    theta2 = w @ w
    W = skew(w)
    if theta2 < 1e-12:
        A, B, C = 1.0 - theta2 / 6, 0.5 - theta2 / 24, 1 / 6 - theta2 / 120
    else:
        theta = theta2.sqrt()
        A = torch.sin(theta) / theta
        B = (1 - torch.cos(theta)) / theta2
        C = (1 - A) / theta2
    I = torch.eye(3, dtype=xi.dtype)
    R = I + A * W + B * W @ W
    V = I + B * W + C * W @ W
    out = torch.zeros(4, 4, dtype=xi.dtype)
    out[:3, :3] = R
    out[:3, 3] = V @ v
    out[3, 3] = 1.0
    return out


def so3_log(R):
    c = ((torch.trace(R) - 1) / 2).clamp(-1.0, 1.0)
    theta = torch.acos(c)
    w = torch.stack([R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1]])
    return w * (0.5 if theta.abs() < 1e-6 else theta / (2 * torch.sin(theta)))


@case(normal(6), normal(6, seed=7, scale=0.4))
def pose_error(a, b):
    E = torch.linalg.inv(se3_exp(a)) @ se3_exp(b)
    return torch.cat((E[:3, 3], so3_log(E[:3, :3])))


def hit_sphere_num(o, d, c, r):
    oc = o - c
    b = torch.dot(oc, d)
    disc = b * b - (torch.dot(oc, oc) - r * r)
    if disc < 0:
        return torch.tensor(float("inf"), dtype=o.dtype)
    s = torch.sqrt(disc)
    t = -b - s
    if t > 1e-4:
        return t
    t = -b + s
    if t > 1e-4:
        return t
    return torch.full_like(t, math.inf)


@case(normal(3), normal(4, 3, seed=3), uniform(4, lo=1.0, hi=3.0), normal(6, 3))
def ray_trace(o, centers, radii, dirs):
    image = torch.zeros(dirs.shape[0], dtype=o.dtype)
    for i in range(dirs.shape[0]):
        d = F.normalize(dirs[i], dim=0)
        nearest = math.inf
        hit = -1
        for k in range(centers.shape[0]):
            t = hit_sphere_num(o, d, centers[k], radii[k])
            if t < nearest:
                nearest = t
                hit = k
        if hit >= 0:
            p = o + nearest * d
            n = (p - centers[hit]) / radii[hit]
            image[i] = torch.clamp(n @ -d, min=0.0)
        else:
            image[i] = 0.1 * d[1]
    return image


@case(uniform(6, 2), uniform(6, 2, seed=2, lo=0.2, hi=0.8), uniform(6, seed=4))
def soft_nms(xy, wh, scores):
    n = len(scores)
    s = scores.clone()
    for i in range(n):
        for j in range(i + 1, n):
            x1 = torch.maximum(xy[i], xy[j])
            x2 = torch.minimum(xy[i] + wh[i], xy[j] + wh[j])
            inter = (x2 - x1).clamp(min=0).prod()
            union = wh[i].prod() + wh[j].prod() - inter
            iou = inter / union
            if iou <= 0.1:
                continue
            if s[i] > s[j]:
                s[j] *= 1 - iou
            else:
                s[i] *= 1 - iou
    return s


@case(normal(2), normal(7, 1), uniform(2), uniform(1))
def kalman(x, zs, q, r):
    dt = 0.1
    A = torch.tensor([[1.0, dt], [0.0, 1.0]], dtype=x.dtype)
    H = torch.tensor([[1.0, 0.0]], dtype=x.dtype)
    P = torch.eye(2, dtype=x.dtype)
    Q, R = torch.diag(q), torch.diag(r)
    ll = 0.0
    xs = []
    for z in zs:
        x = A @ x
        P = A @ P @ A.T + Q
        y = z - H @ x
        S = H @ P @ H.T + R
        K = P @ H.T @ torch.inverse(S)
        x = x + K @ y
        P = (torch.eye(2, dtype=x.dtype) - K @ H) @ P
        ll = ll - 0.5 * (torch.logdet(S) + y @ torch.linalg.solve(S, y))
        xs.append(x)
    return torch.stack(xs), P, ll


@case(normal(5, 2), normal(6, 2))
def dtw(a, b):
    n, m = a.shape[0], b.shape[0]
    D = torch.full((n + 1, m + 1), float("inf"), dtype=a.dtype)
    D[0, 0] = 0
    for i in range(1, n + 1):
        for j in range(1, m + 1):
            cost = torch.sum((a[i - 1] - b[j - 1]) ** 2)
            D[i, j] = cost + min(D[i - 1, j], D[i, j - 1], D[i - 1, j - 1])
    return D[n, m]


@case(normal(6, 7), uniform(9, 2, lo=-1.0, hi=7.0))
def bilinear(img, pts):
    H, W = img.shape
    out = torch.empty(len(pts), dtype=img.dtype)
    for k, (x, y) in enumerate(pts):
        x = x.clamp(0, W - 1)
        y = y.clamp(0, H - 1)
        x0, y0 = int(torch.floor(x)), int(torch.floor(y))
        x1, y1 = min(x0 + 1, W - 1), min(y0 + 1, H - 1)
        ax, ay = x - x0, y - y0
        out[k] = (1 - ay) * ((1 - ax) * img[y0, x0] + ax * img[y0, x1]) + ay * (
            (1 - ax) * img[y1, x0] + ax * img[y1, x1]
        )
    return out


@case(uniform(30), uniform(30, seed=3))
def soft_hist(x, w):
    nbins = 8
    h = torch.zeros(nbins, dtype=x.dtype)
    pos = x * (nbins - 1)
    lo = pos.floor().long()
    frac = pos - lo
    h.index_add_(0, lo, w * (1 - frac))
    h = h.index_add(0, torch.clamp(lo + 1, max=nbins - 1), w * frac)
    return h / h.sum()


@case(uniform(3, lo=0.5, hi=1.0), normal(3))
def bouncing(pos, vel):
    dt, k, damping, g = 0.02, 500.0, 0.5, -9.81
    traj = torch.zeros(20, 3, dtype=pos.dtype)
    for step in range(20):
        force = torch.tensor([0.0, 0.0, g], dtype=pos.dtype)
        if pos[2] < 0.0:
            fn = -k * pos[2] - damping * vel[2]
            force[2] += fn
            vt = vel[:2]
            speed = vt.norm()
            if speed > 1e-6:
                force[:2] -= 0.3 * fn * vt / speed
        vel = vel + dt * force
        pos = pos + dt * vel
        traj[step] = pos
    return traj


@case(normal(5, 6), normal(2, 5, 6, scale=0.7))
def warp(img, flow):
    H, W = img.shape
    out = torch.zeros_like(img)
    for i in range(H):
        for j in range(W):
            y = i + flow[0, i, j]
            x = j + flow[1, i, j]
            y0 = math.floor(y)
            x0 = math.floor(x)
            acc = 0.0
            for dy in (0, 1):
                for dx in (0, 1):
                    yy, xx = y0 + dy, x0 + dx
                    if 0 <= yy < H and 0 <= xx < W:
                        acc += (1 - abs(y - yy)) * (1 - abs(x - xx)) * img[yy, xx]
            out[i, j] = acc
    return out


@case(normal(5, 5))
def marching_length(phi):
    H, W = phi.shape
    total = torch.zeros((), dtype=phi.dtype)
    for i in range(H - 1):
        for j in range(W - 1):
            corners = [phi[i, j], phi[i, j + 1], phi[i + 1, j + 1], phi[i + 1, j]]
            pos = [(0.0, 0.0), (0.0, 1.0), (1.0, 1.0), (1.0, 0.0)]
            n = 0
            px, py = 0.0, 0.0
            qx, qy = 0.0, 0.0
            for e in range(4):
                a, b = corners[e], corners[(e + 1) % 4]
                if (a > 0) != (b > 0):
                    t = a / (a - b)
                    y = pos[e][0] + t * (pos[(e + 1) % 4][0] - pos[e][0])
                    x = pos[e][1] + t * (pos[(e + 1) % 4][1] - pos[e][1])
                    if n == 0:
                        px, py = x, y
                    elif n == 1:
                        qx, qy = x, y
                    n += 1
            if n == 2:
                total = total + torch.sqrt((px - qx) ** 2 + (py - qy) ** 2)
    return total


@case(uniform(6, 6), uniform(2, lo=0.1, hi=1.0), uniform(2, lo=0.3, hi=1.0))
def volume_march(density, origin, direction):
    H, W = density.shape
    d = direction / torch.norm(direction)
    t = 0.0
    trans = 1.0
    color = 0.0
    while True:
        p = origin + t * d
        iy, ix = int(p[0]), int(p[1])
        if iy < 0 or ix < 0 or iy >= H or ix >= W:
            break
        sigma = density[iy, ix]
        alpha = 1 - torch.exp(-sigma * 0.5)
        color = color + trans * alpha
        trans = trans * (1 - alpha)
        if trans < 1e-3:
            break
        t += 0.5
    return color, trans


CONFIG = {"lr": 0.1, "steps": 4, "momentum": 0.9, "name": "sgd"}


@case(normal(3), normal(3, 3))
def momentum_descent(x, A):
    v = torch.zeros_like(x)
    S = A @ A.T
    for _ in range(CONFIG["steps"]):
        g = S @ x
        v = CONFIG["momentum"] * v - CONFIG["lr"] * g
        x = x + v
    return x


SPRINGS = [(0, 1), (1, 2), (2, 3), (3, 0), (0, 2)]


@case(normal(4, 2), normal(5, shift=2.0), normal(4, 2, seed=8))
def mass_spring(x, rest, v):
    forces = torch.zeros_like(x)
    for s, (i, j) in enumerate(SPRINGS):
        d = x[j] - x[i]
        L = torch.linalg.vector_norm(d)
        f = 10.0 * (L - rest[s]) * d / L
        forces[i] += f
        forces[j] -= f
    forces[:, 1] -= 9.81
    energy = sum(0.5 * 10.0 * ((x[j] - x[i]).norm() - rest[s]) ** 2 for s, (i, j) in enumerate(SPRINGS))
    return v + 0.01 * forces, energy


@case(normal(4, 4), normal(4))
def power_iteration(M, v):
    A = M @ M.T + 0.1 * torch.eye(M.shape[0], dtype=M.dtype)
    value = torch.zeros((), dtype=M.dtype)
    for iteration in range(100):
        w = A @ v
        v = w / torch.linalg.norm(w)
        new = v @ A @ v
        if torch.abs(new - value) < 1e-4 * torch.abs(new):
            return new, v, iteration
        value = new
    return value, v, 100


def leaves(value):
    return [leaf for item in value for leaf in leaves(item)] if isinstance(value, tuple | list) else [value]


def moving(value):
    if isinstance(value, tuple):
        items = map(moving, value)
        return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
    return value.clone().requires_grad_() if value.is_floating_point() else value


@pytest.mark.filterwarnings("ignore:Converting a tensor")
@pytest.mark.parametrize("name", CASES)
def test_derivatives(name):
    fn, args = CASES[name]
    check_derivatives(fn, *args)


COMPILED = ["hand_kinematics", "dtw", "bilinear", "soft_hist", "bouncing", "volume_march"]


@pytest.mark.parametrize("name", COMPILED)
def test_compiled(name):
    fn, args = CASES[name]
    found, wanted = [], []
    for function, into in ((knossos.register(fn), found), (fn, wanted)):
        own = tuple(map(moving, args))
        results = leaves(function(*own))
        seeds = [torch.cos(torch.arange(r.numel(), dtype=r.dtype)).reshape(r.shape) for r in results]
        sum((result * seed).sum() for result, seed in zip(results, seeds, strict=True)).backward()
        into += [
            *results,
            *(torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in leaves(own) if leaf.requires_grad),
        ]
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)

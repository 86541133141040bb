"""How fast a point leaves the Mandelbrot set, and how that changes as it moves: a derivative through a ``while``.

The smooth escape time of the point c is n + 1 - log2(log |z_n|), where z_n is the first of 0, c, c^2 + c, … beyond a
radius. The number of steps differs from point to point; the kernel stays a loop, point by point.
"""

import math

import torch

import ksc as knossos


def escape_time(re: float, im: float, limit: int = 200) -> float:
    """The smooth escape time of the point re + i im; ``limit`` for points that stay."""
    x = 0.0
    y = 0.0
    n = 0
    while x * x + y * y < 100.0 and n < limit:
        x, y = x * x - y * y + re, 2.0 * x * y + im
        n += 1
    if n == limit:
        return float(limit)
    return n + 1 - math.log2(0.5 * math.log(x * x + y * y))


escape_times = knossos.elementwise(escape_time)


def grid(width: int, height: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The real and imaginary parts of a picture's points, as a row and a column that broadcast."""
    return (
        torch.linspace(-2.2, 0.8, width, dtype=torch.float64),
        torch.linspace(-1.2, 1.2, height, dtype=torch.float64)[:, None],
    )


def main() -> None:
    """Print a picture in letters, and the gradient at a point near the edge."""
    for row in escape_times(*grid(72, 24)):
        print("".join(" .:-=+*#%@"[min(9, int(value / 2))] if value < 200 else " " for value in row))
    re, im = torch.tensor(-0.75, dtype=torch.float64), torch.tensor(0.2, dtype=torch.float64)
    print("the escape time of -0.75 + 0.2i changes by", escape_times.grad(re, im, argnums=(0, 1)))


if __name__ == "__main__":
    main()

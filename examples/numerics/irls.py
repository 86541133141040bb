"""A line through points with outliers: iteratively reweighted least squares, and how the fit depends on each point.

Each iteration weighs the points by Huber's rule (Huber, "Robust Estimation of a Location Parameter", 1964) and solves
the weighted normal equations, until the line no longer moves. The derivative goes through the iterations.
"""

import torch

import ksc as knossos


def huber_weight(residual: float, width: float) -> float:
    """The weight of a residual: 1 up to ``width``, then falling with its size."""
    size = abs(residual)
    return 1.0 if size <= width else width / size


@knossos.register
def robust_line(x: torch.Tensor, y: torch.Tensor, width: float):
    """The slope and the intercept of the line through the points (x[i], y[i]).

    Args:
        x, y: (n,) coordinates.
        width: residuals up to this size count in full.
    """
    slope = 0.0
    intercept = 0.0
    change = 1.0
    rounds = 0
    while change > 1e-12 and rounds < 100:
        s = sx = sy = sxx = sxy = 0.0
        for i in range(x.shape[0]):
            w = huber_weight(y[i] - slope * x[i] - intercept, width)
            s += w
            sx += w * x[i]
            sy += w * y[i]
            sxx += w * x[i] * x[i]
            sxy += w * x[i] * y[i]
        determinant = s * sxx - sx * sx
        new_slope = (s * sxy - sx * sy) / determinant
        new_intercept = (sxx * sy - sx * sxy) / determinant
        change = abs(new_slope - slope) + abs(new_intercept - intercept)
        slope = new_slope
        intercept = new_intercept
        rounds += 1
    return slope, intercept


def points(n: int = 40, outliers: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    """Points on the line 2 x - 1 with a little noise, some of which are far off."""
    random = torch.Generator().manual_seed(0)
    x = torch.linspace(0.0, 1.0, n, dtype=torch.float64)
    y = 2.0 * x - 1.0 + 0.01 * torch.randn(n, dtype=torch.float64, generator=random)
    y[torch.randperm(n, generator=random)[:outliers]] += 5.0
    return x, y


def main() -> None:
    """Print the robust line beside that of least squares, and what moving a point does to its slope."""
    x, y = points()
    slope, intercept = robust_line(x, y, 0.05)
    print(f"robust        {slope:.4f} x + {intercept:.4f}")
    design = torch.stack([x, torch.ones_like(x)], dim=1)
    print("least squares {:.4f} x + {:.4f}".format(*torch.linalg.lstsq(design, y).solution))
    _, slope_by_y, _ = robust_line.vjp(x, y, 0.05, torch.ones_like(slope), torch.zeros_like(intercept))
    print("d slope / d y of the first points:", slope_by_y[:5])


if __name__ == "__main__":
    main()

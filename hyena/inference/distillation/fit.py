"""From taps to modes: the head of a filter is kept, what comes after becomes a sum of S damped exponentials."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from hyena.inference.distillation import choose
from hyena.inference.distillation.exponentials import GONE, residues, values
from hyena.inference.distillation.grid import Grid
from hyena.inference.distillation.refine import refine

LASTING = 2.0
"""Time constant of the slowest mode, in lengths of the taps. The taps do not show what comes after them: two modes that last
for ever may cancel each other over the taps and sound loudly later."""
STEPS = 30
"""Steps of the refinement, where nobody says otherwise."""
_ROOM = 2**23
"""Numbers that the columns of the filters that are worked on at a time may have."""


@dataclass(frozen=True, eq=False)
class Modes:
    """Re sum_n R_n lam_n^t for t >= 0 counted from the first lag past the head; D filters of order S, complex128."""

    log_poles: Tensor
    """(D, S) log lam; |lam| <= 1. A conjugate is implied."""
    residues: Tensor
    """(D, S)."""

    def taps(self, length: int) -> Float[Tensor, "D K"]:
        """The first `length` values, float64."""
        return values(self.log_poles, self.residues, length)


def fit(
    tail: Float[Tensor, "D T"],
    order: int,
    steps: int = STEPS,
    lasting: float = LASTING,
    report: Callable[[int, int], None] | None = None,
) -> Modes:
    """The modes (D, S), S = order, that are found for taps (D, T) of any T >= 0, in float64.

    Poles by Ho-Kalman realisation, then by `steps` steps of refinement; residues by least squares over all taps. |lam| is below
    1: no mode's time constant exceeds `lasting` times T (infinite: |lam| is at most 1). Filters of zeros get residues of 0.
    report(done, total) counts filters.
    """
    tail = tail.double()
    D, T = tail.shape
    p = torch.full((D, order), GONE, dtype=torch.complex128)
    R = torch.zeros_like(p)
    grid = Grid.over(max(T, 1))
    some = max(1, _ROOM // (len(grid.first) * 4 * order))
    for start in range(0, D if T else 0, some):
        rows = slice(start, min(start + some, D))
        p[rows], R[rows] = _fit(tail[rows], order, grid, steps, 1 / (lasting * T))
        if report is not None:
            report(rows.stop, D)
    return Modes(p, R)


def _fit(tail: Tensor, order: int, grid: Grid, steps: int, slowest: float) -> tuple[Tensor, Tensor]:
    """Log-poles and residues of a few filters, each brought to norm 1 meanwhile."""
    loudness = tail.norm(dim=1, keepdim=True)
    g = tail / torch.where(loudness > 0, loudness, torch.ones_like(loudness))
    numbers = grid.of(g)
    first = choose.begin(g, numbers, grid, order, slowest)
    best, R, left = first, *_solved(first, g)
    if steps:
        p = refine(first, numbers, grid, steps, slowest)
        again, rest = _solved(p, g)
        better = (rest < left)[:, None]  # on bins it is; over all taps it need not be
        best, R = torch.where(better, p, best), torch.where(better, again, R)
    return best, R * loudness


def _solved(p: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    """The residues for poles, and the norm (D,) of what they leave of taps g (D, T)."""
    R = residues(p, g)
    return R, (g - values(p, R, g.shape[1])).norm(dim=1)

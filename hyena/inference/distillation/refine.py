"""Poles improved by the method of Levenberg and Marquardt, on the error that is left by the best residues for them.

Variable projection: residues are solved for at every step and only the logarithms of the poles are searched (Golub and Pereyra
1973, with Kaufman's shorter derivative). The filters of a layer walk together, each at its own pace.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from hyena.inference.distillation.exponentials import GONE, columns, solve
from hyena.inference.distillation.grid import Grid

_LONGEST = math.pi
"""Longest step of a logarithm or angle: half a turn leads anywhere."""


class _Place(NamedTuple):
    """Where each filter stands. First axis: filters."""

    p: Tensor
    """(D, S) log-poles."""
    powers: Tensor
    """(D, N, S)."""
    weights: Tensor
    """(D, 2 S); these and what follows as in `Solution`."""
    rest: Tensor
    basis: Tensor
    error: Tensor


def refine(p: Tensor, g: Tensor, grid: Grid, steps: int, slowest: float) -> Tensor:
    """Log-poles (D, S), Re p <= -slowest, from which numbers g (D, N) of the grid's bins are met at least as well as from p."""
    place, damping = _stand(p, g, grid), torch.full((len(p),), 1e-3, dtype=p.real.dtype)
    for _ in range(steps):
        move = _move(place, grid, damping)
        further = place.p + move
        further = torch.complex(further.real.clamp(GONE, -slowest), further.imag)
        new = _stand(further, g, grid)
        better = new.error < place.error
        damping = torch.where(better, damping / 3, damping * 4).clamp(1e-12, 1e12)
        place = _Place(*(_pick(better, a, b) for a, b in zip(new, place, strict=True)))
    return place.p


def _pick(where: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Rows of a where it is true, of b elsewhere."""
    return torch.where(where.view(-1, *[1] * (a.ndim - 1)), a, b)


def _stand(p: Tensor, g: Tensor, grid: Grid) -> _Place:
    """The best weights at p."""
    powers = grid.powers(p)
    return _Place(p, powers, *solve(columns(powers), g))


def _move(place: _Place, grid: Grid, damping: Tensor) -> Tensor:
    """The step (D, S) in log |lam| and angle: d/d log |lam| is t Re(R lam^t), d/d angle is -t Im(R lam^t)."""
    real, imaginary = place.weights.chunk(2, dim=1)
    moved = grid.middle[:, None] * place.powers * torch.complex(real, -imaginary)[:, None]
    J = torch.cat([moved.real, -moved.imag], dim=2)
    J = J - place.basis @ (place.basis.mT @ J)
    normal, slope = J.mT @ J, J.mT @ place.rest[..., None]
    diagonal = normal.diagonal(dim1=1, dim2=2)
    floor = 1e-12 * diagonal.amax(1, keepdim=True) + 1e-30  # a filter of zeros has a step too: of 0
    move = torch.linalg.solve(normal + torch.diag_embed(damping[:, None] * (diagonal + floor)), slope)[..., 0]
    move = torch.nan_to_num(move, 0.0, 0.0, 0.0).clamp(-_LONGEST, _LONGEST)
    return torch.complex(*move.chunk(2, dim=1))

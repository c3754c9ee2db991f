"""Which poles a filter begins with: Hankel realisations at several time scales, thinned out to the order wanted.

A realisation needs taps at equal steps, a few thousand of them. Long filters are looked at at several steps, each over as many
taps: short steps see what is fast and near, long ones what is slow and far. Poles at step c are lam^c; of their c roots the one
of least angle is meant, for averaging over a step has taken what is faster.
"""

import math

import torch
from torch import Tensor

from hyena.inference.distillation import hankel
from hyena.inference.distillation.exponentials import GONE, columns, reciprocal, solve
from hyena.inference.distillation.grid import Grid

TAPS = 2048
"""Taps of a realisation."""
RIDGE = 1e-11
"""Added to inner products of columns of norm 1 where poles are compared."""
_STEPS = 8
"""Ratio of neighbouring time scales."""


def begin(g: Tensor, numbers: Tensor, grid: Grid, order: int, slowest: float) -> Tensor:
    """Log-poles (D, order), Re p <= -slowest, for taps g (D, T), whose numbers on the grid are `numbers` (D, N)."""
    if g.shape[1] // 2 < order:
        return _circle(g, order, slowest)
    found = [_thin(_candidates(g, step, 2 * order, slowest), numbers, grid, order) for step in _time_scales(g.shape[1])]
    if len(found) > 1:
        found.append(_thin(torch.cat(found, dim=1), numbers, grid, order))
    best = torch.stack([solve(columns(grid.powers(p)), numbers).error for p in found]).argmin(0)
    return _fill(torch.stack(found)[best, torch.arange(len(best))], g.shape[1], slowest)


def _fill(p: Tensor, taps: int, slowest: float) -> Tensor:
    """Where modes would have lasted longer than they may, poles that are not in use become waves beside them, to help out."""
    held = p.real >= -slowest
    count = held.sum(1, keepdim=True).clamp(min=1)
    free = (p.real <= GONE) & held.any(dim=1, keepdim=True)
    number = free.cumsum(1) - 1
    order = (~held).to(torch.int8).argsort(dim=1, stable=True)  # those that are held first
    angle = p.imag.gather(1, order.gather(1, (number % count).clamp(min=0)))
    away = torch.div(number, count, rounding_mode="floor") + 1
    # On both sides of a wave; a mode without an angle has one side, as its other is the same.
    both = torch.where(away % 2 == 1, away + 1, -away) / 2
    beside = angle + math.pi / taps * torch.where(angle == 0, away, both)
    return torch.where(free, torch.complex(torch.full_like(beside, -slowest), beside), p)


def _circle(g: Tensor, order: int, slowest: float) -> Tensor:
    """T taps are met exactly by poles at the T-th roots of unity, of which T // 2 + 1 stand for all: no search is needed."""
    D, T = g.shape
    angle = 2 * math.pi * torch.arange(T // 2 + 1, dtype=torch.float64) / T
    p = torch.full((order,), GONE, dtype=torch.complex128)
    p[: T // 2 + 1] = torch.complex(torch.full_like(angle, -slowest), angle)
    return p.expand(D, order).clone()


def _time_scales(taps: int) -> list[int]:
    """Steps, the last as long as is needed to see all taps."""
    last = -(-taps // TAPS)
    steps = [1]
    while steps[-1] * _STEPS < last:
        steps.append(steps[-1] * _STEPS)
    return steps if last == steps[-1] else [*steps, last]


def _candidates(g: Tensor, step: int, rank: int, slowest: float) -> Tensor:
    """Log-poles (D, n) in the upper half plane, of a realisation of so many real states; `GONE` stands for none."""
    count = min(g.shape[1] // step, TAPS)
    lam = hankel.poles(g[:, : count * step].unflatten(1, (count, step)).mean(2), rank)
    logs = torch.log(torch.where(lam.abs() > 0, lam, torch.ones_like(lam))) / step
    logs = torch.complex(logs.real.clamp(GONE, -slowest), logs.imag)
    return torch.where((lam.imag >= 0) & (lam.abs() > 0), logs, torch.full_like(logs, GONE))


def _thin(p: Tensor, numbers: Tensor, grid: Grid, order: int) -> Tensor:
    """The `order` log-poles of (D, n) that are missed most: the one whose loss costs least is taken out, again and again.

    Never two at once: each of two that are alike is free, and both together are not.
    """
    D, n = p.shape
    if n <= order:
        return torch.cat([p, torch.full((D, order - n), GONE, dtype=p.dtype)], dim=1)
    A = columns(grid.powers(p))
    A = A * reciprocal(A.norm(dim=1))[:, None]
    G, right = A.mT @ A, (A.mT @ numbers[..., None])[..., 0]
    alive = p.real > GONE
    while int(alive.sum(1).max()) > order:
        cost = torch.where(alive, _costs(G, right, alive), torch.full_like(p.real, torch.inf))
        over = alive.sum(1, keepdim=True) > order
        alive = alive & ~torch.zeros_like(alive).scatter(1, cost.argmin(dim=1, keepdim=True), over)
    best = (~alive).to(torch.int8).argsort(dim=1, stable=True)[:, :order]
    return torch.where(alive.gather(1, best), p.gather(1, best), torch.full_like(p[:, :order], GONE))


def _costs(G: Tensor, right: Tensor, alive: Tensor) -> Tensor:
    """What the sum of squares would grow by, were a pole taken out of those alive: x' (G^-1)^-1 x of its two columns."""
    n = alive.shape[1]
    both = torch.cat([alive, alive], dim=1).to(G.dtype)
    # A ridge and no pseudo-inverse: of two poles that are the same either one must come out as free.
    inverse = torch.linalg.inv(G * both[:, :, None] * both[:, None] + RIDGE * torch.eye(2 * n, dtype=G.dtype))
    x = (inverse @ (right * both)[..., None])[..., 0]
    diagonal, beside = inverse.diagonal(dim1=1, dim2=2), inverse.diagonal(n, dim1=1, dim2=2)
    block = torch.stack([diagonal[:, :n], beside, beside, diagonal[:, n:]], dim=2).unflatten(2, (2, 2))
    pair = torch.stack([x[:, :n], x[:, n:]], dim=2)[..., None]
    return (pair.mT @ torch.linalg.inv(block + RIDGE * torch.eye(2, dtype=G.dtype)) @ pair)[..., 0, 0]

"""Where a filter is looked at while its poles are searched: every lag at first, then bins of lags that grow with the lag.

A filter of a million taps is smooth far back, or no small number of poles could follow it: bins there lose nothing, and a few
thousand numbers stand for it. Only the poles are found on bins; residues and errors are always those of all taps.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from hyena.inference.distillation.exponentials import FEW, expm1

FINE = FEW
"""Lags up to which a bin is one lag wide; each doubling beyond has half as many bins."""


@dataclass(frozen=True)
class Grid:
    """Bin i has the lags first[i] .. first[i] + width[i] - 1. Its number is the root of the sum of squares, where even."""

    first: Tensor
    """(N,) float64, whole numbers."""
    width: Tensor
    """(N,) float64, whole numbers."""

    @staticmethod
    def over(taps: int, fine: int = FINE) -> "Grid":
        """The bins of lags 0 .. taps - 1."""
        first, width = [torch.arange(min(taps, fine))], [torch.ones(min(taps, fine), dtype=torch.int64)]
        start, step = fine, 2
        while start < taps:
            begins = torch.arange(start, min(2 * start, taps), step)
            first.append(begins)
            width.append((taps - begins).clamp(max=step))
            start, step = 2 * start, 2 * step
        return Grid(torch.cat(first).double(), torch.cat(width).double())

    @property
    def middle(self) -> Tensor:
        """(N,) mean lags."""
        return self.first + (self.width - 1) / 2

    def of(self, g: Tensor) -> Tensor:
        """Taps (D, T) as numbers of bins (D, N): means times the root of the width."""
        if bool((self.width == 1).all()):
            return g
        sums = F.pad(g.cumsum(1), (1, 0))
        first = self.first.long()
        return (sums[:, first + self.width.long()] - sums[:, first]) / self.width.sqrt()

    def powers(self, p: Tensor) -> Tensor:
        """The same of lam^t: (D, N, S) of log-poles p (D, S)."""
        fine = int((self.width == 1).sum())  # they come first, but for a last bin that may be one lag wide too
        near = torch.exp(p[:, None] * self.first[:fine, None])
        if fine == len(self.width):
            return near
        p, first, width = p[:, None], self.first[fine:, None], self.width[fine:, None]
        zero = p.abs() < 1e-14
        q = torch.where(zero, torch.ones_like(p), p)
        sums = torch.where(zero, width.to(p.dtype), expm1(q * width) / expm1(q))
        return torch.cat([near, torch.exp(p * first) * sums / width.sqrt()], dim=1)

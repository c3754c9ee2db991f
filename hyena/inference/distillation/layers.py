"""One layer: its implicit filters read in float64 some at a time, fitted, stored as a modal filter keeps them, and measured."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from hyena.configs.filters import ModalFilterConfig
from hyena.inference.distillation.exponentials import FEW, energy, residues, values
from hyena.inference.distillation.fit import STEPS, fit
from hyena.modules.filter_rows import FilterRows
from hyena.modules.filters import ImplicitFilter
from hyena.modules.modal_filter import ModalFilter

REACH = 0.99
"""Share of a filter's energy within its reach, as `hyena inspect` has it."""
_ROOM = 2**25
"""Numbers of each kind that are held at a time: taps, hidden features of the implicit filter, columns."""
_SLOWEST = 1e-12
"""Least decay of a mode for a tap: the logarithm of 0 has no value."""

Report = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Measures:
    """What was measured of G filters over the K lags of their grid, (G,) each, float64."""

    norm: np.ndarray
    """sqrt(sum h^2) of the original."""
    tail: np.ndarray
    """The same of its taps past the head: what a head alone is off by."""
    error: np.ndarray
    """sqrt(sum (h - g)^2) of the distilled filter g, as it is stored."""
    reach: np.ndarray
    """Lag by which `REACH` of the original's energy is reached; NaN for a filter of zeros, as are the next two."""
    distilled_reach: np.ndarray
    """The same of the distilled filter, over the same lags."""
    head_reach: np.ndarray
    """The same of the head alone; 0 where there is none."""
    past: np.ndarray
    """sqrt(sum g^2) of the distilled filter over all lags past the grid, where the original is zero or has no value."""

    def relative(self, values: np.ndarray) -> np.ndarray:
        """Values (G,) as fractions of the filters' norms; 0 for a filter of zeros."""
        return np.divide(values, self.norm, out=np.zeros_like(values), where=self.norm > 0)

    @property
    def shorter(self) -> np.ndarray:
        """(G,): whether the distilled filter's reach is shorter than the original's."""
        return np.nan_to_num(self.distilled_reach) < np.nan_to_num(self.reach)


def distil_layer(
    filter: ImplicitFilter, order: int, head: int, steps: int = STEPS, report: Report | None = None
) -> tuple[ModalFilter, Measures]:
    """The modal filter that is found for an implicit one over its grid, and how close it is. report counts filters."""
    G, K = filter.groups, filter.max_length
    new = ModalFilter(ModalFilterConfig(order, head), G).to(filter.out.weight.dtype)
    found = []
    for rows, h in _some(filter, order):
        tail = h[:, head:]
        modes = fit(tail, order, steps, report=_after(report, rows.start, G))
        # What is stored is rounded: the residues are chosen for the poles that there will be.
        new.log_decay.data[rows] = (-modes.log_poles.real).clamp(min=_SLOWEST).log().to(new.log_decay.dtype)
        new.angle.data[rows] = modes.log_poles.imag.to(new.angle.dtype)
        p = torch.view_as_complex(new.exponents()[rows].detach().double().contiguous())
        R = residues(p, tail) if head < K else torch.zeros_like(p)
        new.residues.data[rows] = torch.view_as_real(R).to(new.residues.dtype)
        R = torch.view_as_complex(new.residues.data[rows].double())
        if new.head is not None:
            new.head.data[rows, : min(head, K)] = h[:, :head].to(new.head.dtype)
            new.head.data[rows, K:] = 0
        found.append(_measure(h, p, R, head))
    joined = {field.name: np.concatenate([getattr(m, field.name) for m in found]) for field in fields(Measures)}
    return new, Measures(**joined)


def _after(report: Report | None, start: int, total: int) -> Report | None:
    """A report of some filters as one of all."""
    return None if report is None else lambda done, _: report(start + done, total)


def _some(filter: ImplicitFilter, order: int) -> Iterator[tuple[slice, Tensor]]:
    """The taps (rows, K) over the whole grid in float64, some rows at a time."""
    wide, K = copy.deepcopy(filter).requires_grad_(False).cpu().double(), filter.max_length
    width = filter.config.width
    source = FilterRows(wide, K, torch.empty(K, width).double() if K * width <= _ROOM else None)
    some = max(1, _ROOM // max(K, 2 * order * min(K, FEW)))  # taps, and the columns of `residues`
    for start in range(0, filter.groups, some):
        rows = slice(start, min(start + some, filter.groups))
        yield rows, source.rows(rows, torch.empty(rows.stop - start, K, dtype=torch.float64))


def _measure(h: Tensor, p: Tensor, R: Tensor, head: int) -> Measures:
    """The original's taps h (g, K) against the head and modes that are stored."""
    K = h.shape[1]
    g = torch.cat([h[:, :head], values(p, R, K - head)], dim=1) if head < K else h
    return Measures(
        norm=h.norm(dim=1).numpy(),
        tail=h[:, head:].norm(dim=1).numpy(),
        error=(h - g).norm(dim=1).numpy(),
        reach=reach(h),
        distilled_reach=reach(g),
        head_reach=np.nan_to_num(reach(h[:, :head])) if head else np.zeros(len(h)),
        past=energy(p, R, max(K - head, 0), 2**40).sqrt().numpy(),
    )


def reach(h: Tensor) -> np.ndarray:
    """(g,) lag by which `REACH` of the energy of taps h (g, K) is reached; NaN where there is none."""
    sums = h.square().cumsum(1)
    lags = (sums >= REACH * sums[:, -1:]).to(torch.int8).argmax(dim=1)
    return torch.where(sums[:, -1] > 0, lags.double(), torch.nan).numpy()

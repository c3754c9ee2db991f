"""Numbers of long filters: how large, how far they reach, whether they fade. Any number of taps, in bounded memory.

A filter is read in pieces along the grid; what is kept of it are sums over bins of lags that grow geometrically, exact to the
tap up to some hundred lags and to about 0.3 % of the lag beyond. A lag counts tokens back: lag 0 is the present token.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from hyena.errors import HyenaError
from hyena.modules.explicit_filter import ExplicitFilter
from hyena.modules.filters import ImplicitFilter
from hyena.modules.modal_stream import ModalStream

REACH = 0.99
"""Share of a filter's energy within its reach. Fed with white noise, a filter gives an output whose variance is its energy
sum h^2, so that what lies past the reach is a hundredth of the output's power."""
ZERO = 1e-3
"""A filter is nearly zero below this fraction of the layer's median norm: a millionth of its power."""
ZERO_NORM = 1e-6
"""And below this norm: next to a skip of order 1 it is lost in the rounding of float32, whose unit is 1.2e-7."""
CONSTANT = 1e-3
"""A filter is constant where its taps' standard deviation is below this fraction of their mean: a running sum, no filter."""
UNDECAYED = 0.5
"""A filter has not decayed where the last tenth of the grid is at least this loud, measured in its own loudest tenth: the grid
cuts it off in full voice. Taps that are otherwise even keep 0.07 under the slowest published window, 0.12 with its floor."""
HEAD = 128
"""Taps kept as they are, from lag 0 on."""
_BINS, _CELLS, _PIECE = 4096, 2**24, 2**22
"""Bins of a filter; bins of all filters together; taps of all filters computed at a time."""


@dataclass(frozen=True)
class Spread:
    """How a number is spread over channels: extremes, deciles and median."""

    minimum: float
    lower: float
    median: float
    upper: float
    maximum: float

    @staticmethod
    def of(values: np.ndarray) -> "Spread | None":
        """Of the finite ones among the values; None where there are none."""
        finite = values[np.isfinite(values)]
        return Spread(*np.percentile(finite, [0, 10, 50, 90, 100]).tolist()) if finite.size else None


@dataclass(frozen=True, eq=False)
class Measure:
    """What was read of the G filters of a layer over K taps. Rows run over filters; all is float64."""

    edges: np.ndarray
    """(bins + 1,) whole numbers: bin b has the lags edges[b] .. edges[b + 1] - 1."""
    energy: np.ndarray
    """(G, bins): sums of h^2."""
    sums: np.ndarray
    """(G, bins): sums of h."""
    head: np.ndarray
    """(G, min(K, HEAD)): the first taps."""

    @property
    def taps(self) -> int:
        """K."""
        return int(self.edges[-1])

    @property
    def norm(self) -> np.ndarray:
        """(G,): sqrt(sum h^2); not finite where a tap is not."""
        return np.sqrt(self.energy.sum(1))

    @property
    def finite(self) -> np.ndarray:
        """(G,): whether every tap is a finite number."""
        return np.isfinite(self.norm)

    @property
    def zero(self) -> np.ndarray:
        """(G,): nearly zero, see `ZERO` and `ZERO_NORM`."""
        norm = self.norm
        middle = np.median(norm[self.finite]) if self.finite.any() else 0.0
        return norm <= max(ZERO * middle, ZERO_NORM)

    @property
    def constant(self) -> np.ndarray:
        """(G,): the same tap at every lag, see `CONSTANT`; a filter of one tap or nearly zero is not called constant."""
        mean = self.sums.sum(1) / self.taps
        variance = self.norm**2 / self.taps - mean**2
        return (variance <= (CONSTANT * mean) ** 2) & ~self.zero & self.finite & (self.taps > 1)

    @property
    def undecayed(self) -> np.ndarray:
        """(G,): still loud at the end of the grid, see `UNDECAYED`."""
        return (self.tail >= UNDECAYED) & ~self.zero & (self.taps >= 10)

    @property
    def tail(self) -> np.ndarray:
        """(G,): root mean square over the last tenth of the grid, measured in the loudest tenth; NaN for a filter of zeros."""
        loudness = self.loudness(_tenths(self.taps))
        with np.errstate(invalid="ignore"):
            return loudness[:, -1] / loudness.max(1)

    @property
    def reach(self) -> np.ndarray:
        """(G,): the lag by which `REACH` of a filter's energy is reached; NaN where there is no energy or no number."""
        sums = np.cumsum(self.energy, axis=1)
        bins = np.argmax(sums >= REACH * sums[:, -1:], axis=1)
        return np.where(self.finite & (sums[:, -1] > 0), self.edges[bins + 1] - 1.0, np.nan)

    def columns(self, count: int) -> np.ndarray:
        """Edges of up to `count` geometric columns, from lag 0 to the end of the grid, for `loudness`."""
        wanted = np.geomspace(1, self.taps + 1, count + 1) - 1
        return np.unique(self.edges[np.searchsorted(self.edges, wanted.round())])

    def loudness(self, edges: np.ndarray) -> np.ndarray:
        """(G, columns): root mean square of the taps in each column; edges: some of this measure's own, first and last too."""
        return np.sqrt(self._over(self.energy, edges))

    def means(self, edges: np.ndarray) -> np.ndarray:
        """(G, columns): mean of the taps in each column, with their signs."""
        return self._over(self.sums, edges)

    def _over(self, binned: np.ndarray, edges: np.ndarray) -> np.ndarray:
        """Sums over bins as means over the lags of columns."""
        return np.add.reduceat(binned, np.searchsorted(self.edges, edges[:-1]), axis=1) / np.diff(edges)


def measure(
    filter: ImplicitFilter | ModalStream | ExplicitFilter,
    scale: np.ndarray | None = None,
    report: Callable[[int, int], None] | None = None,
    taps: int | None = None,
) -> Measure:
    """Read the taps of a filter over its whole grid; scale (G,) multiplies each. report(done, total) counts taps.

    taps: how many are read, all of the grid where not given; a modal filter has no grid and needs it.
    """
    if taps is None:
        if isinstance(filter, ModalStream):
            raise HyenaError("a modal filter has no end: say how many taps to read (taps=)")
        taps = filter.config.taps if isinstance(filter, ExplicitFilter) else filter.max_length
    K, G = taps, filter.groups
    edges = _edges(K, max(256, min(_BINS, _CELLS // G)))
    energy, sums = np.zeros((2, G, len(edges) - 1))
    head = np.zeros((G, min(K, HEAD)))
    piece = max(1, _PIECE // max(G, filter.config.width if isinstance(filter, ImplicitFilter) else 1))
    for start in range(0, K, piece):
        stop = min(start + piece, K)
        with torch.no_grad():
            h = filter.section(start, stop).double().cpu().numpy()
        h = h if scale is None else h * scale[:, None]
        head[:, start:stop] = h[:, : max(0, head.shape[1] - start)]
        first = int(np.searchsorted(edges, start, side="right")) - 1
        last = int(np.searchsorted(edges, stop))
        begins = np.maximum(edges[first:last], start) - start
        sums[:, first:last] += np.add.reduceat(h, begins, axis=1)
        energy[:, first:last] += np.add.reduceat(h * h, begins, axis=1)
        if report is not None:
            report(stop, K)
    return Measure(edges, energy, sums, head)


def _edges(K: int, bins: int) -> np.ndarray:
    """Geometric borders of bins from 0 to K, one tap wide at first, and the borders of the tenths."""
    geometric = np.geomspace(1, K, bins).round().astype(np.int64)
    return np.unique(np.concatenate([[0, K], geometric, _tenths(K)]))


def _tenths(K: int) -> np.ndarray:
    """Borders of the tenths of a grid of K points; fewer where K is below 10."""
    return np.unique(np.linspace(0, K, 11).round().astype(np.int64))

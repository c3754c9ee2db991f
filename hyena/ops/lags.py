"""What known inputs contribute to outputs after them: the one operation that every engine of the online convolution is made of.

    y_s = sum over a = 1 .. U of h_(a + start + s) x_(U - a),    s = 0 .. count - 1

x are U inputs, output 0 + start is the first one they are wanted for, counted from the output right after the last input (arXiv
2410.03766 calls it FutureFill, arXiv 2410.12982 a grey tile). Only lags from 1 up occur: lag 0 is the present's.
"""

import itertools
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from hyena.ops.cuts import power
from hyena.ops.long_conv import long_conv, prepare
from hyena.ops.spectrum import Spectrum

_NUMBERS = 2**22
"""Numbers of a convolution held at once."""
_KEPT = 4096
"""The longest tile whose transformed taps are kept: longer ones are rare and large, and are transformed each time."""


class Lags:
    """Taps of groups of channels, computed as far as they are needed, and the operation with them.

    A constant of a model, not a state: states of the same model share one.
    """

    def __init__(self, sources: Sequence[Callable[[int], Tensor]], reach: int | None, grid: int = 0):
        """sources: for each part of the channels, what gives its first K taps (D, K).

        reach: taps in all, None: no end. grid: taps past it are not computed before one is needed.
        """
        self.sources, self.reach, self.grid = list(sources), reach, grid
        self.parts = [source(1) for source in self.sources]
        bounds = torch.tensor([0] + [len(part) for part in self.parts]).cumsum(0).tolist()
        self.places = [slice(a, b) for a, b in itertools.pairwise(bounds)]
        self.channels = bounds[-1]
        self.known = 1
        self._tiles: dict[int, Spectrum] = {}
        self._near: dict[int, Tensor] = {}
        self._backwards: list[Tensor] = []

    @property
    def like(self) -> Tensor:
        """A tensor of the dtype and device of the computation."""
        return self.parts[0]

    def need(self, K: int) -> None:
        """Compute at least K taps, where the filter has so many; twice as many as before where it grows."""
        K = K if self.reach is None else min(K, self.reach)
        if self.known < K:
            ahead = power(K)
            if self.reach is not None:
                ahead = min(ahead, self.reach)
            elif self.grid >= K:
                ahead = min(ahead, self.grid)
            self.known = ahead
            self.parts = [source(self.known) for source in self.sources]
            self._backwards = []

    def current(self) -> bool:
        """Whether the taps are still those that the sources give."""
        now = [source(self.known) for source in self.sources]
        return all(a.data_ptr() == b.data_ptr() and a.shape == b.shape for a, b in zip(now, self.parts, strict=True))

    def same(self, other: "Lags") -> bool:
        """Whether another one's taps are these."""
        K = max(self.known, other.known)
        self.need(K)
        other.need(K)
        alike = self.reach == other.reach and self.places == other.places
        return other is self or (alike and all(torch.equal(a, b) for a, b in zip(self.parts, other.parts, strict=True)))

    def near(self, K: int) -> Tensor:
        """Taps K .. 1 (K, C), the farthest first: what multiplies the last K inputs, laid out time by time. Kept for each K."""
        if K not in self._near:
            self._near[K] = self.section(1, K + 1).flip(1).T.contiguous()
        return self._near[K]

    def backwards(self, part: int, K: int) -> Tensor:
        """Taps K .. 1 of one part (D, K, 1), a second copy of all that are known: for products with all inputs."""
        self.need(K + 1)
        if not self._backwards:
            self._backwards = [taps[:, 1:].flip(1).unsqueeze(-1) for taps in self.parts]
        every = self._backwards[part]
        return every[:, every.shape[1] - K :]

    def section(self, start: int, stop: int, channels: slice | None = None) -> Tensor:
        """Taps start .. stop - 1 (C, stop - start) of some channels (all where none are given), zeros past the filter's end."""
        self.need(stop)
        channels = channels or slice(0, self.channels)
        rows = []
        for place, part in zip(self.places, self.parts, strict=True):
            low, high = max(place.start, channels.start), min(place.stop, channels.stop)
            if low < high:
                rows.append(part[low - place.start : high - place.start, start:stop])
        taps = rows[0] if len(rows) == 1 else torch.cat(rows)
        return F.pad(taps, (0, stop - start - taps.shape[1])) if taps.shape[1] < stop - start else taps

    def fill(self, x: Tensor, start: int, count: int, first: int = 0) -> Tensor:
        """y (B, C, count) of inputs x (B, C, U), whose channels begin at channel `first` of all.

        A causal convolution of the inputs followed by nothing, of which the outputs after the inputs are wanted.
        """
        if self.reach is not None:  # inputs and outputs farther apart than the filter is long
            x = x[..., max(0, x.shape[-1] - max(0, self.reach - 1 - start)) :]
        B, C, U = x.shape
        if not U:
            return x.new_zeros(B, C, count)
        if count == 1:
            taps = self.section(1 + start, U + start + 1, slice(first, first + C))
            return (x * taps.flip(1)).sum(-1, keepdim=True)
        y, L = x.new_empty(B, C, count), U + count
        step = max(8, _NUMBERS // (B * L))
        for c in range(0, C, step):
            channels = slice(first + c, first + min(c + step, C))
            whole = start == 0 and count == U
            filters = self._prepared(U, channels) if whole else self.section(start, start + L, channels)
            y[:, c : c + step] = long_conv(F.pad(x[:, c : c + step], (0, count)), filters)[..., U:]
        return y

    def _prepared(self, U: int, channels: slice) -> Tensor | Spectrum:
        """Taps for a tile of U inputs and U outputs; those of small tiles are kept transformed."""
        if U > _KEPT:
            return self.section(0, 2 * U, channels)
        if U not in self._tiles:
            self._tiles[U] = prepare(self.section(0, 2 * U), 2 * U)
        return self._tiles[U] if channels == slice(0, self.channels) else self._tiles[U].groups(channels)

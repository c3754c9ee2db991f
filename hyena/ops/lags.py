"""What known inputs contribute to outputs after them: the one operation that every engine of the online convolution is made of.

    y_s = sum over a = 1 .. U of h_(a + start + s) x_(U - a),    s = 0 .. count - 1

x are U inputs, output 0 + start is the first one they are wanted for, counted from the output right after the last input (arXiv
2410.03766 calls it FutureFill, arXiv 2410.12982 a grey tile). Only lags from 1 up occur: lag 0 is the present's.
"""

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from hyena.ops.fft import good_length

_POINTS = 2**19
"""Points of a transform held at once, as in a processor's cache."""
_KEPT = 4096
"""The longest tile whose transformed taps are kept: longer ones are rare and large, and are transformed each time."""
_DIRECT = 16
"""Outputs up to which a product without transforms is taken."""


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
        self._spectra: dict[int, Tensor] = {}
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
            ahead = 1 << (K - 1).bit_length()
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
        return torch.nn.functional.pad(taps, (0, stop - start - taps.shape[1])) if taps.shape[1] < stop - start else taps

    def fill(self, x: Tensor, start: int, count: int, first: int = 0) -> Tensor:
        """y (B, C, count) of inputs x (B, C, U), whose channels begin at channel `first` of all."""
        B, C, U = x.shape
        if self.reach is not None:  # inputs and outputs farther apart than the filter is long
            U = min(U, max(0, self.reach - 1 - start))
            x = x[..., x.shape[-1] - U :]
        y = x.new_zeros(B, C, count) if U == 0 else x.new_empty(B, C, count)
        if U == 0:
            return y
        if count * min(U, count) <= _DIRECT or count == 1:
            return self._direct(x, start, count, first)
        n = good_length(U + count - 1)
        step = max(4, _POINTS // (B * n))
        for c in range(0, C, step):
            some = slice(c, min(c + step, C))
            W = self._spectrum(U, start, count, n, slice(first + some.start, first + some.stop))
            X = torch.fft.rfft(x[:, some], n=n)
            y[:, some] = torch.fft.irfft(X.mul_(W), n=n)[..., U - 1 : U - 1 + count]
        return y

    def _direct(self, x: Tensor, start: int, count: int, first: int) -> Tensor:
        """The same, lag by lag."""
        U = x.shape[-1]
        taps = self.section(1 + start, U + start + count, slice(first, first + x.shape[1])).flip(1)
        each = [(x * taps[:, count - 1 - s : count - 1 - s + U]).sum(-1) for s in range(count)]
        return torch.stack(each, -1)

    def _spectrum(self, U: int, start: int, count: int, n: int, channels: slice) -> Tensor:
        """The transformed taps; those of small tiles are kept."""
        if start or count != U or n != 2 * U or U > _KEPT:
            return torch.fft.rfft(self.section(1 + start, U + start + count, channels), n=n)
        if U not in self._spectra:
            self._spectra[U] = torch.fft.rfft(self.section(1, 2 * U), n=n)
        return self._spectra[U][channels]

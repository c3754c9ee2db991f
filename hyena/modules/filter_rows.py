"""Some rows of an implicit filter at a time, for sequences so long that its taps (G, K) must not stand whole."""

import torch
from jaxtyping import Float
from torch import Tensor

from hyena.modules.filters import ImplicitFilter
from hyena.ops.cuts import pieces
from hyena.ops.window import windowed_

_PIECE = 8192
"""Taps whose features are made at a time: 2 MB of 64 float32 numbers each, which a processor's cache holds."""


class FilterRows:
    """The taps of any rows of a filter, computed when they are asked for; nothing is kept past this object. For inference."""

    @torch.no_grad()
    def __init__(self, filter: ImplicitFilter, length: int, room: Float[Tensor, "K W"] | None = None):
        """length: tokens of the sequences; room: where the last hidden layer is kept, made again for all rows without it."""
        self._filter, self.K = filter, filter.used(length)
        self._t, self._z = filter._grid(self.K)
        self._features = room
        if room is not None:
            for piece in pieces(self.K, _PIECE):
                room[piece] = self._hidden(piece)
        self._norm = self._over_channels() if filter.config.channel_norm else None

    def rows(self, some: slice, out: Float[Tensor, "G K"]) -> Float[Tensor, "G K"]:
        """Taps of filters `some`, written into contiguous `out`."""
        self._raw(some, out)
        return out if self._norm is None else out.div_(self._norm)

    def _raw(self, some: slice, out: Tensor) -> None:
        """The rows before they are divided by their norm over the channels."""
        weight, decay = self._filter.out.weight[some], self._filter.decay
        for piece in pieces(self.K, _PIECE):
            torch.mm(weight, self._of(piece).T, out=out[:, piece])
        if decay is not None:
            windowed_(out, decay[some], self._t, self._filter.config.shift)

    def _of(self, piece: slice) -> Tensor:
        return self._hidden(piece) if self._features is None else self._features[piece]

    def _hidden(self, piece: slice) -> Tensor:
        """The last hidden layer at some grid points, (n, W)."""
        z = self._z[piece]
        for layer in self._filter.layers:
            z = layer(z).mul_(self._filter.frequency).sin_()
        return z

    def _over_channels(self) -> Tensor:
        """The L1 norm of each tap over all filters, (K,), by some filters at a time."""
        G, norm = self._filter.groups, self._t.new_zeros(self.K)
        room = self._t.new_empty(min(8, G), self.K)
        for start in range(0, G, 8):
            some = slice(start, min(start + 8, G))
            self._raw(some, room[: some.stop - start])
            norm += room[: some.stop - start].abs_().sum(0)
        return norm

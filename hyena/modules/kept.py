"""`KeptFilter`: what all long filters share. In evaluation their taps are computed once, and a changed weight is always seen.

Beside the taps stands a copy of every tensor that they depend on, which is compared with the tensors before each use.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from hyena.modules.precision import Float32Module
from hyena.ops import Spectrum, prepare
from hyena.ops.kernel import points, rounded

T = TypeVar("T")


@dataclass
class _Kept:
    """Copies of the tensors that all was computed from, taps (G, K), what was prepared of them, and other things by name."""

    sources: list[Tensor]
    h: Tensor | None = None
    spectrum: Spectrum | None = None
    others: dict[str, Any] = field(default_factory=dict)


class KeptFilter(Float32Module):
    """Taps (G, K) for any K; parameters stay in float32 when the model is cast to half precision.

    A filter says how many taps a sequence can meet (`used`) and computes them (`_taps`).
    """

    def __init__(self, groups: int):
        """groups: G, the number of filters."""
        super().__init__()
        self.groups = groups
        self._cached: _Kept | None = None

    def __getstate__(self) -> dict[str, object]:
        """A copied or pickled module keeps nothing: the order of a kernel's spectrum is that of one machine's registers."""
        return {**vars(self), "_cached": None}

    def used(self, length: int) -> int:
        """K: the taps that a sequence of `length` tokens can meet."""
        raise NotImplementedError

    def _taps(self, K: int) -> Tensor:
        """The first K taps."""
        raise NotImplementedError

    def _worth(self, K: int) -> int:
        """How many taps are computed where K are wanted: a rounded-up length, so that a growing sequence finds them."""
        return _ahead(K)

    def forward(self, length: int) -> Float[Tensor, "G K"]:
        """The taps for sequences of `length` tokens, K = `used(length)`: the caller's own, to do with as it likes."""
        taps = self.shared(length)
        return taps if taps.requires_grad else taps.clone()

    def shared(self, length: int) -> Float[Tensor, "G K"]:
        """The same without a copy, to be read only.

        In evaluation without gradients they are computed once, for a rounded-up length, and kept for as long as every
        tensor that they depend on still has the same values: a changed weight is always seen.
        """
        K = self.used(length)
        return self._taps(K) if self._changing() else self._kept_taps(self._kept(), K)[:, :K]

    def prepared(self, length: int, channels: int) -> Float[Tensor, "G K"] | Spectrum:
        """The same for `long_conv`: where taps are kept, what `prepare` made of them for so many channels is kept too."""
        K = self.used(length)
        if self._changing():
            return self._taps(K)
        kept, ahead = self._kept(), _ahead(length)
        h = self._kept_taps(kept, K)
        # Of another length it would be right too, and slow: a transform costs what it is long.
        if kept.spectrum is None or kept.spectrum.length != ahead:
            kept.spectrum = prepare(h, ahead, channels=channels)
        return kept.spectrum

    def kept_bytes(self, length: int) -> int:
        """What `prepared` keeps for sequences of `length` tokens: taps, and a transform of two numbers a point."""
        ahead = _ahead(length)
        K = self.used(ahead)
        numbers = K + 2 * rounded(points(ahead, K, gradient=False))
        return self.groups * numbers * max(t.element_size() for t in self._sources())

    def forget(self) -> None:
        """Keep nothing."""
        self._cached = None

    def _made(self, name: str, make: Callable[[], T]) -> T:
        """What `make` makes of the filter's tensors, kept like the taps."""
        if self._changing():
            return make()
        others = self._kept().others
        if name not in others:
            others[name] = make()
        return others[name]

    def _changing(self) -> bool:
        """Whether nothing may be kept: weights are being trained, or a graph is being recorded."""
        return self.training or torch.is_grad_enabled() or torch.compiler.is_compiling()

    def _kept(self) -> _Kept:
        """What was kept; nothing where a tensor that it depends on has changed."""
        sources = self._sources()
        if self._cached is None or not _same(self._cached.sources, sources):
            self._cached = _Kept([s.clone() for s in sources])
        return self._cached

    def _sources(self) -> list[Tensor]:
        """Every tensor that the taps depend on."""
        return [tensor.detach() for tensor in self.state_dict(keep_vars=True).values()]

    def _kept_taps(self, kept: _Kept, K: int) -> Tensor:
        """At least K taps, computed again where they are too few."""
        if kept.h is None or kept.h.shape[1] < K:
            kept.h, kept.spectrum = self._taps(self._worth(K)), None
        return kept.h


def _ahead(length: int) -> int:
    """A rounded-up length: at most an eighth or 64 more."""
    step = max(64, 2 ** (length - 1).bit_length() // 8)
    return -(-length // step) * step


def _same(kept: list[Tensor], now: list[Tensor]) -> bool:
    """Equal in dtype, device and every value. Version counters would not see a change through `.data`."""
    return len(kept) == len(now) and all(
        a.dtype == b.dtype and a.device == b.device and torch.equal(a, b) for a, b in zip(kept, now, strict=True)
    )

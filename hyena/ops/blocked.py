"""The same convolution in blocks (overlap-save), for filters much shorter than the sequence: bounded memory, short FFTs.

A block of n points holds K - 1 points of history and V = n - K + 1 new ones; of its circular convolution the last V points
are free of wrap-round. The adjoint looks ahead instead of back.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from hyena.ops import fft
from hyena.ops.taps import Taps


def length_for(L: int, K: int) -> int:
    """Points a block: about four times the filter, never more than the whole sequence needs."""
    return min(fft.good_length(max(4 * K, 512)), fft.length_for(L, K))


def transform(h: Tensor, L: int) -> Taps:
    """Taps (G, K) with the spectrum of a block."""
    h = h[:, :L]
    n = length_for(L, h.shape[-1])
    return Taps(h, torch.fft.rfft(h, n=n), n)


def forward(x: Tensor, taps: Taps) -> Tensor:
    """Causal convolution of x (B, D, L) with taps (G, K), D % G == 0; returns (B, D, L)."""
    K, n = taps.h.shape[-1], taps.n
    y = torch.empty_like(x)
    for start, stop in _blocks(x.shape[-1], n - K + 1):
        X = torch.fft.rfft(_window(x, start - (K - 1), stop), n=n)
        y[..., start:stop] = torch.fft.irfft(fft.multiply(X, taps.spectrum), n=n)[..., K - 1 : K - 1 + stop - start]
    return y


def backward(x: Tensor, taps: Taps, gy: Tensor, needs: tuple[bool, bool, bool]) -> tuple[Tensor | None, ...]:
    """y again, and the gradients for x (B, D, L) and the taps (G, K) given gy (B, D, L); None where not in `needs`."""
    needs_y, needs_x, needs_h = needs
    L, (G, K), n, H = x.shape[-1], taps.h.shape, taps.n, taps.spectrum
    assert H is not None, "the transforms need a spectrum"
    y = torch.empty_like(x) if needs_y else None
    gx = torch.empty_like(x) if needs_x else None
    GH = torch.zeros_like(H) if needs_h else None
    for start, stop in _blocks(L, n - K + 1):
        if y is not None or GH is not None:
            X = torch.fft.rfft(_window(x, start - (K - 1), stop), n=n)
            if GH is not None:
                # The gradient stands where the block's outputs stood, behind K - 1 zeros: every lag is 0 .. K - 1.
                GH += fft.correlate(torch.fft.rfft(F.pad(gy[..., start:stop], (K - 1, 0)), n=n), X, G)
            if y is not None:
                y[..., start:stop] = torch.fft.irfft(fft.multiply(X, H), n=n)[..., K - 1 : K - 1 + stop - start]
        if gx is not None:
            GY = torch.fft.rfft(_window(gy, start, min(stop + K - 1, L)), n=n)
            gx[..., start:stop] = torch.fft.irfft(fft.multiply(GY, H.conj()), n=n)[..., : stop - start]
    return y, gx, None if GH is None else torch.fft.irfft(GH, n=n)[..., :K]


def _blocks(L: int, V: int) -> list[tuple[int, int]]:
    """The blocks [start, stop) of V outputs that cover L."""
    return [(start, min(start + V, L)) for start in range(0, L, V)]


def _window(x: Tensor, start: int, stop: int) -> Tensor:
    """x[..., start:stop], where a negative start stands for zeros before the sequence."""
    return F.pad(x[..., :stop], (-start, 0)) if start < 0 else x[..., start:stop]

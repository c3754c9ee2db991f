"""The same convolution through one FFT over the whole sequence, zero-padded so that nothing wraps round.

y = irfft(rfft(x) rfft(h)) over n >= L + K - 1 points. The filter's gradient is summed over batch and group in the frequency
domain: one inverse transform a filter, not one a sequence.
"""

import functools

import torch
from torch import Tensor

from hyena.ops.beginning import beginnings
from hyena.ops.taps import Taps


@functools.cache
def good_length(least: int) -> int:
    """The cheapest even transform length of at least `least`: a power of two times 1, 3, 5, 9, 15 or 25.

    Lengths with a large prime factor cost several times more; among these a power of two wins over a smaller neighbour
    until it has about a quarter more points.
    """
    candidates = []
    for odd, penalty in ((1, 1.0), (3, 1.1), (5, 1.15), (9, 1.2), (15, 1.25), (25, 1.3)):
        length = 2 * odd
        while length < least:
            length *= 2
        candidates.append((length * penalty, length))
    return min(candidates)[1]


def length_for(L: int, K: int) -> int:
    """Transform length for L outputs of K taps: the last index of the product is L + K - 2, and it must not wrap."""
    return good_length(L + K - 1)


def transform(h: Tensor, L: int) -> Taps:
    """Taps (G, K) with their spectrum, for sequences of up to L."""
    h = h[:, :L]
    n = length_for(L, h.shape[-1])
    return Taps(h, torch.fft.rfft(h, n=n), n)


def forward(x: Tensor, taps: Taps) -> Tensor:
    """Causal convolution of x (B, D, L) with taps (G, K), D % G == 0; returns (B, D, L)."""
    y = torch.fft.irfft(multiply(torch.fft.rfft(x, n=taps.n), taps.spectrum), n=taps.n)[..., : x.shape[-1]]
    for L in beginnings(x.shape[-1]):
        first = transform(taps.h, L)
        y[..., :L] = torch.fft.irfft(multiply(torch.fft.rfft(x[..., :L], n=first.n), first.spectrum), n=first.n)[..., :L]
    return y


def backward(x: Tensor, taps: Taps, gy: Tensor, needs: tuple[bool, bool, bool]) -> tuple[Tensor | None, ...]:
    """y again, and the gradients for x (B, D, L) and the taps (G, K) given gy (B, D, L); None where not in `needs`."""
    needs_y, needs_x, needs_h = needs
    L, (G, K), n, H = x.shape[-1], taps.h.shape, taps.n, taps.spectrum
    y = gx = gh = None
    GY = torch.fft.rfft(gy, n=n) if needs_x or needs_h else None
    if needs_y or needs_h:
        X = torch.fft.rfft(x, n=n)
        if GY is not None and needs_h:
            gh = torch.fft.irfft(correlate(GY, X, G), n=n)[..., :K]
        if needs_y:
            y = torch.fft.irfft(multiply(X, H), n=n)[..., :L]
    if GY is not None and needs_x:
        gx = torch.fft.irfft(multiply(GY, None if H is None else H.conj()), n=n)[..., :L]
    return y, gx, gh


def multiply(X: Tensor, H: Tensor | None) -> Tensor:
    """X (B, D, F) times the spectrum H (G, F) of each channel's group, in place."""
    assert H is not None, "the transforms need a spectrum"
    X.view(X.shape[0], H.shape[0], -1, X.shape[-1]).mul_(H[:, None])
    return X


def correlate(GY: Tensor, X: Tensor, G: int) -> Tensor:
    """sum over batch and group of GY conj(X), (B, D, F) each -> (G, F): the spectrum of the taps' gradient."""
    B, _, F = X.shape
    return (GY * X.conj()).view(B, G, -1, F).sum((0, 2))

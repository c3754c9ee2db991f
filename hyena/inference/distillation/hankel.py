"""Poles of a filter from its Hankel matrix: Ho-Kalman realisation, which is balanced truncation of the taps' finite system.

H[i, j] = g[i + j] of taps g (D, T) has rank n exactly where g is a sum of n exponentials, real or in conjugate pairs. Its
dominant singular vectors span what a system of order n can remember; shifting them by one lag is multiplying by the system's
matrix, whose eigenvalues are the poles. (Ho and Kalman 1966; Kung 1978.) Everything is float64.
"""

import torch
from torch import Tensor

NOISE = 1e-14
"""Singular values below this fraction of the largest are rounding."""
_DENSE = 257
"""Rows of a Hankel matrix up to which it is built and decomposed whole; above, by random projection and FFT products."""
_OVERSAMPLING, _POWERS = 8, 2
"""Columns beyond the rank and power steps of the random projection."""


def rows(taps: int) -> int:
    """Rows of the square Hankel matrix of so many taps."""
    return (taps + 1) // 2


def singular_values(g: Tensor, count: int) -> Tensor:
    """The largest `count` singular values (D, count) of the Hankel matrices of taps (D, T), zeros where there are no more."""
    return _dominant(g, min(count, rows(g.shape[1])), count)[1]


def poles(g: Tensor, rank: int) -> Tensor:
    """Eigenvalues (D, n) of the realisation of rank n = `rank`, at most `rows` - 1, of taps (D, T).

    Directions whose singular value is lost in rounding give poles of 0.
    """
    rank = min(rank, rows(g.shape[1]) - 1)
    if rank < 1:
        return torch.zeros(len(g), 0, dtype=torch.complex128)
    vectors, values = _dominant(g, rank, rank)
    # A direction of rounding noise must not reach the eigenvalues: its vector is set to zero, which gives an eigenvalue of 0.
    known = values > NOISE * values[:, :1].clamp(min=torch.finfo(g.dtype).tiny)
    vectors = vectors * known[:, None]
    upper, lower = vectors[:, :-1], vectors[:, 1:]
    # The columns are orthonormal but for the row left out, so that the normal equations are as good as an orthogonal solution.
    step = torch.linalg.pinv(upper.mT @ upper, rtol=1e-12, hermitian=True) @ (upper.mT @ lower)
    return torch.linalg.eigvals(step)


def _dominant(g: Tensor, rank: int, count: int) -> tuple[Tensor, Tensor]:
    """Left singular vectors (D, rows, rank) and singular values (D, count) of the Hankel matrices."""
    m = rows(g.shape[1])
    if m <= _DENSE:
        index = torch.arange(m)
        U, values, _ = torch.linalg.svd(g[:, index[:, None] + index], full_matrices=False)
    else:
        # A square Hankel matrix is symmetric: its product is its transpose's.
        generator = torch.Generator().manual_seed(0)
        Q = torch.randn(len(g), m, min(m, rank + _OVERSAMPLING), dtype=g.dtype, generator=generator)
        spectrum = torch.fft.rfft(g[:, : 2 * m - 1], 2 ** (2 * m - 2).bit_length())
        for _ in range(2 * _POWERS + 1):
            Q = torch.linalg.qr(_product(spectrum, Q)).Q
        small = Q.mT @ _product(spectrum, Q)
        inner, values, _ = torch.linalg.svd(small)
        U = Q @ inner
    values = values[:, :count]
    return U[:, :, :rank], torch.nn.functional.pad(values, (0, count - values.shape[1]))


def _product(spectrum: Tensor, x: Tensor) -> Tensor:
    """H x: (H x)[i] = sum_j g[i + j] x[j] is a correlation, for columns x (D, m, c)."""
    m, n = x.shape[1], 2 * (spectrum.shape[1] - 1)
    turned = torch.fft.rfft(x, n, dim=1)
    return torch.fft.irfft(spectrum[:, :, None] * turned.conj(), n, dim=1)[:, :m]

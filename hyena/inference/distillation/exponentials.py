"""Sums of damped exponentials, g_t = Re sum_n R_n lam_n^t: values, inner products, the best residues for given poles.

Poles are logarithms p = log lam with Re p <= 0, complex128 (D, S); a conjugate is implied by the real part, so that S poles
stand for 2 S real states. Long filters are never multiplied out into lags times poles: sums over lags are those of
`hyena.ops.modal`, and inner products of exponentials have closed forms.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from hyena.ops.modal import modal_state, modal_taps

ROUNDING = 3e-7
"""What serving in float32 adds to a filter, as a fraction of the norms of its modes: some units of 6e-8. Residues that cancel
each other cost that much accuracy, so it is counted as part of the error when they are chosen."""
NO_PART = 1e-10
"""A column is none below this fraction of the squared norm of its pole's two columns."""
FEW = 1024
"""Numbers up to which columns are written out."""
_NOISE = 16 * 2.0**-52
"""Relative error of an inner product in closed form, a pole."""
GONE = -40.0
"""Re p of a mode that is over after one tap, in place of minus infinity."""


def values(p: Tensor, R: Tensor, length: int, start: int = 0) -> Tensor:
    """g (D, length) from lag `start` on, of log-poles and residues (D, S)."""
    if not length:
        return p.real.new_zeros(len(p), 0)
    return modal_taps(torch.view_as_real(p), torch.view_as_real(R), length, start)


def projections(p: Tensor, g: Tensor) -> Tensor:
    """sum_t g_t lam_n^t (D, S) of numbers g (D, T)."""
    return torch.view_as_complex(modal_state(g.flip(1)[None], torch.view_as_real(p))[0].contiguous())


def energy(p: Tensor, R: Tensor, start: int, stop: int) -> Tensor:
    """sum of g_t^2 over start <= t < stop (D,), in closed form."""
    moved = R * torch.exp(p * start)
    x = torch.cat([moved.real, -moved.imag], dim=1)
    return (x * (gram(p, stop - start) @ x[..., None])[..., 0]).sum(1).clamp(min=0)


def gram(p: Tensor, length: int) -> Tensor:
    """Inner products (D, 2 S, 2 S) over t < length of the columns Re lam^t, then Im lam^t."""
    plain = _geometric(p[:, :, None] + p[:, None, :], length)
    crossed = _geometric(p[:, :, None] + p[:, None, :].conj(), length)
    # Re a Re b = (Re ab + Re ab*) / 2, Im a Im b = (Re ab* - Re ab) / 2, Re a Im b = (Im ab - Im ab*) / 2
    same, other, mixed = crossed.real + plain.real, crossed.real - plain.real, plain.imag - crossed.imag
    return torch.cat([torch.cat([same, mixed], dim=2), torch.cat([mixed.mT, other], dim=2)], dim=1) / 2


def residues(p: Tensor, g: Tensor) -> Tensor:
    """The residues (D, S) that bring Re sum R lam^t closest to numbers g (D, T): least squares over all T, `ROUNDING` counted.

    Up to `FEW` numbers by orthogonal decomposition. Above by the normal equations, which have closed forms: what they lose is
    brought back by solving for the remainder again, and a step that does not make it smaller is not taken.
    """
    T = g.shape[1]
    if T <= FEW:
        return _paired(solve(columns(torch.exp(p[:, None] * torch.arange(T, dtype=torch.float64)[:, None])), g).weights)
    G = gram(p, T)
    squares = G.diagonal(dim1=1, dim2=2)
    scale = _scales(squares)
    # A part far below its pair is a difference of numbers as large as the pair: its rounding must not pass for a direction.
    real, imaginary = squares.chunk(2, dim=1)
    noise = _NOISE * p.shape[1] * scale**2 * (real + imaginary).repeat(1, 2)
    s, V = torch.linalg.eigh(scale[:, :, None] * G * scale[:, None, :] + torch.diag_embed(noise))
    s = s.clamp(min=0) + ROUNDING**2
    R, rest = torch.zeros_like(p), g
    for _ in range(4):
        inner = projections(p, rest)
        right = scale * torch.cat([inner.real, inner.imag], dim=1)
        further = R + _paired(scale * (V @ ((V.mT @ right[..., None]) / s[..., None]))[..., 0])
        left = g - values(p, further, T)
        better = (left.norm(dim=1) < rest.norm(dim=1))[:, None]
        R, rest = torch.where(better, further, R), torch.where(better, left, rest)
    return R


def columns(powers: Tensor) -> Tensor:
    """Real columns (D, N, 2 S) of powers (D, N, S): real parts, then imaginary parts."""
    return torch.cat([powers.real, powers.imag], dim=2)


def _paired(x: Tensor) -> Tensor:
    """Residues (D, S) of the weights (D, 2 S) of real and imaginary columns: Re(R lam) = Re R Re lam - Im R Im lam."""
    real, imaginary = x.chunk(2, dim=1)
    return torch.complex(real, -imaginary)


class Solution(NamedTuple):
    """Least squares over columns (D, N, 2 S), `ROUNDING` counted."""

    weights: Tensor
    """(D, 2 S)."""
    rest: Tensor
    """(D, N) what they leave."""
    basis: Tensor
    """(D, N, 2 S), orthonormal, of the columns' span."""
    error: Tensor
    """(D,) sum of squares of the rest and of what rounding adds."""


def solve(A: Tensor, g: Tensor) -> Solution:
    """Columns A (D, N, 2 S) weighted to meet numbers g (D, N), by orthogonal decomposition, for a few thousand rows."""
    scale = _scales(A.square().sum(1))
    basis, triangle = torch.linalg.qr(A * scale[:, None])
    U, s, V = torch.linalg.svd(triangle, full_matrices=False)
    basis = basis @ U
    inner = (basis.mT @ g[..., None])[..., 0]
    x = inner * s / (s**2 + ROUNDING**2)
    rest = g - (basis @ (x * s)[..., None])[..., 0]
    error = rest.square().sum(1) + ROUNDING**2 * x.square().sum(1)
    return Solution(scale * (V.mT @ x[..., None])[..., 0], rest, basis, error)


def _scales(squares: Tensor) -> Tensor:
    """What brings columns to norm 1, (D, 2 S) of their squared norms, real parts first.

    The imaginary part of a pole that is real but for rounding is none: it gets 0, where a huge residue would make noise of it.
    """
    real, imaginary = squares.clamp(min=0).chunk(2, dim=1)
    floor = NO_PART * (real + imaginary)
    return torch.cat([reciprocal(torch.where(part > floor, part, 0 * part).sqrt()) for part in (real, imaginary)], dim=1)


def reciprocal(x: Tensor) -> Tensor:
    """1 / x, and 0 where x is 0."""
    return torch.where(x > 0, 1 / x, torch.zeros_like(x))


def _geometric(q: Tensor, length: int) -> Tensor:
    """sum of exp(q t) over t < length: (exp(q length) - 1) / (exp(q) - 1); length where exp(q) is 1."""
    q = torch.complex(q.real, torch.remainder(q.imag + math.pi, 2 * math.pi) - math.pi)
    one = q.abs() < 1e-15
    q = torch.where(one, torch.ones_like(q), q)
    return torch.where(one, torch.full_like(q, length), expm1(q * length) / expm1(q))


def expm1(q: Tensor) -> Tensor:
    """exp(q) - 1 of complex numbers, without cancellation for small ones."""
    x, y = q.real, q.imag
    return torch.complex(torch.expm1(x) * torch.cos(y) - 2 * torch.sin(y / 2) ** 2, torch.exp(x) * torch.sin(y))

"""Modal filters: taps that are sums of decaying oscillations, and the state that goes on with them in O(S) a token.

    h_t = Re sum_n R_n lam_n^t,  t >= 0;   S complex poles lam and residues R a filter, their conjugates implied by Re

The recurrence x <- lam x + u keeps x = sum_j lam^(t-1-j) u_j of the inputs u_0 .. u_(t-1), which gives the real part of
sum_n R_n lam_n^(s+1) x_n to output t + s. Everywhere a pole is its logarithm as a real pair (log |lam|, angle) and a residue a
real pair (Re R, Im R), last axis 2: powers of poles near 1 are then right at a million tokens too. No complex tensor is kept.

Powers are computed in float64, and no tensor (D, S, L) is ever made: with t = a C + b, lam^t = lam^(a C) lam^b, so that taps,
states and what a state gives to later outputs are products of matrices of some sqrt(L) rows. States are float64: a mode of
|lam| = 1 - 1e-6 would add up the rounding of a million steps. (The form and its recurrence: arXiv 2310.18780, section 3.)
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from hyena.ops.cuts import pieces
from hyena.ops.native.calls import fresh

_ROOM = 2**21
"""Powers that are made at a time where no gradient is wanted: 16 MB in float64."""
_LOUD = {torch.float32: 1e-30, torch.float64: 0.0}
"""Powers below this are 0: next to 1 they are nothing, and products of subnormal numbers take a hundred times as long."""


def wide(t: Tensor) -> torch.dtype:
    """The dtype of powers and states: float64 where the device of t has it."""
    return torch.float32 if t.device.type == "mps" else torch.float64


def log_poles_of(poles: Float[Tensor, "*D two"]) -> Float[Tensor, "*D two"]:
    """(Re lam, Im lam) -> (log |lam|, angle), in float64; a pole of 0 becomes a mode that is gone after one token."""
    real, imaginary = poles.to(wide(poles)).unbind(-1)
    return torch.stack([torch.hypot(real, imaginary).log(), torch.atan2(imaginary, real)], -1)


def modal_taps(
    log_poles: Float[Tensor, "G S 2"], residues: Float[Tensor, "G S 2"], length: int, start: int = 0
) -> Float[Tensor, "G K"]:
    """Taps start .. start + length - 1 of G filters, in the dtype of the residues; differentiable in poles and residues."""
    grad = torch.is_grad_enabled() and (log_poles.requires_grad or residues.requires_grad)
    return _responses(log_poles, residues[:, None], start, length, residues.dtype, whole=grad)[:, 0]


@torch.no_grad()
def modal_past(
    state: Float[Tensor, "B D S 2"], log_poles: Float[Tensor, "D S 2"], residues: Float[Tensor, "D S 2"], n: int
) -> Float[Tensor, "B D n"]:
    """What a state gives to the next n outputs, in the dtype of the residues."""
    x = _times(state.transpose(0, 1), residues.to(state.dtype)[:, None])
    return _responses(log_poles, x, 1, n, residues.dtype, whole=False).transpose(0, 1)


@torch.no_grad()
def modal_state(
    u: Float[Tensor, "B D L"],
    log_poles: Float[Tensor, "D S 2"],
    state: Float[Tensor, "B D S 2"] | None = None,
    lengths: Int[Tensor, "B"] | None = None,
) -> Float[Tensor, "B D S 2"]:
    """The state after the inputs u, begun from `state` or zero, float64. lengths: of row b only the first lengths[b] inputs.

    Blocked Horner: sums of C inputs each by a matrix product, then those sums weighted by powers of lam^C.
    """
    (B, D, L), S = u.shape, log_poles.shape[1]
    C = _block(B * L, L)
    out = torch.empty(B, D, S, 2, dtype=wide(log_poles), device=u.device)
    for some in _parts(D, S * (C + 2 * B * (L // C)) + B * L // 4):
        part = u[:, some] if lengths is None else _right_aligned(u[:, some], lengths)
        x = _horner(part.to(torch.promote_types(u.dtype, torch.float32)).transpose(0, 1), log_poles[some], C)
        if state is not None:
            gone = torch.full((B,), L, device=u.device) if lengths is None else lengths.to(u.device)
            x = x + _times(state[:, some].transpose(0, 1), _power(log_poles[some, None], gone[:, None]))
        out[:, some] = x.transpose(0, 1)
    return out


def step_weights(
    log_poles: Float[Tensor, "D S 2"], residues: Float[Tensor, "D S 2"]
) -> tuple[Float[Tensor, "D S 2"], Float[Tensor, "D M"]]:
    """What one token needs, to be kept as long as the poles are the same: lam for `modal_advance`, R lam for `modal_read`."""
    lam = _power(log_poles, 1)
    real, imaginary = _times(residues.to(lam.dtype), lam).unbind(-1)
    return lam, torch.stack([real, -imaginary], -1).flatten(1)


def modal_read(state: Float[Tensor, "B D S 2"], read: Float[Tensor, "D M"]) -> Float[Tensor, "B D"]:
    """What a state gives to the next output, in float64: `modal_past` of one token. read: of `step_weights`."""
    return (state.flatten(2) * read).sum(-1)


def modal_advance(
    state: Float[Tensor, "B D S 2"],
    lam: Float[Tensor, "D S 2"],
    u: Float[Tensor, "B D"],
    lengths: Int[Tensor, "B"] | None = None,
) -> None:
    """x <- lam x + u, in place: `modal_state` of one token. lengths: rows where it is 0 stay as they are."""
    x, factors = torch.view_as_complex(state), torch.view_as_complex(lam)
    if lengths is None:
        x.mul_(factors).add_(u[..., None])
    else:
        x.copy_(torch.where(lengths.to(x.device)[:, None, None] > 0, x * factors + u[..., None], x))


def _times(a: Tensor, b: Tensor) -> Tensor:
    """The complex product of real pairs (..., 2)."""
    (ar, ai), (br, bi) = a.unbind(-1), b.unbind(-1)
    return torch.stack([ar * br - ai * bi, ar * bi + ai * br], -1)


def _power(log_poles: Tensor, t: int | Tensor) -> Tensor:
    """lam^t as pairs, in float64; t: one number, or numbers that go with the axes before the last one."""
    log, angle = log_poles.to(wide(log_poles)).unbind(-1)
    # A pole of 0: exp(-800 t) is 0 for t >= 1 and 1 for t = 0, where minus infinity would give no number.
    size, turn = (log.clamp(min=-800.0) * t).exp(), angle * t
    return torch.stack([size * turn.cos(), size * turn.sin()], -1)


def _powers(log_poles: Tensor, step: int, count: int) -> tuple[Tensor, Tensor]:
    """Real and imaginary parts of lam^(step k) for k < count, each (D, S, count), by doubling: few sines, little rounding."""
    real, imaginary = _power(log_poles, 0)[..., None].unbind(2)
    while (done := real.shape[-1]) < count:
        fr, fi = _power(log_poles, step * done)[..., None].unbind(2)
        r, i = real[..., : count - done], imaginary[..., : count - done]
        real, imaginary = torch.cat([real, r * fr - i * fi], -1), torch.cat([imaginary, r * fi + i * fr], -1)
    return real, imaginary


def _narrow(t: Tensor, dtype: torch.dtype) -> Tensor:
    """Factors of a product in its dtype, without those that are as good as nothing."""
    return F.hardshrink(t, _LOUD[dtype]).to(dtype) if dtype == torch.float32 else t.to(dtype)


def _block(work: int, longest: int) -> int:
    """C: about the root of the number of outputs, a power of two, but not above the longest row."""
    return max(1, min(longest, 1 << round(max(work, 1).bit_length() / 2)))


def _parts(D: int, each: int) -> Iterator[slice]:
    """The channels, some at a time; each: numbers that one needs beside its result."""
    return pieces(D, max(1, _ROOM // max(each, 1)))


def _responses(log_poles: Tensor, x: Tensor, first: int, n: int, dtype: torch.dtype, whole: bool) -> Tensor:
    """Re sum_s x_s lam_s^(first + t) for t < n: (D, M, n) of x (D, M, S, 2), poles (D, S, 2). whole: all channels at once."""
    D, M, S, _ = x.shape
    C = _block(M * n, n)
    blocks = -(-n // C)
    if whole:
        left, right = _factors(log_poles, x, first, blocks, C, dtype)
        with torch.autocast(x.device.type, enabled=False):
            return torch.bmm(left, right).view(D, M, blocks * C)[..., :n]
    out = fresh(torch.empty(D, M * blocks, C, dtype=dtype, device=x.device))
    for some in _parts(D, S * (C + 2 * M * blocks)):
        left, right = _factors(log_poles[some], x[some], first, blocks, C, dtype)
        with torch.autocast(x.device.type, enabled=False), torch.no_grad():
            torch.bmm(left, right, out=out[some])
    return out.view(D, M, blocks * C)[..., :n]


def _factors(log_poles: Tensor, x: Tensor, first: int, blocks: int, C: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """(D, M blocks, 2 S) and (D, 2 S, C), whose batched product is the same for t < blocks C."""
    D, M, S, _ = x.shape
    starts = torch.stack(_powers(log_poles, C, blocks), -1)  # (D, S, blocks, 2)
    x = _times(x.to(wide(x)), _power(log_poles, first)[:, None])
    real, imaginary = _times(x[:, :, :, None], starts[:, None]).unbind(-1)  # (D, M, S, blocks)
    left = _narrow(torch.cat([real, imaginary], 2), dtype).transpose(2, 3).reshape(D, M * blocks, 2 * S)
    real, imaginary = _powers(log_poles, 1, C)
    return left, _narrow(torch.cat([real, -imaginary], 1), dtype)


def _horner(u: Tensor, log_poles: Tensor, C: int) -> Tensor:
    """sum_j lam^(L-1-j) u_j of u (D, B, L): (D, B, S, 2). Blocks of C inputs from the end; what is left stands before."""
    (D, B, L), S = u.shape, log_poles.shape[1]
    blocks, left = divmod(L, C)
    real, imaginary = _powers(log_poles, 1, C)
    weights = _narrow(torch.cat([real, imaginary], 1), u.dtype).flip(2).transpose(1, 2)  # (D, C, 2 S): lam^(C-1) .. 1
    with torch.autocast(u.device.type, enabled=False):
        sums = torch.bmm(u[..., left:].reshape(D, B * blocks, C), weights).view(D, B, blocks, 2 * S)
        if left:
            sums = torch.cat([torch.bmm(u[..., :left], weights[:, C - left :])[:, :, None], sums], 2)
    sums = torch.stack(sums.to(real.dtype).chunk(2, -1), -1)  # (D, B, blocks, S, 2)
    later = torch.stack(_powers(log_poles, C, sums.shape[2]), -1).transpose(1, 2).flip(1)  # (D, blocks, S, 2)
    return _times(sums, later[:, None]).sum(2)


def _right_aligned(u: Tensor, lengths: Tensor) -> Tensor:
    """The first lengths[b] inputs of each row of u (B, D, L) moved to its end, zeros before them."""
    L = u.shape[2]
    places = torch.arange(L, device=u.device) - (L - lengths.to(u.device)[:, None])
    return u.gather(2, places.clamp(min=0)[:, None].expand_as(u)).masked_fill(places[:, None] < 0, 0)

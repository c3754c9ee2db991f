"""Modal filters: taps that are sums of decaying oscillations, and the state that goes on with them in O(S) a token.

    h_t = Re sum_n R_n lam_n^t,  t >= 0;   S complex poles lam and residues R a filter, their conjugates implied by Re

The recurrence x <- lam x + u keeps x = sum_j lam^(t-1-j) u_j of the inputs u_0 .. u_(t-1), which gives the real part of
sum_n R_n lam_n^(s+1) x_n to output t + s. Everywhere a pole is its logarithm as a real pair (log |lam|, angle) and a residue a
real pair (Re R, Im R), last axis 2: powers of poles near 1 are then right at a million tokens too. No complex tensor is kept.

A last axis of 1 is the same for real modes, poles above 0 and real residues (StripedHyena 2's LI): half the numbers and work.

Powers are computed in float64, and no tensor (D, S, L) is ever made: with t = a C + b, lam^t = lam^(a C) lam^b, so that taps,
states and what a state gives to later outputs are products of matrices of some sqrt(L) rows. States are float64: a mode of
|lam| = 1 - 1e-6 would add up the rounding of a million steps. (The form and its recurrence: arXiv 2310.18780, section 3.)
"""

from collections.abc import Iterator, Sequence

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
    log_poles: Float[Tensor, "G S c"], residues: Float[Tensor, "G S c"], length: int, start: int = 0
) -> Float[Tensor, "G K"]:
    """Taps start .. start + length - 1 of G filters, in the dtype of the residues; differentiable in poles and residues."""
    if torch.compiler.is_exporting():
        return modal_taps_op(log_poles, residues, length, start)
    grad = torch.is_grad_enabled() and (log_poles.requires_grad or residues.requires_grad)
    return _responses(log_poles, residues[:, None], start, length, residues.dtype, whole=grad)[:, 0]


@torch.library.custom_op("hyena::modal_taps", mutates_args=())
def modal_taps_op(log_poles: Tensor, residues: Tensor, length: int, start: int) -> Tensor:
    """The same as one node of an exported graph, whose length is open: how many blocks there are depends on it. No gradient."""
    return _responses(log_poles, residues[:, None], start, length, residues.dtype, whole=False)[:, 0].contiguous()


@modal_taps_op.register_fake
def _(log_poles: Tensor, residues: Tensor, length: int, start: int) -> Tensor:
    return residues.new_empty(len(residues), length)


@torch.no_grad()
def modal_past(
    state: Float[Tensor, "B D S c"], log_poles: Float[Tensor, "D S c"], residues: Float[Tensor, "D S c"], n: int
) -> Float[Tensor, "B D n"]:
    """What a state gives to the next n outputs, in the dtype of the residues."""
    x = _times(state.transpose(0, 1), residues.to(state.dtype)[:, None])
    return _responses(log_poles, x, 1, n, residues.dtype, whole=False).transpose(0, 1)


@torch.no_grad()
def modal_state(
    u: Float[Tensor, "B D L"],
    log_poles: Float[Tensor, "D S c"],
    state: Float[Tensor, "B D S c"] | None = None,
    lengths: Int[Tensor, "B"] | None = None,
) -> Float[Tensor, "B D S c"]:
    """The state after the inputs u, begun from `state` or zero, float64. lengths: of row b only the first lengths[b] inputs.

    Blocked Horner: sums of C inputs each by a matrix product, then those sums weighted by powers of lam^C.
    """
    (B, D, L), S = u.shape, log_poles.shape[1]
    C = _block(B * L, L)
    out = torch.empty(B, D, *log_poles.shape[1:], dtype=wide(log_poles), device=u.device)
    for some in _parts(D, S * (C + 2 * B * (L // C)) + B * L // 4):
        part = u[:, some] if lengths is None else _right_aligned(u[:, some], lengths)
        x = _horner(part.to(torch.promote_types(u.dtype, torch.float32)).transpose(0, 1), log_poles[some], C)
        if state is not None:
            gone = torch.full((B,), L, device=u.device) if lengths is None else lengths.to(u.device)
            x = x + _times(state[:, some].transpose(0, 1), _power(log_poles[some, None], gone[:, None]))
        out[:, some] = x.transpose(0, 1)
    return out


def step_weights(
    log_poles: Float[Tensor, "D S c"], residues: Float[Tensor, "D S c"]
) -> tuple[Float[Tensor, "D S c"], Float[Tensor, "D M"]]:
    """What one token needs, to be kept as long as the poles are the same: lam for `modal_advance`, R lam for `modal_read`."""
    lam = _power(log_poles, 1)
    return lam, torch.stack(_conjugate(_times(residues.to(lam.dtype), lam).unbind(-1)), -1).flatten(1)


def modal_read(state: Float[Tensor, "B D S c"], read: Float[Tensor, "D M"]) -> Float[Tensor, "B D"]:
    """What a state gives to the next output, in float64: `modal_past` of one token. read: of `step_weights`."""
    return (state.flatten(2) * read).sum(-1)


def modal_advance(
    state: Float[Tensor, "B D S c"],
    lam: Float[Tensor, "D S c"],
    u: Float[Tensor, "B D"],
    lengths: Int[Tensor, "B"] | None = None,
) -> None:
    """x <- lam x + u, in place: `modal_state` of one token. lengths: rows where it is 0 stay as they are."""
    x, factors = _numbers(state), _numbers(lam)
    if lengths is None:
        x.mul_(factors).add_(u[..., None])
    else:
        x.copy_(torch.where(lengths.to(x.device)[:, None, None] > 0, x * factors + u[..., None], x))


def _product(a: Sequence[Tensor], b: Sequence[Tensor]) -> list[Tensor]:
    """The product of numbers in their parts: real and imaginary, or real alone."""
    if len(a) == 1:
        return [a[0] * b[0]]
    (ar, ai), (br, bi) = a, b
    return [ar * br - ai * bi, ar * bi + ai * br]


def _conjugate(parts: Sequence[Tensor]) -> list[Tensor]:
    """What a number is multiplied by, part by part, where the sum is to be the real part of a product."""
    return [parts[0], *(-part for part in parts[1:])]


def _times(a: Tensor, b: Tensor) -> Tensor:
    """The product of numbers (..., c) in their parts."""
    return torch.stack(_product(a.unbind(-1), b.unbind(-1)), -1)


def _numbers(t: Tensor) -> Tensor:
    """Parts (..., c) as numbers, complex or real, in the same memory."""
    return torch.view_as_complex(t) if t.shape[-1] == 2 else t[..., 0]


def _power(log_poles: Tensor, t: int | Tensor) -> Tensor:
    """lam^t in its parts (..., c), in float64; t: one number, or numbers that go with the axes before the last one."""
    log, *angles = log_poles.to(wide(log_poles)).unbind(-1)
    # A pole of 0: exp(-800 t) is 0 for t >= 1 and 1 for t = 0, where minus infinity would give no number.
    size = (log.clamp(min=-800.0) * t).exp()
    if not angles:
        return size[..., None]
    turn = angles[0] * t
    return torch.stack([size * turn.cos(), size * turn.sin()], -1)


def _powers(log_poles: Tensor, step: int, count: int) -> list[Tensor]:
    """lam^(step k) for k < count in its parts, each (D, S, count), by doubling: few sines, little rounding."""
    parts = list(_power(log_poles, 0)[..., None].unbind(2))
    while (done := parts[0].shape[-1]) < count:
        factor = _power(log_poles, step * done)[..., None].unbind(2)
        more = _product([part[..., : count - done] for part in parts], factor)
        parts = [torch.cat([part, new], -1) for part, new in zip(parts, more, strict=True)]
    return parts


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
    """Re sum_s x_s lam_s^(first + t) for t < n: (D, M, n) of x (D, M, S, c), poles (D, S, c). whole: all channels at once."""
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
    """(D, M blocks, c S) and (D, c S, C), whose batched product is the same for t < blocks C."""
    D, M, S, c = x.shape
    starts = torch.stack(_powers(log_poles, C, blocks), -1)  # (D, S, blocks, c)
    x = _times(x.to(wide(x)), _power(log_poles, first)[:, None])
    parts = _times(x[:, :, :, None], starts[:, None]).unbind(-1)  # (D, M, S, blocks)
    left = _narrow(torch.cat(parts, 2), dtype).transpose(2, 3).reshape(D, M * blocks, c * S)
    return left, _narrow(torch.cat(_conjugate(_powers(log_poles, 1, C)), 1), dtype)


def _horner(u: Tensor, log_poles: Tensor, C: int) -> Tensor:
    """sum_j lam^(L-1-j) u_j of u (D, B, L): (D, B, S, c). Blocks of C inputs from the end; what is left stands before."""
    (D, B, L), (S, c) = u.shape, log_poles.shape[1:]
    blocks, left = divmod(L, C)
    parts = _powers(log_poles, 1, C)
    weights = _narrow(torch.cat(parts, 1), u.dtype).flip(2).transpose(1, 2)  # (D, C, c S): lam^(C-1) .. 1
    with torch.autocast(u.device.type, enabled=False):
        sums = torch.bmm(u[..., left:].reshape(D, B * blocks, C), weights).view(D, B, blocks, c * S)
        if left:
            sums = torch.cat([torch.bmm(u[..., :left], weights[:, C - left :])[:, :, None], sums], 2)
    sums = torch.stack(sums.to(parts[0].dtype).chunk(c, -1), -1)  # (D, B, blocks, S, c)
    later = torch.stack(_powers(log_poles, C, sums.shape[2]), -1).transpose(1, 2).flip(1)  # (D, blocks, S, c)
    return _times(sums, later[:, None]).sum(2)


def _right_aligned(u: Tensor, lengths: Tensor) -> Tensor:
    """The first lengths[b] inputs of each row of u (B, D, L) moved to its end, zeros before them."""
    L = u.shape[2]
    places = torch.arange(L, device=u.device) - (L - lengths.to(u.device)[:, None])
    return u.gather(2, places.clamp(min=0)[:, None].expand_as(u)).masked_fill(places[:, None] < 0, 0)

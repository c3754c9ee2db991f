"""The gated long convolution as PyTorch operations around a backend that only convolves, for any device.

y = post * (h conv (pre * u) + skip * (pre * u)), with a hand-written gradient that keeps nothing but the inputs. Channels are
taken in chunks whose intermediates stay in the processor's cache: faster than the whole and with bounded memory.
"""

import math
from collections.abc import Iterator
from types import ModuleType

import torch
from torch import Tensor

from hyena.ops import blocked, direct, fft
from hyena.ops.taps import Taps

BACKENDS: dict[str, ModuleType] = {"direct": direct, "fft": fft, "blocked": blocked}

# Points of a transform held at once: 4 MB of float32 on a CPU (near its cache), 256 MB on an accelerator (a bound, not a
# cache). A long transform of one or two rows costs several times its share of a batch, hence the least number of rows.
_CHUNK_POINTS = {"cpu": 2**20}
_CHUNK_POINTS_ELSEWHERE = 2**26
_LEAST_ROWS = 4


def _chunks(u: Tensor, taps: Taps) -> Iterator[tuple[slice, slice]]:
    """Channels and their groups, chunk by chunk: several whole groups, or a part of one that is too large."""
    B, D, L = u.shape
    if B == 0:
        return
    G = taps.h.shape[0]
    size = D // G
    points = _CHUNK_POINTS.get(u.device.type, _CHUNK_POINTS_ELSEWHERE)
    channels = max(points // (B * max(taps.n, L)), math.ceil(_LEAST_ROWS / B))
    if channels >= size:
        step = channels // size
        for g in range(0, G, step):
            yield slice(g * size, min(g + step, G) * size), slice(g, min(g + step, G))
    else:
        parts = math.ceil(size / channels)
        step = math.ceil(size / parts)
        for g in range(G):
            for c in range(g * size, (g + 1) * size, step):
                yield slice(c, min(c + step, (g + 1) * size)), slice(g, g + 1)


def _gated(u: Tensor, gate: Tensor | None, channels: slice, dtype: torch.dtype) -> Tensor:
    """u * gate for some channels, contiguous, in the dtype of the computation."""
    x = u[:, channels].to(dtype)
    return (x if gate is None else x * gate[:, channels].to(dtype)).contiguous()


def _column(skip: Tensor, channels: slice, dtype: torch.dtype) -> Tensor:
    """skip (D,) of some channels as (c, 1)."""
    return skip[channels, None].to(dtype)


def forward(
    u: Tensor, taps: Taps, skip: Tensor | None, pre: Tensor | None, post: Tensor | None, backend: str, dtype: torch.dtype
) -> Tensor:
    """y (B, D, L) in u's dtype, computed in `dtype`."""
    y = torch.empty_like(u)
    for channels, groups in _chunks(u, taps):
        x = _gated(u, pre, channels, dtype)
        c = BACKENDS[backend].forward(x, taps.groups(groups))
        if skip is not None:
            c = c.addcmul_(_column(skip, channels, dtype), x)
        if post is not None:
            c = c.mul_(post[:, channels].to(dtype))
        y[:, channels] = c
    return y


def backward(
    gy: Tensor,
    u: Tensor,
    taps: Taps,
    skip: Tensor | None,
    pre: Tensor | None,
    post: Tensor | None,
    backend: str,
    dtype: torch.dtype,
    grads: list[Tensor | None],
) -> None:
    """Fill the gradients for u, h, skip, pre and post; None where not wanted. Those of h and skip are zero before."""
    gu, gh, gskip, gpre, gpost = grads
    needs = (gpost is not None, gu is not None or gpre is not None, gh is not None)
    for channels, groups in _chunks(u, taps):
        x = _gated(u, pre, channels, dtype)
        gc = _gated(gy, post, channels, dtype)
        y, gx, gtaps = BACKENDS[backend].backward(x, taps.groups(groups), gc, needs)
        if gh is not None:
            gh[groups] += gtaps
        if gskip is not None:
            gskip[channels] = torch.einsum("bcl,bcl->c", gc, x)
        if gpost is not None:
            if skip is not None:
                y = y.addcmul_(_column(skip, channels, dtype), x)
            gpost[:, channels] = y.mul_(gy[:, channels].to(dtype))
        if gx is not None:
            if skip is not None:
                gx = gx.addcmul_(_column(skip, channels, dtype), gc)
            if gu is not None:
                gu[:, channels] = gx if pre is None else gx * pre[:, channels].to(dtype)
            if gpre is not None:
                gpre[:, channels] = gx * u[:, channels].to(dtype)

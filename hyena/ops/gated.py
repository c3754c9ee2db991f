"""One PyTorch operator around all backends: gates, skip, precision and memory are handled here, a backend only convolves.

y = post * (h conv (pre * u) + skip * (pre * u)), with a hand-written gradient that keeps nothing but the inputs. Channels are
taken in chunks whose intermediates stay in the processor's cache: faster than the whole and with bounded memory. It is a
`torch.library` operator, so `torch.compile` sees one node, and autocast cannot change the precision inside.
"""

import math
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from hyena.ops import blocked, direct, fft
from hyena.ops.filters import Taps

BACKENDS: dict[str, ModuleType] = {"direct": direct, "fft": fft, "blocked": blocked}

# Points of a transform held at once: 4 MB of float32 on a CPU (near its cache), 256 MB on an accelerator (a bound, not a
# cache). A long transform of one or two rows costs several times its share of a batch, hence the least number of rows.
_CHUNK_POINTS = {"cpu": 2**20}
_CHUNK_POINTS_ELSEWHERE = 2**26
_LEAST_ROWS = 4


def compute_dtype(u: Tensor, h: Tensor) -> torch.dtype:
    """float64 if either is, else float32: half precision is stored, never computed in."""
    return torch.promote_types(torch.promote_types(u.dtype, h.dtype), torch.float32)


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


@torch.library.custom_op("hyena::long_conv", mutates_args=())
def long_conv_op(
    u: Tensor,
    h: Tensor,
    skip: Tensor | None,
    pre: Tensor | None,
    post: Tensor | None,
    spectrum: Tensor | None,
    n: int,
    backend: str,
) -> Tensor:
    """The operator: shapes as in `long_conv`; spectrum and n are a prepared transform of h, or None and 0."""
    dtype = compute_dtype(u, h)
    with torch.autocast(u.device.type, enabled=False):
        taps = _taps(u, h.to(dtype), spectrum, n, backend)
        y = torch.empty(u.shape, dtype=u.dtype, device=u.device)
        for channels, groups in _chunks(u, taps):
            x = _gated(u, pre, channels, dtype)
            c = BACKENDS[backend].forward(x, taps.groups(groups))
            if skip is not None:
                c = c.addcmul_(_column(skip, channels, dtype), x)
            if post is not None:
                c = c.mul_(post[:, channels].to(dtype))
            y[:, channels] = c
    return y


@torch.library.custom_op("hyena::long_conv_backward", mutates_args=())
def long_conv_backward_op(
    gy: Tensor,
    u: Tensor,
    h: Tensor,
    skip: Tensor | None,
    pre: Tensor | None,
    post: Tensor | None,
    spectrum: Tensor | None,
    n: int,
    backend: str,
    needs: list[bool],
) -> list[Tensor]:
    """Gradients for u, h, skip, pre and post; an empty tensor where `needs` says no."""
    needs_u, needs_h, needs_skip, needs_pre, needs_post = needs
    dtype = compute_dtype(u, h)
    inputs = (u, h, skip, pre, post)
    grads = [
        u.new_empty(0) if t is None or not need else _gradient_of(t, t is h or t is skip, dtype)
        for t, need in zip(inputs, needs, strict=True)
    ]
    gu, gh, gskip, gpre, gpost = grads
    with torch.autocast(u.device.type, enabled=False):
        taps = _taps(u, h.to(dtype), spectrum, n, backend)
        for channels, groups in _chunks(u, taps):
            x = _gated(u, pre, channels, dtype)
            gc = _gated(gy, post, channels, dtype)
            y, gx, gtaps = BACKENDS[backend].backward(x, taps.groups(groups), gc, (needs_post, needs_u or needs_pre, needs_h))
            if needs_h:
                gh[groups] += gtaps
            if needs_skip:
                gskip[channels] = torch.einsum("bcl,bcl->c", gc, x)
            if needs_post:
                if skip is not None:
                    y = y.addcmul_(_column(skip, channels, dtype), x)
                gpost[:, channels] = y.mul_(gy[:, channels].to(dtype))
            if needs_u or needs_pre:
                if skip is not None:
                    gx = gx.addcmul_(_column(skip, channels, dtype), gc)
                if needs_u:
                    gu[:, channels] = gx if pre is None else gx * pre[:, channels].to(dtype)
                if needs_pre:
                    gpre[:, channels] = gx * u[:, channels].to(dtype)
    # A leaf's gradient has the leaf's dtype; sums were formed in the computation's.
    return [g if t is None or g.numel() == 0 else g.to(t.dtype) for g, t in zip(grads, inputs, strict=True)]


def _gradient_of(t: Tensor, summed: bool, dtype: torch.dtype) -> Tensor:
    """Room for a gradient: zeros in the computation's dtype where chunks add to it, else what the chunks will fill."""
    return t.new_zeros(t.shape, dtype=dtype) if summed else t.new_empty(t.shape)


def _taps(u: Tensor, h: Tensor, spectrum: Tensor | None, n: int, backend: str) -> Taps:
    """The taps as the backend wants them; a prepared spectrum is used as it is."""
    return BACKENDS[backend].transform(h, u.shape[-1]) if spectrum is None else Taps(h, spectrum, n)


@long_conv_op.register_fake
def _(u: Tensor, *_: object) -> Tensor:
    return torch.empty(u.shape, dtype=u.dtype, device=u.device)


@long_conv_backward_op.register_fake
def _(gy: Tensor, u: Tensor, *rest: Any) -> list[Tensor]:
    h, skip, pre, post, *_, needs = rest
    return [
        torch.empty(t.shape, dtype=t.dtype, device=t.device) if need and t is not None else u.new_empty(0)
        for t, need in zip((u, h, skip, pre, post), needs, strict=True)
    ]


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    u, h, skip, pre, post, spectrum, n, backend = inputs
    ctx.save_for_backward(u, h, skip, pre, post, spectrum)
    ctx.n, ctx.backend = n, backend


def _backward(ctx: Any, gy: Tensor) -> tuple[Tensor | None, ...]:
    needs = list(ctx.needs_input_grad[:5])
    grads = long_conv_backward_op(gy, *ctx.saved_tensors, ctx.n, ctx.backend, needs)
    return *(g if need else None for g, need in zip(grads, needs, strict=True)), None, None, None


long_conv_op.register_autograd(_backward, setup_context=_setup_context)

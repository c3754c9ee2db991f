"""All that a Hyena operator of order 2 does between its two projections: short convolutions, gates, long convolution.

    q, k, v = split(short conv(streams))        y = q * (h conv (k * v) + skip * (k * v))

The compiled kernel reads the streams once and writes y once; all between stays in the processor's cache, and nothing but the
streams is kept for the gradient. Elsewhere the same is computed by PyTorch's depthwise convolution and `long_conv`.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from hyena.errors import HyenaError
from hyena.ops import chunked, direct, gated, kernel
from hyena.ops.direct import depthwise
from hyena.ops.filters import Spectrum, Taps
from hyena.ops.long_conv import check_backend, check_numbers, check_prepared
from hyena.ops.native.calls import Short

_Prepared = Taps | None


def hyena_conv(
    streams: Float[Tensor, "B E L"],
    taps: Float[Tensor, "E S"],
    bias: Float[Tensor, "E"],
    h: Float[Tensor, "G K"] | Spectrum,
    skip: Float[Tensor, "D"] | None = None,
    *,
    backend: str = "auto",
) -> Float[Tensor, "B D L"]:
    """q * (h conv (k * v) + skip * (k * v)), where (q, k, v) are the thirds of the streams after a short causal convolution.

    streams (B, 3 D, L), any strides; taps (3 D, S) and bias (3 D,) of the short convolution, `taps[:, 0]` meeting the present
    token; h (G, K) or what `prepare` made of it, skip (D,) and backend as in `long_conv`. Half-precision streams are computed
    in float32 throughout. (arXiv 2302.10866, definition 3.1 with N = 2.)

    Raises `HyenaError` (a ValueError) for shapes, dtypes or backends that do not fit.
    """
    filters = h.h if isinstance(h, Spectrum) else h
    _check(streams, taps, bias, filters, skip)
    L = streams.shape[2]
    if isinstance(h, Spectrum):
        check_prepared(h, L, streams.dtype, backend)
        return hyena_conv_op(streams, taps, bias, filters, skip, h.taps.spectrum, h.taps.n, h.backend, False)
    check_backend(backend)
    needs_grad = torch.is_grad_enabled() and any(
        t is not None and t.requires_grad for t in (streams, taps, bias, filters, skip)
    )
    return hyena_conv_op(streams, taps, bias, filters[:, :L], skip, None, 0, backend, needs_grad)


def _check(streams: Tensor, taps: Tensor, bias: Tensor, h: Tensor, skip: Tensor | None) -> None:
    """One clear line for whatever does not fit: past these the kernel would read what is not there."""
    fits = streams.ndim == 3 and taps.ndim == h.ndim == 2 and 0 not in (*streams.shape[1:], *taps.shape, *h.shape)
    if fits:
        (_, E, _), D = streams.shape, streams.shape[1] // 3
        fits = E == 3 * D == len(taps) and bias.shape == (E,) and D % len(h) == 0 and (skip is None or skip.shape == (D,))
    if not fits:
        shapes = ", ".join(str(tuple(t.shape)) for t in (streams, taps, bias, h, skip) if t is not None)
        raise HyenaError(
            "streams (B, 3 D, L), taps (3 D, S), bias (3 D,), h (G, K) with D % G == 0, and skip (D,) or None are needed, "
            f"nothing empty but B, got {shapes}"
        )
    check_numbers(streams=streams, taps=taps, bias=bias, h=h, skip=skip)


@torch.library.custom_op("hyena::hyena_conv", mutates_args=())
def hyena_conv_op(
    streams: Tensor,
    taps: Tensor,
    bias: Tensor,
    h: Tensor,
    skip: Tensor | None,
    spectrum: Tensor | None,
    n: int,
    backend: str,
    needs_grad: bool,
) -> Tensor:
    """The operator: shapes as in `hyena_conv`; spectrum and n are a prepared transform of h, or None and 0."""
    backend, prepared, dtype = _choice(streams, h, spectrum, n, backend, needs_grad)
    with torch.autocast(streams.device.type, enabled=False):
        if backend in kernel.KERNELS:
            post, pre, u = streams.chunk(3, dim=1)
            return kernel.forward(u, h, skip, (pre, post), prepared, backend, dtype, _shorts(taps, bias, dtype))
        q, k, v = depthwise(streams.to(dtype), taps.to(dtype), bias.to(dtype)).chunk(3, dim=1)
        filters = prepared or chunked.BACKENDS[backend].transform(h.to(dtype), streams.shape[-1])
        return chunked.forward(v, filters, skip, k, q, backend, dtype).to(streams.dtype)


@torch.library.custom_op("hyena::hyena_conv_backward", mutates_args=())
def hyena_conv_backward_op(
    gy: Tensor,
    streams: Tensor,
    taps: Tensor,
    bias: Tensor,
    h: Tensor,
    skip: Tensor | None,
    spectrum: Tensor | None,
    n: int,
    backend: str,
    needs: list[bool],
) -> list[Tensor]:
    """Gradients for streams, taps, bias, h and skip; an empty tensor where `needs` says no."""
    backend, prepared, dtype = _choice(streams, h, spectrum, n, backend, True)
    inputs = (streams, taps, bias, h, skip)
    # Those of the short convolution come together with the streams'.
    wanted = [needs[3] and h is not None, needs[4] and skip is not None]
    gh, gskip = (gated.room(t, True, dtype) if t is not None and w else None for t, w in zip((h, skip), wanted, strict=True))
    gstreams, gtaps, gbias = torch.empty_like(streams), *(gated.room(t, True, dtype) for t in (taps, bias))
    with torch.autocast(streams.device.type, enabled=False):
        if backend in kernel.KERNELS:
            post, pre, u = streams.chunk(3, dim=1)
            gpost, gpre, gu = gstreams.chunk(3, dim=1)
            parts: list[Tensor | None] = [part for pair in zip(gtaps.chunk(3), gbias.chunk(3), strict=True) for part in pair]
            gshorts = [*parts[4:6], *parts[2:4], *parts[0:2]]
            grads: list[Tensor | None] = [gu, gh, gskip, gpre, gpost]
            shorts = _shorts(taps, bias, dtype)
            kernel.backward(gy, u, h, skip, (pre, post), prepared, backend, dtype, grads, shorts, gshorts)
        else:
            _torch_backward(gy, streams, taps, bias, h, skip, prepared, backend, dtype, (gstreams, gtaps, gbias, gh, gskip))
    return [
        streams.new_empty(0) if g is None or t is None or not need else g.to(t.dtype)
        for g, t, need in zip((gstreams, gtaps, gbias, gh, gskip), inputs, needs, strict=True)
    ]


def _choice(
    streams: Tensor, h: Tensor, spectrum: Tensor | None, n: int, backend: str, needs_grad: bool
) -> tuple[str, _Prepared, torch.dtype]:
    """The backend that runs, what was prepared for it, and the dtype of the computation."""
    backend = gated.chosen(streams[:, : streams.shape[1] // 3], h, backend, True, needs_grad)
    return backend, None if spectrum is None else Taps(h, spectrum, n), gated.compute_dtype(streams, h)


def _shorts(taps: Tensor, bias: Tensor, dtype: torch.dtype) -> tuple[Short, Short, Short]:
    """The short convolutions of u, pre and post: the last, the middle and the first third."""
    q, k, v = (
        Short(t, b) for t, b in zip(taps.to(dtype).contiguous().chunk(3), bias.to(dtype).contiguous().chunk(3), strict=True)
    )
    return v, k, q


def _torch_backward(
    gy: Tensor,
    streams: Tensor,
    taps: Tensor,
    bias: Tensor,
    h: Tensor,
    skip: Tensor | None,
    prepared: _Prepared,
    backend: str,
    dtype: torch.dtype,
    grads: tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None],
) -> None:
    """The same by PyTorch, the short convolution computed again."""
    gstreams, gtaps, gbias, gh, gskip = grads
    x, short = streams.to(dtype).contiguous(), Taps(taps.to(dtype))
    q, k, v = depthwise(x, short.h, bias.to(dtype)).chunk(3, dim=1)
    gshort = torch.empty_like(x)
    gq, gk, gv = gshort.chunk(3, dim=1)
    filters = prepared or chunked.BACKENDS[backend].transform(h.to(dtype), streams.shape[-1])
    chunked.backward(gy.to(dtype), v, filters, skip, k, q, backend, dtype, [gv, gh, gskip, gk, gq])
    _, gx, gt = direct.backward(x, short, gshort, (False, True, True))
    for into, gradient in zip((gstreams, gtaps, gbias), (gx, gt, gshort.sum((0, 2))), strict=True):
        assert gradient is not None
        into.copy_(gradient)


@hyena_conv_op.register_fake
def _(streams: Tensor, *_: object) -> Tensor:
    return torch.empty_like(streams[:, : streams.shape[1] // 3])


@hyena_conv_backward_op.register_fake
def _(gy: Tensor, streams: Tensor, taps: Tensor, bias: Tensor, h: Tensor, skip: Tensor | None, *rest: Any) -> list[Tensor]:
    made = [
        torch.empty_like(streams),
        *(t if t is None else torch.empty(t.shape, dtype=t.dtype, device=t.device) for t in (taps, bias, h, skip)),
    ]
    return [streams.new_empty(0) if t is None or not need else t for t, need in zip(made, rest[-1], strict=True)]


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    streams, taps, bias, h, skip, spectrum, n, backend, _ = inputs
    ctx.save_for_backward(streams, taps, bias, h, skip, spectrum)
    ctx.n, ctx.backend = n, backend


def _backward(ctx: Any, gy: Tensor) -> tuple[Tensor | None, ...]:
    needs = list(ctx.needs_input_grad[:5])
    grads = hyena_conv_backward_op(gy, *ctx.saved_tensors, ctx.n, ctx.backend, needs)
    return *(g if need else None for g, need in zip(grads, needs, strict=True)), None, None, None, None


hyena_conv_op.register_autograd(_backward, setup_context=_setup_context)

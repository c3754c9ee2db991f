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
from hyena.ops.long_conv import check_backend, check_numbers, check_prepared
from hyena.ops.native.calls import Short
from hyena.ops.spectrum import Spectrum
from hyena.ops.taps import Taps


def hyena_conv(
    streams: Float[Tensor, "B E L"],
    taps: Float[Tensor, "E S"],
    bias: Float[Tensor, "E"] | None,
    h: Float[Tensor, "G K"] | Spectrum,
    skip: Float[Tensor, "D"] | None = None,
    *,
    offset: Float[Tensor, "E"] | None = None,
    backend: str = "auto",
) -> Float[Tensor, "B D L"]:
    """q * (h conv (k * v) + skip * (k * v)), where (q, k, v) are the thirds of the streams after a short causal convolution.

    streams (B, 3 D, L), any strides; taps (3 D, S) and bias (3 D,) of the short convolution, `taps[:, 0]` meeting the present
    token, no bias being None; h (G, K) or what `prepare` made of it, skip (D,) and backend as in `long_conv`. offset (3 D,) is
    added to the streams first: the bias of the projection that they come from, which is cheaper here. Half-precision streams
    are computed in float32 throughout. (arXiv 2302.10866, definition 3.1 with N = 2.)

    Raises `HyenaError` (a ValueError) for shapes, dtypes or backends that do not fit.
    """
    filters = h.h if isinstance(h, Spectrum) else h
    bias = unbiased(taps) if bias is None else bias
    _check(streams, taps, bias, offset, filters, skip)
    L = streams.shape[2]
    if isinstance(h, Spectrum):
        check_prepared(h, L, streams.dtype, backend)
        return hyena_conv_op(streams, taps, bias, offset, filters, skip, h.taps.spectrum, h.taps.n, h.backend, False)
    check_backend(backend)
    needs_grad = torch.is_grad_enabled() and any(
        t is not None and t.requires_grad for t in (streams, taps, bias, offset, filters, skip)
    )
    return hyena_conv_op(streams, taps, bias, offset, gated.met(filters, L), skip, None, 0, backend, needs_grad)


def unbiased(taps: Float[Tensor, "E S"]) -> Float[Tensor, "E"]:
    """The bias of a short convolution that has none."""
    return taps.new_zeros(taps.shape[:1])


@torch.no_grad()
def hyena_conv_into(
    out: Float[Tensor, "B D L"],
    streams: Float[Tensor, "B E L"],
    short: tuple[Tensor, Tensor, Tensor | None],
    h: Float[Tensor, "G K"],
    skip: Float[Tensor, "D"] | None = None,
) -> None:
    """The same into `out`, any strides, for inference; short: taps, bias and offset."""
    _check(streams, *short, h, skip)
    h = h[:, : streams.shape[2]]
    choice = _choice(streams, h, None, 0, "auto", False)
    if choice[0] in kernel.KERNELS:
        kernel.check_size(streams.shape[-1], h.shape[1])
    convolved(streams, short, h, skip, *choice, out=out)


def _check(streams: Tensor, taps: Tensor, bias: Tensor, offset: Tensor | None, h: Tensor, skip: Tensor | None) -> None:
    """One clear line for whatever does not fit: past these the kernel would read what is not there."""
    fits = streams.ndim == 3 and taps.ndim == h.ndim == 2 and 0 not in (*streams.shape[1:], *taps.shape, *h.shape)
    if fits:
        (_, E, _), D = streams.shape, streams.shape[1] // 3
        fits = E == 3 * D == len(taps) and D % len(h) == 0
        fits &= all(t is None or t.shape == (n,) for t, n in ((bias, E), (offset, E), (skip, D)))
    if not fits:
        shapes = ", ".join("None" if t is None else str(tuple(t.shape)) for t in (streams, taps, bias, offset, h, skip))
        raise HyenaError(
            "streams (B, 3 D, L), taps (3 D, S), bias (3 D,), offset (3 D,) or None, h (G, K) with D % G == 0, and skip "
            f"(D,) or None are needed, nothing empty but B, got {shapes}"
        )
    check_numbers(streams=streams, taps=taps, bias=bias, offset=offset, h=h, skip=skip)


@torch.library.custom_op("hyena::hyena_conv", mutates_args=())
def hyena_conv_op(
    streams: Tensor,
    taps: Tensor,
    bias: Tensor,
    offset: Tensor | None,
    h: Tensor,
    skip: Tensor | None,
    spectrum: Tensor | None,
    n: int,
    backend: str,
    needs_grad: bool,
) -> Tensor:
    """The operator: shapes as in `hyena_conv`; spectrum and n are a prepared transform of h, or None and 0."""
    h = gated.cut(h, streams.shape[2], spectrum)
    choice = _choice(streams, h, spectrum, n, backend, needs_grad)
    if choice[0] in kernel.KERNELS:
        kernel.check_size(streams.shape[-1], h.shape[1])  # before the result's memory is asked for
    return convolved(streams, (taps, bias, offset), h, skip, *choice, out=rows_of(streams))


def convolved(
    streams: Tensor,
    short: tuple[Tensor, Tensor, Tensor | None],
    h: Tensor,
    skip: Tensor | None,
    backend: str,
    prepared: Taps | None,
    dtype: torch.dtype,
    out: Tensor,
) -> Tensor:
    """`out` (B, D, L), any strides, filled; short: taps, bias and offset. Nothing is checked."""
    if backend in kernel.KERNELS:
        return kernel.forward(*_signals(streams, h, skip), prepared, backend, dtype, _shorts(*short, dtype), out)
    taps, bias, offset = short
    with torch.autocast(streams.device.type, enabled=False):
        q, k, v = depthwise(_moved(streams, offset, dtype), taps.to(dtype), bias.to(dtype)).chunk(3, dim=1)
        filters = prepared or chunked.BACKENDS[backend].transform(h.to(dtype), streams.shape[-1])
        return out.copy_(chunked.forward(v, filters, skip, k, q, backend, dtype))


def rows_of(streams: Tensor) -> Tensor:
    """Room for y (B, D, L), channel by channel: the next projection takes it for one matrix (D, B L) without a copy."""
    B, E, L = streams.shape
    return streams.new_empty(E // 3, B, L).transpose(0, 1)


@torch.library.custom_op("hyena::hyena_conv_backward", mutates_args=())
def hyena_conv_backward_op(
    gy: Tensor,
    streams: Tensor,
    taps: Tensor,
    bias: Tensor,
    offset: Tensor | None,
    h: Tensor,
    skip: Tensor | None,
    spectrum: Tensor | None,
    n: int,
    backend: str,
    needs: list[bool],
) -> list[Tensor]:
    """Gradients for streams, taps, bias, offset, h and skip; an empty tensor where `needs` says no."""
    h = gated.cut(h, streams.shape[2], spectrum, gradient=needs[4])
    backend, prepared, dtype = _choice(streams, h, spectrum, n, backend, True)
    inputs = (streams, taps, bias, offset, h, skip)
    # Those of the short convolution come together with the streams'.
    wanted = (True, True, True, True, needs[4], needs[5])
    grads = [
        None if t is None or not want else gated.room(t, t is not streams, dtype, backend)
        for t, want in zip(inputs, wanted, strict=True)
    ]
    if backend in kernel.KERNELS:
        gstreams, *gshorts, gh, gskip = grads
        assert gstreams is not None
        gpost, gpre, gu = gstreams.chunk(3, dim=1)
        flat = [g for each in _by_signal(gshorts) for g in each]
        kernel.backward(gy, *_signals(streams, h, skip), prepared, backend, dtype, [gu, gh, gskip, gpre, gpost],
                        _shorts(taps, bias, offset, dtype), flat)  # fmt: skip
    elif len(streams):  # PyTorch has no gradient for taps that no sequence meets: it is zero, as made
        with torch.autocast(streams.device.type, enabled=False):
            _torch_backward(gy, inputs, prepared, backend, dtype, grads)
    return [
        streams.new_empty(0) if g is None or t is None or not need else g.to(t.dtype)
        for g, t, need in zip(grads, inputs, needs, strict=True)
    ]


def _choice(
    streams: Tensor, h: Tensor, spectrum: Tensor | None, n: int, backend: str, needs_grad: bool
) -> tuple[str, Taps | None, torch.dtype]:
    """The backend that runs, what was prepared for it, and the dtype of the computation."""
    backend = gated.chosen(streams[:, : streams.shape[1] // 3], h, backend, True, needs_grad)
    return backend, None if spectrum is None else Taps(h, spectrum, n), gated.compute_dtype(streams, h)


def _signals(streams: Tensor, h: Tensor, skip: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None, tuple[Tensor, Tensor]]:
    """What the kernel takes first: u, h, skip, and the gates pre and post."""
    post, pre, u = streams.chunk(3, dim=1)
    return u, h, skip, (pre, post)


def _by_signal(each: list[Tensor | None]) -> list[list[Tensor | None]]:
    """Tensors over all 3 D channels -> their parts for u, for pre and for post: the last, the middle and the first third."""
    thirds = [[None] * 3 if t is None else list(t.chunk(3)) for t in each]
    return [[t[third] for t in thirds] for third in (2, 1, 0)]


def _shorts(taps: Tensor, bias: Tensor, offset: Tensor | None, dtype: torch.dtype) -> tuple[Short, Short, Short]:
    """The short convolutions of u, pre and post."""
    u, pre, post = _by_signal([None if t is None else t.to(dtype).contiguous() for t in (taps, bias, offset)])
    return _short(*u), _short(*pre), _short(*post)


def _short(taps: Tensor | None, bias: Tensor | None, offset: Tensor | None) -> Short:
    assert taps is not None
    return Short(taps, bias, offset)


def _moved(streams: Tensor, offset: Tensor | None, dtype: torch.dtype) -> Tensor:
    """The streams in the dtype of the computation, plus their offset."""
    x = streams.to(dtype)
    return (x if offset is None else x + offset.to(dtype)[:, None]).contiguous()


def _torch_backward(
    gy: Tensor,
    inputs: tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor, Tensor | None],
    prepared: Taps | None,
    backend: str,
    dtype: torch.dtype,
    grads: list[Tensor | None],
) -> None:
    """The same by PyTorch, the short convolution computed again."""
    streams, taps, bias, offset, h, skip = inputs
    x, short = _moved(streams, offset, dtype), Taps(taps.to(dtype))
    q, k, v = depthwise(x, short.h, bias.to(dtype)).chunk(3, dim=1)
    gshort = torch.empty_like(x)
    gq, gk, gv = gshort.chunk(3, dim=1)
    filters = prepared or chunked.BACKENDS[backend].transform(h.to(dtype), streams.shape[-1])
    chunked.backward(gy.to(dtype), v, filters, skip, k, q, backend, dtype, [gv, grads[4], grads[5], gk, gq])
    _, gx, gt = direct.backward(x, short, gshort, (False, True, True))
    assert gx is not None
    for into, gradient in zip(grads[:4], (gx, gt, gshort.sum((0, 2)), gx.sum((0, 2))), strict=True):
        if into is not None and gradient is not None:
            into.copy_(gradient)


@hyena_conv_op.register_fake
def _(streams: Tensor, *_: object) -> Tensor:
    return rows_of(streams)


@hyena_conv_backward_op.register_fake
def _(gy: Tensor, streams: Tensor, *rest: Any) -> list[Tensor]:
    *others, _, _, _, needs = rest
    made = [
        torch.empty_like(streams),
        *(None if t is None else torch.empty(t.shape, dtype=t.dtype, device=t.device) for t in others),
    ]
    return [streams.new_empty(0) if t is None or not need else t for t, need in zip(made, needs, strict=True)]


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.n, ctx.backend, _ = inputs
    ctx.save_for_backward(*tensors)


def _backward(ctx: Any, gy: Tensor) -> tuple[Tensor | None, ...]:
    needs = list(ctx.needs_input_grad[:6])
    grads = hyena_conv_backward_op(gy, *ctx.saved_tensors, ctx.n, ctx.backend, needs)
    return *(g if need else None for g, need in zip(grads, needs, strict=True)), None, None, None, None


hyena_conv_op.register_autograd(_backward, setup_context=_setup_context)

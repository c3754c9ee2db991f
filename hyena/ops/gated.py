"""The PyTorch operator of the gated long convolution: precision, registration, and which backend runs.

y = post * (h conv (pre * u) + skip * (pre * u)), with a hand-written gradient that keeps nothing but the inputs. It is a
`torch.library` operator, so `torch.compile` sees one node, and autocast cannot change the precision inside. "auto" is resolved
inside the operator, where a look for the compiled kernel is no part of a graph.
"""

import functools
from typing import Any

import torch
from torch import Tensor

from hyena.errors import HyenaError
from hyena.ops import chunked, kernel
from hyena.ops.native.calls import fresh
from hyena.ops.plan import plan
from hyena.ops.taps import Taps

BACKENDS = (*chunked.BACKENDS, *kernel.KERNELS)
_plan = functools.lru_cache(maxsize=4096)(plan)


def compute_dtype(u: Tensor, h: Tensor) -> torch.dtype:
    """float64 if either is, else float32: half precision is stored, never computed in."""
    return torch.promote_types(torch.promote_types(u.dtype, h.dtype), torch.float32)


def chosen(u: Tensor, h: Tensor, backend: str, gated: bool, needs_grad: bool) -> str:
    """The backend that runs for u (B, D, L) and h (G, K) where `backend` was asked for."""
    if backend != "auto":
        return backend
    (B, D, L), (G, K) = u.shape, h.shape
    on_cpu = u.device.type == "cpu"
    dtype, threads = compute_dtype(u, h), torch.get_num_threads() if on_cpu else 1
    return _plan(
        max(B, 1), D, L, K, G, dtype, u.device.type, needs_grad, gated, threads, kernel=on_cpu and kernel.available()
    ).backend


def met(h: Tensor, L: int) -> Tensor:
    """The taps (G, K) that L tokens can meet. A graph for any length has all of them, which the operator cuts when it runs."""
    return h if torch.compiler.is_exporting() else h[:, :L]


def cut(h: Tensor, L: int, spectrum: Tensor | None, gradient: bool = False) -> Tensor:
    """What `met` left; with a spectrum taps stay as they were prepared. `HyenaError` for a gradient of taps that are cut."""
    K = h.shape[1]
    if spectrum is not None or K <= L:
        return h
    if gradient:
        raise HyenaError(f"an exported program has no gradient for {K} taps over {L} tokens: train the model itself")
    return h[:, :L]


def transform(h: Tensor, length: int, backend: str) -> Taps:
    """Taps (G, K) in the dtype of the computation, prepared for sequences of up to `length`."""
    if backend in kernel.KERNELS:
        return kernel.transform(h, length, backend)
    return chunked.BACKENDS[backend].transform(h, length)


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
    needs_grad: bool,
) -> Tensor:
    """The operator: shapes as in `long_conv`; spectrum and n are a prepared transform of h, or None and 0."""
    h = cut(h, u.shape[-1], spectrum)
    backend = chosen(u, h, backend, pre is not None or post is not None, needs_grad)
    prepared = None if spectrum is None else Taps(h, spectrum, n)
    dtype = compute_dtype(u, h)
    if backend in kernel.KERNELS:
        return kernel.forward(u, h, skip, (pre, post), prepared, backend, dtype)
    with torch.autocast(u.device.type, enabled=False):
        taps = prepared or chunked.BACKENDS[backend].transform(h.to(dtype), u.shape[-1])
        return chunked.forward(u, taps, skip, pre, post, backend, dtype)


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
    h = cut(h, u.shape[-1], spectrum, gradient=needs[1])
    backend = chosen(u, h, backend, pre is not None or post is not None, True)
    prepared = None if spectrum is None else Taps(h, spectrum, n)
    dtype = compute_dtype(u, h)
    inputs = (u, h, skip, pre, post)
    grads = [
        None if t is None or not need else room(t, t is h or t is skip, dtype, backend)
        for t, need in zip(inputs, needs, strict=True)
    ]
    if backend in kernel.KERNELS:
        kernel.backward(gy, u, h, skip, (pre, post), prepared, backend, dtype, grads)
    else:
        with torch.autocast(u.device.type, enabled=False):
            taps = prepared or chunked.BACKENDS[backend].transform(h.to(dtype), u.shape[-1])
            chunked.backward(gy, u, taps, skip, pre, post, backend, dtype, grads)
    return [u.new_empty(0) if g is None or t is None else g.to(t.dtype) for g, t in zip(grads, inputs, strict=True)]


def room(t: Tensor, summed: bool, dtype: torch.dtype, backend: str) -> Tensor:
    """Room for a gradient: in the computation's dtype where rows are summed, else as the tensor itself is.

    PyTorch's backends add to sums, which begin at zero; the kernel writes them.

    A leaf's gradient has the leaf's dtype in the end; sums are formed in the computation's.
    """
    if not summed:
        return fresh(torch.empty_like(t))
    if backend in kernel.KERNELS:
        return fresh(torch.empty(t.shape, dtype=dtype, device=t.device))
    return torch.zeros(t.shape, dtype=dtype, device=t.device)


@long_conv_op.register_fake
def _(u: Tensor, *_: object) -> Tensor:
    return torch.empty_like(u)


@long_conv_backward_op.register_fake
def _(gy: Tensor, u: Tensor, *rest: Any) -> list[Tensor]:
    h, skip, pre, post, *_, needs = rest
    return [
        u.new_empty(0)
        if not need or t is None
        else torch.empty(t.shape, dtype=t.dtype, device=t.device)
        if t is h or t is skip
        else torch.empty_like(t)
        for t, need in zip((u, h, skip, pre, post), needs, strict=True)
    ]


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    u, h, skip, pre, post, spectrum, n, backend, _ = inputs
    ctx.save_for_backward(u, h, skip, pre, post, spectrum)
    ctx.n, ctx.backend = n, backend


def _backward(ctx: Any, gy: Tensor) -> tuple[Tensor | None, ...]:
    needs = list(ctx.needs_input_grad[:5])
    grads = long_conv_backward_op(gy, *ctx.saved_tensors, ctx.n, ctx.backend, needs)
    return *(g if need else None for g, need in zip(grads, needs, strict=True)), None, None, None, None


long_conv_op.register_autograd(_backward, setup_context=_setup_context)

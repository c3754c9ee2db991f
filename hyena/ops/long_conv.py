"""THE dispatch point: every long convolution of the library goes through `long_conv`, and `plan` decides how."""

import torch
from jaxtyping import Float
from torch import Tensor

from hyena.errors import HyenaError
from hyena.ops.gated import BACKENDS, chosen, long_conv_op, met, transform
from hyena.ops.spectrum import Spectrum


def long_conv(
    u: Float[Tensor, "B D L"],
    h: Float[Tensor, "G K"] | Spectrum,
    skip: Float[Tensor, "D"] | None = None,
    *,
    pre: Float[Tensor, "B D L"] | None = None,
    post: Float[Tensor, "B D L"] | None = None,
    backend: str = "auto",
) -> Float[Tensor, "B D L"]:
    """y = post * (causal_conv(pre * u, h) + skip * (pre * u)), the gated long convolution (arXiv 2302.10866, section 3).

    causal_conv(x, h)_t = sum over k <= t of h_k x_(t-k): `h[:, 0]` multiplies the present token, and group g of the taps
    serves channels g D/G .. (g + 1) D/G - 1. Any L and any K, also K > L (the taps past L see no token).

    u, pre, post: (B, D, L). h: taps (G, K) with D % G == 0, or what `prepare` made of them. skip: (D,).
    Half-precision inputs are computed in float32 and returned in u's dtype; float64 stays float64.
    backend: "auto" asks `plan`; "direct", "fft" or "blocked" (PyTorch), "native" or "fir" (the compiled kernel) insist.

    Raises `HyenaError` (a ValueError) for shapes, dtypes or backends that do not fit.
    """
    taps = h.h if isinstance(h, Spectrum) else h
    _check(u, taps, skip, pre, post)
    L = u.shape[-1]
    if isinstance(h, Spectrum):
        check_prepared(h, L, u.dtype, backend)
        return long_conv_op(u, taps, skip, pre, post, h.taps.spectrum, h.taps.n, h.backend, False)
    check_backend(backend)
    needs_grad = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (u, taps, skip, pre, post))
    return long_conv_op(u, met(taps, L), skip, pre, post, None, 0, backend, needs_grad)


def prepare(h: Float[Tensor, "G K"], length: int, *, channels: int | None = None, backend: str = "auto") -> Spectrum:
    """Transform taps h (G, K) once, to convolve many sequences of up to `length` tokens with them.

    For inference: no gradient reaches h through it. channels: D of the sequences to come (G where not given), which only
    helps "auto" to choose. The result holds its own copy of nothing: changing h afterwards changes direct convolutions and
    not transformed ones, so prepare again.
    """
    if h.requires_grad and torch.is_grad_enabled():
        raise HyenaError("prepare() is for inference and h requires a gradient: call it under torch.no_grad()")
    if h.ndim != 2 or 0 in h.shape or not h.is_floating_point() or length < 1:
        shape = f"{h.dtype} {tuple(h.shape)} and {length}"
        raise HyenaError(f"prepare() needs real floating-point taps (G, K), none 0, and a length of at least 1, got {shape}")
    check_backend(backend)
    taps = h.detach().to(torch.promote_types(h.dtype, torch.float32))
    backend = chosen(taps.new_empty(()).expand(1, channels or len(h), length), taps, backend, gated=True, needs_grad=False)
    return Spectrum(transform(taps, length, backend), length, backend)


def _check(u: Tensor, h: Tensor, skip: Tensor | None, pre: Tensor | None, post: Tensor | None) -> None:
    """One clear line for whatever does not fit."""
    if u.ndim != 3 or h.ndim != 2:
        raise HyenaError(f"u must be (B, D, L) and h (G, K), got {tuple(u.shape)} and {tuple(h.shape)}")
    (_, D, L), (G, K) = u.shape, h.shape
    if 0 in (D, L, G, K):
        raise HyenaError(f"u {tuple(u.shape)} or h {tuple(h.shape)} has no channel, token, filter or tap: drop empty inputs")
    if D % G:
        raise HyenaError(f"u has {D} channels and h {G} groups: D must be a multiple of G")
    if skip is not None and skip.shape != (D,):
        raise HyenaError(f"skip has shape {tuple(skip.shape)}: ({D},) is needed, one value a channel")
    for name, gate in (("pre", pre), ("post", post)):
        if gate is not None and gate.shape != u.shape:
            raise HyenaError(f"{name} has shape {tuple(gate.shape)}: {tuple(u.shape)} is needed, as u")
    check_numbers(u=u, h=h, skip=skip, pre=pre, post=post)


def check_numbers(**tensors: Tensor | None) -> None:
    """One clear line for a tensor whose dtype or device does not go with the first one's."""
    of, u = next(iter(tensors.items()))
    assert u is not None, "the first one is what the others go with"
    for name, t in tensors.items():
        if t is not None and not t.is_floating_point():
            raise HyenaError(f"{name} is {t.dtype}: real floating-point numbers are needed")
        if t is not None and t.device != u.device:
            raise HyenaError(f"{name} is on {t.device} and {of} on {u.device}: move them to one device")
        if t is not None and t.dtype == torch.float64 != u.dtype:
            raise HyenaError(f"{name} is float64 and {of} {u.dtype}: convert one to the other's, nothing is cast down here")


def check_backend(backend: str) -> None:
    """One clear line for a backend that there is not."""
    if backend != "auto" and backend not in BACKENDS:
        raise HyenaError(f"unknown backend {backend!r}: use 'auto', {', '.join(map(repr, BACKENDS))}")


def check_prepared(h: Spectrum, L: int, dtype: torch.dtype, backend: str) -> None:
    """One clear line for a prepared filter that does not serve L tokens of this dtype by this backend."""
    if h.length < L:
        raise HyenaError(f"the sequence has {L} tokens but the filter was prepared for {h.length}: prepare it for {L}")
    if h.taps.spectrum is not None and dtype == torch.float64 != h.h.dtype:
        raise HyenaError(f"u is float64 and the filter was prepared in {h.h.dtype}: prepare its taps in float64")
    if backend not in ("auto", h.backend):
        raise HyenaError(f"the filter was prepared for backend {h.backend!r}, not {backend!r}: prepare it for that")

"""The compiled kernel against the definition, on small random cases: what must hold before it is used on a machine."""

import itertools

import torch
from torch import Tensor

from hyena.ops import native
from hyena.ops.direct import depthwise
from hyena.ops.native import calls
from hyena.ops.native.calls import Filter, Short, Signals

BOUND = {torch.float64: 1e-12, torch.float32: 1e-5}
"""Largest error of a right kernel, of the loudest number of a result: FFTs of some hundred points, 50 to spare."""
_CASES = ((60, 64, 64), (200, 40, 64), (300, 300, 300), (150, 9, 0))
"""(L, K, N): one transform, blocks of one, a long one, tap by tap."""


def mismatch() -> str | None:
    """What the kernel gets wrong, in words; None where all is right. Takes some milliseconds and no thread but this one."""
    if native.library() is None:
        return "there is none"
    generator = torch.Generator().manual_seed(1)
    for dtype, (L, K, N), short in itertools.product(BOUND, _CASES, (False, True)):
        for name, found, wanted in _results(L, K, N, dtype, short, generator):
            scale = max(1.0, float(wanted.abs().max()))
            error = float((found.double() - wanted).abs().max()) / scale
            if not error <= BOUND[dtype]:
                return f"{name} of {L} tokens and {K} taps in {dtype} is off by {error:.1e}"
    return None


def _results(
    L: int, K: int, N: int, dtype: torch.dtype, short: bool, generator: torch.Generator
) -> list[tuple[str, Tensor, Tensor]]:
    """(name, the kernel's, the definition's) of the output and every gradient."""
    B, D, G, S = 2, 2, 1, 3

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator).to(dtype)

    signals, gy = [normal(B, D, L) for _ in range(3)], normal(B, D, L)
    h, skip = normal(G, K) / K**0.5, normal(D)
    shorts = [Short(normal(D, S), normal(D)) for _ in range(3)] if short else None
    N = calls.good_length(N, dtype) if N else 0
    y = torch.empty_like(gy)
    x, f = Signals(*signals, shorts and tuple(shorts)), Filter(h, None, N, skip)
    calls.forward(x, f, y, dtype)
    flat = [t for s in shorts or () for t in s if t is not None]
    inputs = [*signals, h, skip, *flat]
    grads = [torch.empty_like(t) for t in inputs]
    calls.backward(x, f, gy, grads[:3], grads[3:5], grads[5:], dtype)
    with torch.enable_grad(), torch.autocast("cpu", enabled=False):
        exact = [t.double().requires_grad_() for t in inputs]
        definition = _definition(exact[:3], exact[3], exact[4], exact[5:])
        right = torch.autograd.grad(definition, exact, gy.double())
    names = ["y", *(f"the gradient of {n}" for n in ("u", "pre", "post", "h", "skip", *len(flat) * ["a short convolution"]))]
    return list(zip(names, [y, *grads], [definition.detach(), *right], strict=True))


def _definition(signals: list[Tensor], h: Tensor, skip: Tensor, shorts: list[Tensor]) -> Tensor:
    """post (h conv (pre u) + skip pre u), tap by tap in PyTorch."""
    if shorts:
        signals = [depthwise(x, taps, bias) for x, taps, bias in zip(signals, shorts[::2], shorts[1::2], strict=True)]
    u, pre, post = signals
    return post * (depthwise(pre * u, h.expand(u.shape[1], -1)) + skip[:, None] * pre * u)

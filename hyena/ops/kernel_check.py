"""The compiled kernel against the definition, on small random cases: what must hold before it is used on a machine.

It may run inside an operator, where autograd does not reach: gradients are those of the `direct` backend.
"""

import itertools

import torch
from torch import Tensor

from hyena.ops import chunked, direct, native
from hyena.ops.native import calls
from hyena.ops.native.calls import Filter, Short, Signals
from hyena.ops.taps import Taps

BOUND = {torch.float64: 1e-12, torch.float32: 1e-5}
"""Largest error of a right kernel, of the loudest number of a result: FFTs of some hundred points, 50 to spare."""
_CASES = ((3, 3, 3), (60, 64, 64), (200, 40, 64), (300, 300, 300), (150, 9, 0))
"""(L, K, N): the shortest, one transform, blocks of one, a length of another radix, tap by tap."""
_B, _D, _G, _S = 2, 2, 1, 3


def mismatch() -> str | None:
    """What the kernel gets wrong, in words; None where all is right. Takes some milliseconds."""
    if native.library() is None:
        return "there is none"
    generator = torch.Generator("cpu").manual_seed(1)
    for dtype, (L, K, N), short in itertools.product(BOUND, _CASES, (False, True)):

        def normal(*shape: int, dtype: torch.dtype = dtype) -> Tensor:
            # On the processor, whatever the default device of the caller is.
            return torch.randn(*shape, dtype=torch.float64, generator=generator, device="cpu").to(dtype)

        shorts = [normal(_D, _S), normal(_D), normal(_D)] * 3 if short else []
        inputs = [*normal(3, _B, _D, L), normal(_G, K) / K**0.5, normal(_D), *shorts]
        gy = normal(_B, _D, L)
        found = _kernel(inputs, gy, calls.good_length(N, dtype) if N else 0)
        wanted = _definition([t.double() for t in inputs], gy.double())
        for name, a, b in zip(("output", *len(inputs) * ["gradient"]), found, wanted, strict=True):
            error = float((a.double() - b).abs().max()) / max(1.0, float(b.abs().max()))
            if not error <= BOUND[dtype]:
                return f"the {name} for {L} tokens and {K} taps in {dtype} is off by {error:.1e}"
    return None


def _kernel(inputs: list[Tensor], gy: Tensor, N: int) -> list[Tensor]:
    """The output and the gradients for all inputs: u, pre, post, h, skip and the short convolutions' taps and biases."""
    u, pre, post, h, skip, *flat = inputs
    shorts = tuple(Short(*each) for each in zip(flat[::3], flat[1::3], flat[2::3], strict=True))
    x, f = Signals(u, pre, post, (shorts[0], shorts[1], shorts[2]) if shorts else None), Filter(h, None, N, skip)
    y, grads = torch.empty_like(gy), [torch.empty_like(t) for t in inputs]
    calls.forward(x, f, y, u.dtype)
    calls.backward(x, f, gy, grads[:3], grads[3:5], grads[5:], u.dtype)
    return [y, *grads]


def _definition(inputs: list[Tensor], gy: Tensor) -> list[Tensor]:
    """The same, tap by tap in PyTorch."""
    raw, (h, skip), flat = inputs[:3], inputs[3:5], inputs[5:]
    shorts = list(zip(flat[::3], flat[1::3], flat[2::3], strict=True))
    moved = [x + s[2][:, None] for x, s in zip(raw, shorts, strict=True)] if shorts else raw
    u, pre, post = [direct.depthwise(x, *s[:2]) for x, s in zip(moved, shorts, strict=True)] if shorts else raw
    taps, dtype = Taps(h), torch.float64
    y = chunked.forward(u, taps, skip, pre, post, "direct", dtype)
    gu, gpre, gpost = (torch.empty_like(u) for _ in range(3))
    gh, gskip = torch.zeros_like(h), torch.zeros_like(skip)
    chunked.backward(gy, u, taps, skip, pre, post, "direct", dtype, [gu, gh, gskip, gpre, gpost])
    grads, gshorts = [gu, gpre, gpost], []
    for i, (t, _, _) in enumerate(shorts):
        _, gx, gt = direct.backward(moved[i], Taps(t), grads[i], (False, True, True))
        assert gx is not None
        assert gt is not None
        gshorts += [gt, grads[i].sum((0, 2)), gx.sum((0, 2))]
        grads[i] = gx
    return [y, *grads, gh, gskip, *gshorts]

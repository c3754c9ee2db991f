"""The definition of `long_conv`, a sum with a term a tap, in float64 and differentiated by PyTorch."""

from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hyena.ops import kernel, native

KERNEL = pytest.mark.skipif(not kernel.available(), reason=f"no native kernel: {native.status().reason}")
BACKENDS = ["direct", "fft", "blocked", *(pytest.param(name, marks=KERNEL) for name in kernel.KERNELS)]


def oracle(u: Tensor, h: Tensor, skip: Tensor | None = None, pre: Tensor | None = None, post: Tensor | None = None) -> Tensor:
    """y = post * (sum over k of h_k x_(t - k) + skip * x), x = pre * u; u (B, D, L), h (G, K)."""
    x = u if pre is None else pre * u
    (_, D, L), (G, K) = u.shape, h.shape
    taps = h.repeat_interleave(D // G, dim=0)
    y = torch.zeros_like(x)
    for k in range(min(K, L)):
        y = y + F.pad(taps[:, k, None] * x[..., : L - k], (k, 0))
    if skip is not None:
        y = y + skip[:, None] * x
    return y if post is None else post * y


class Inputs(NamedTuple):
    """What `long_conv` takes."""

    u: Tensor
    h: Tensor
    skip: Tensor | None
    pre: Tensor | None
    post: Tensor | None

    def gates(self) -> dict[str, Tensor | None]:
        """The keyword arguments."""
        return {"pre": self.pre, "post": self.post}

    def to(self, dtype: torch.dtype) -> "Inputs":
        """The same numbers, as leaves of another dtype."""
        return Inputs(*(None if t is None else t.detach().to(dtype) for t in self))

    def leaves(self) -> "Inputs":
        """The same numbers, as leaves that ask for gradients."""
        return Inputs(*(None if t is None else t.detach().requires_grad_() for t in self))


def inputs(B: int, D: int, L: int, K: int, G: int, dtype: torch.dtype = torch.float64) -> Inputs:
    """Random inputs; the taps shrink like those of a trained filter, so that sums stay of the size of their terms."""
    u, pre, post = torch.randn(3, B, D, L, dtype=torch.float64).to(dtype)
    h = torch.randn(G, K, dtype=torch.float64) / K**0.5
    return Inputs(u, h.to(dtype), torch.randn(D, dtype=torch.float64).to(dtype), pre, post)


def gradients(y: Tensor, given: Inputs, cotangent: Tensor) -> dict[str, Tensor]:
    """The gradients of (y * cotangent).sum() for every input that asks for one."""
    wanted = {name: t for name, t in given._asdict().items() if t is not None and t.requires_grad}
    return dict(zip(wanted, torch.autograd.grad(y, list(wanted.values()), cotangent), strict=True))

"""The definition of `long_conv`, a sum with a term a tap, in float64 and differentiated by PyTorch."""

from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hyena.ops import hyena_conv, kernel, native

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


def by_fft(u: Tensor, h: Tensor, skip: Tensor | None = None, pre: Tensor | None = None, post: Tensor | None = None) -> Tensor:
    """The same by PyTorch's FFT, for sequences that are too long for a term a tap."""
    x = u if pre is None else pre * u
    (_, D, L), (G, K) = u.shape, h.shape
    n = 1 << (L + min(K, L) - 1).bit_length()  # of other lengths some libraries' transforms are off by forty units
    H = torch.fft.rfft(h[:, :L], n).repeat_interleave(D // G, dim=0)
    y = torch.fft.irfft(torch.fft.rfft(x, n) * H, n)[..., :L]
    if skip is not None:
        y = y + skip[:, None] * x
    return y if post is None else post * y


def off(actual: Tensor, exact: Tensor, size: float = 1.0) -> float:
    """Relative error, norm of the difference over norm; where sums happen to cancel, over numbers of `size`."""
    actual, exact = actual.detach(), exact.detach()
    return float((actual.double() - exact).norm() / max(exact.norm(), exact.numel() ** 0.5 * size))


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


def gradients(y: Tensor, given: "Inputs | Whole", cotangent: Tensor) -> dict[str, Tensor]:
    """The gradients of (y * cotangent).sum() for every input that asks for one."""
    wanted = {name: t for name, t in given._asdict().items() if t is not None and t.requires_grad}
    return dict(zip(wanted, torch.autograd.grad(y, list(wanted.values()), cotangent), strict=True))


class Whole(NamedTuple):
    """What `hyena_conv` takes, in the operator's order."""

    streams: Tensor
    taps: Tensor
    bias: Tensor | None
    offset: Tensor | None
    h: Tensor
    skip: Tensor | None

    def to(self, dtype: torch.dtype) -> "Whole":
        """The same numbers in another dtype, laid out as they were."""
        return Whole(*(None if t is None else t.detach().to(dtype) for t in self))

    def leaves(self) -> "Whole":
        """The same numbers, as leaves that ask for gradients."""
        return Whole(*(None if t is None else t.detach().requires_grad_() for t in self))


def whole(B: int, D: int, L: int, K: int, G: int, S: int = 3, dtype: torch.dtype = torch.float64) -> Whole:
    """Random inputs, the streams laid out as `modules/projection.py` makes them: (3 D, B, L) in memory."""

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, dtype=torch.float64)

    streams, h = normal(3 * D, B, L).transpose(0, 1), normal(G, K) / K**0.5
    given = Whole(streams, normal(3 * D, S) / S**0.5, normal(3 * D), normal(3 * D), h, normal(D))
    return Whole(*(t.to(dtype) for t in given if t is not None))


def fused(given: Whole, backend: str = "auto") -> Tensor:
    """`hyena_conv` of inputs."""
    return hyena_conv(given.streams, given.taps, given.bias, given.h, given.skip, offset=given.offset, backend=backend)


def composition(given: Whole) -> Tensor:
    """The short convolutions and the long one, each by its definition."""
    x = given.streams if given.offset is None else given.streams + given.offset[:, None]
    x = oracle(x, given.taps)
    q, k, v = (x if given.bias is None else x + given.bias[:, None]).chunk(3, dim=1)
    return oracle(v, given.h, given.skip, pre=k, post=q)

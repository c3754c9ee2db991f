"""The bars of the whole Hyena mixer: against its projections alone, and against the same mixer in PyTorch's own words."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from hyena.bench.rivals import Shape, backend_of, operands
from hyena.bench.timing import Sampler, Samples, Spread, sampler
from hyena.configs.mixers import HyenaConfig
from hyena.modules import build

Time = Callable[[dict[str, Sampler]], Samples]


def mixer_of(D: int, L: int) -> torch.nn.Module:
    """Hyena of order 2 with its defaults."""
    torch.manual_seed(0)
    return build(HyenaConfig(), D, L, "error")


def evaluation(D: int, L: int, time: Time) -> tuple[Spread, str]:
    """The mixer over its two projections, without gradients, the filter kept; and the backend."""
    mixer = mixer_of(D, L).eval()
    x = torch.randn(1, L, D)

    def whole() -> Tensor:
        with torch.no_grad():
            return mixer(x)

    def projections() -> Tensor:
        with torch.no_grad():
            mixer.in_proj(x)
            return mixer.out_proj(x)

    found = time({"whole": sampler(whole), "projections": sampler(projections)})
    return found.ratio("whole", "projections"), backend_of(operands(Shape.square(1, D, L)))


def plain(mixer: torch.nn.Module, x: Tensor) -> Tensor:
    """What the mixer computes on x (B, L, D), with torch.fft and F.conv1d as users write them."""
    L = x.shape[1]
    h = mixer.filter(L)
    short = mixer.short_conv
    streams = mixer.in_proj(x).transpose(1, 2)
    taps = short.taps.flip(-1)[:, None]
    streams = F.conv1d(streams, taps, short.bias, padding=taps.shape[-1] - 1, groups=len(taps))[..., :L]
    q, k, v = streams.chunk(3, dim=1)
    z = k * v
    y = torch.fft.irfft(torch.fft.rfft(z, n=2 * L) * torch.fft.rfft(h, n=2 * L), n=2 * L)[..., :L]
    return mixer.out_proj((q * (y + z * mixer.skip[:, None])).transpose(1, 2))


def step(D: int, L: int, time: Time) -> tuple[Spread, str]:
    """Forward and backward of `plain` over the mixer's, the filter made anew in each; and the backend."""
    mixer = mixer_of(D, L).train()
    x = torch.randn(1, L, D, requires_grad=True)
    gy = torch.randn(1, L, D)
    leaves = [x, *mixer.parameters()]
    with torch.no_grad():
        ours, theirs = mixer(x), plain(mixer, x)
    difference = float((ours - theirs).norm() / theirs.norm())
    assert difference < 1e-4, f"the two mixers differ by {difference:.2g}"
    works = {
        "ours": lambda: torch.autograd.grad(mixer(x), leaves, gy),
        "plain": lambda: torch.autograd.grad(plain(mixer, x), leaves, gy),
    }
    found = time({name: sampler(work) for name, work in works.items()})
    return found.ratio("plain", "ours"), backend_of(operands(Shape.square(1, D, L), gradient=True))

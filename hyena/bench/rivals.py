"""The ways to compute a gated long convolution that are timed against each other, each as a user would write it.

All but the attention compute y = post * (causal_conv(pre * u, h) + skip * (pre * u)) on u (B, D, L) with h (G, K). The
attention is what a Hyena operator stands in for: causal `scaled_dot_product_attention` with heads of 64 on as many channels.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from hyena.bench.timing import Sampler, sampler
from hyena.errors import HyenaError
from hyena.ops import Spectrum, long_conv, prepare
from hyena.ops.gated import chosen

HEAD = 64
"""Channels of an attention head."""


@dataclass(frozen=True)
class Shape:
    """Signals u, pre, post (B, D, L); taps (G, K)."""

    B: int
    D: int
    L: int
    K: int
    G: int

    @classmethod
    def square(cls, B: int, D: int, L: int) -> "Shape":
        """A filter a channel, as long as the sequence."""
        return cls(B, D, L, L, D)

    @property
    def points(self) -> int:
        """Numbers in the output."""
        return self.B * self.D * self.L


class Operands(NamedTuple):
    """The inputs of a gated long convolution."""

    u: Float[Tensor, "B D L"]
    h: Float[Tensor, "G K"]
    skip: Float[Tensor, "D"]
    pre: Float[Tensor, "B D L"]
    post: Float[Tensor, "B D L"]


class Work(NamedTuple):
    """A call that is timed, and the tensors that its gradient is taken for."""

    forward: Callable[[], Tensor]
    leaves: tuple[Tensor, ...]
    backend: str | None = None
    """Which backend of ours runs; None for the others."""
    sample: Sampler | None = None
    """Takes the seconds by itself, where the work is done elsewhere; None: the caller times `forward`."""


@dataclass(frozen=True)
class Rival:
    """One way to compute it."""

    name: str
    """How the command line and the files call it."""
    label: str
    """How tables and pictures call it."""
    prepare: Callable[[Operands], Work]
    """Everything that is not timed, then what is."""
    gradient: bool = True
    """Whether it has a gradient."""
    against: str = "hyena"
    """Which of ours does the same work; without a gradient alone."""
    quadratic: bool = False
    """Whether its time grows with the square of the length."""
    memory: float = 10.0
    """Peak working memory in multiples of the output, about."""

    def obstacle(self, shape: Shape, gradient: bool, free: int | None) -> str | None:
        """Why it cannot be timed on a shape, None where it can; free: bytes of memory that may be taken."""
        if gradient and not self.gradient:
            return "has no gradient"
        if self.name == "sdpa" and shape.D % HEAD:
            return f"needs a multiple of {HEAD} channels"
        need = int(4 * shape.points * (4 + self.memory * (3 if gradient else 1)))
        if free is not None and need > free:
            return f"needs about {need / 2**30:.1f} GiB of memory, {free / 2**30:.1f} are free"
        return None


def operands(shape: Shape, gradient: bool = False, transposed: bool = False) -> Operands:
    """Random float32 inputs, the same for all rivals; a filter that fades and has unit energy, as trained ones do.

    transposed: u, pre and post are views of (B, L, D) tensors, as projections of a model make them.
    """
    draw = torch.Generator().manual_seed(0)
    B, D, L, K, G = shape.B, shape.D, shape.L, shape.K, shape.G

    def signal() -> Tensor:
        x = torch.randn((B, L, D) if transposed else (B, D, L), generator=draw)
        return x.transpose(1, 2) if transposed else x

    u, pre, post = signal(), signal(), signal()
    h = torch.randn(G, K, generator=draw) * torch.exp(-torch.arange(K) * (4 / K))
    h /= h.norm(dim=-1, keepdim=True)
    found = Operands(u, h, torch.randn(D, generator=draw), pre, post)
    return Operands(*(t.requires_grad_() for t in found)) if gradient else found


def backend_of(o: Operands, spectrum: Spectrum | None = None) -> str:
    """The backend that `long_conv` runs for these operands with the present threads: the one place that asks."""
    if spectrum is not None:
        return spectrum.backend
    return chosen(o.u, o.h, "auto", gated=True, needs_grad=o.u.requires_grad)


def _hyena(o: Operands) -> Work:
    return Work(lambda: long_conv(o.u, o.h, o.skip, pre=o.pre, post=o.post), tuple(o), backend_of(o))


def _hyena_prepared(o: Operands) -> Work:
    spectrum = prepare(o.h, o.u.shape[-1], channels=o.u.shape[1])
    return Work(lambda: long_conv(o.u, spectrum, o.skip, pre=o.pre, post=o.post), (), backend_of(o, spectrum))


def with_backend(o: Operands, backend: str) -> Work:
    """The convolution by one backend that is named."""
    return Work(lambda: long_conv(o.u, o.h, o.skip, pre=o.pre, post=o.post, backend=backend), tuple(o), backend)


def times_spectrum(X: Tensor, H: Tensor) -> Tensor:
    """X (B, D, F) times the spectrum H (G, F) of each channel's group, as a user would who knows broadcasting."""
    return X * H if H.shape[0] == X.shape[1] else (X.unflatten(1, (H.shape[0], -1)) * H[:, None]).flatten(1, 2)


def _torch(o: Operands, kept: Tensor | None = None) -> Work:
    L = o.u.shape[-1]
    n = L + min(L, o.h.shape[-1])

    def forward() -> Tensor:
        x = o.pre * o.u
        H = torch.fft.rfft(o.h[:, :L], n=n) if kept is None else kept
        y = torch.fft.irfft(times_spectrum(torch.fft.rfft(x, n=n), H), n=n)[..., :L]
        return o.post * (y + x * o.skip[:, None])

    return Work(forward, tuple(o) if kept is None else ())


def _torch_prepared(o: Operands) -> Work:
    taps = o.h[:, : o.u.shape[-1]]
    return _torch(o, torch.fft.rfft(taps, n=o.u.shape[-1] + taps.shape[-1]))


def scipy_fft() -> ModuleType:
    """scipy.fft; `HyenaError` where it is not installed."""
    try:
        import scipy.fft
    except ImportError:
        raise HyenaError("scipy is not installed: pip install 'hyena[bench]'") from None
    return scipy.fft


def _each(h: Tensor, D: int) -> Tensor:
    """Taps (G, K) as (D, K); nothing is copied where every channel has its own."""
    return h if h.shape[0] == D else h.repeat_interleave(D // h.shape[0], dim=0)


def _scipy(o: Operands, ready: bool = False) -> Work:
    fft, workers = scipy_fft(), torch.get_num_threads()
    D, L = o.u.shape[1:]
    u, h, skip, pre, post = (t.numpy() for t in (o.u, _each(o.h[:, :L], D), o.skip[:, None], o.pre, o.post))
    n = fft.next_fast_len(L + h.shape[-1] - 1, real=True)
    kept: Any = fft.rfft(h, n, workers=workers) if ready else None

    def forward() -> Tensor:
        x = pre * u
        H = fft.rfft(h, n, workers=workers) if kept is None else kept
        y = fft.irfft(fft.rfft(x, n, workers=workers) * H, n, workers=workers)[..., :L]
        return torch.from_numpy(post * (y + x * skip))

    return Work(forward, ())


def _scipy_prepared(o: Operands) -> Work:
    return _scipy(o, ready=True)


def _conv1d(o: Operands) -> Work:
    (_, D, L), K = o.u.shape, o.h.shape[-1]

    def forward() -> Tensor:
        x = o.pre * o.u
        taps = _each(o.h, D).flip(-1)[:, None]
        return o.post * (F.conv1d(F.pad(x, (min(K, L) - 1, 0)), taps[..., -L:], groups=D) + x * o.skip[:, None])

    return Work(forward, tuple(o))


def _sdpa(o: Operands) -> Work:
    B, D, L = o.u.shape
    q, k, v = (t.detach().reshape(B, D // HEAD, HEAD, L).transpose(2, 3).contiguous() for t in (o.post, o.pre, o.u))
    if o.u.requires_grad:
        q, k, v = (t.requires_grad_() for t in (q, k, v))
    return Work(lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True), (q, k, v))


_ALL = (
    Rival("hyena", "hyena", _hyena, memory=3),
    Rival("hyena-prepared", "hyena, filter prepared", _hyena_prepared, gradient=False, against="hyena-prepared", memory=2),
    Rival("torch", "torch.fft", _torch),
    Rival("torch-prepared", "torch.fft, filter prepared", _torch_prepared, gradient=False, against="hyena-prepared"),
    Rival("scipy", "scipy.fft", _scipy, gradient=False),
    Rival("scipy-prepared", "scipy.fft, filter prepared", _scipy_prepared, gradient=False, against="hyena-prepared"),
    Rival("conv1d", "F.conv1d", _conv1d, against="hyena-prepared", quadratic=True, memory=4),
    Rival("sdpa", "causal attention", _sdpa, against="hyena-prepared", quadratic=True, memory=4),
)
RIVALS = {rival.name: rival for rival in _ALL}
"""By name; ours are the first two."""
OURS = ("hyena", "hyena-prepared")


def computation(work: Work, gradient: bool) -> Callable[[], object]:
    """What is timed: the forward alone without gradients, or the forward and the gradient for every leaf."""
    if not gradient:

        def forward() -> Tensor:
            with torch.no_grad():
                return work.forward()

        return forward
    with torch.no_grad():
        gy = torch.randn_like(work.forward())
    return lambda: torch.autograd.grad(work.forward(), work.leaves, gy)


def sampler_of(work: Work, gradient: bool) -> Sampler:
    """How the work is timed."""
    return work.sample or sampler(computation(work, gradient))

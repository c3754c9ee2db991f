"""Norms of what flows through a model: streams, mixers, MLPs and gates, layer by layer, without keeping any of it."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from jaxtyping import Int
from torch import Tensor

from hyena.models.heads import Model
from hyena.models.modes import evaluating
from hyena.modules import Hyena


class Meter:
    """Root mean square and largest absolute value of all the numbers it was shown, in float64; NaN where one was NaN."""

    def __init__(self) -> None:
        """Nothing seen yet."""
        self._squares, self._count, self.largest = 0.0, 0, 0.0

    def add(self, x: Tensor) -> None:
        """Look at a tensor of any shape."""
        self._squares += float(torch.linalg.vector_norm(x, dtype=torch.float64)) ** 2
        self._count += x.numel()
        largest = float(torch.linalg.vector_norm(x, math.inf))
        self.largest = largest if math.isnan(largest) else max(self.largest, largest)

    @property
    def rms(self) -> float:
        """sqrt(mean x^2)."""
        return math.sqrt(self._squares / max(1, self._count))


@dataclass
class Meters:
    """One layer's."""

    stream: Meter = field(default_factory=Meter)
    mixer: Meter = field(default_factory=Meter)
    mlp: Meter = field(default_factory=Meter)
    out: Meter = field(default_factory=Meter)
    gates: dict[str, Meter] = field(default_factory=dict)


@dataclass(frozen=True)
class Norms:
    """Root mean squares over windows, tokens and channels of one layer."""

    stream: float
    """The residual stream entering the layer."""
    mixer: float
    """The mixer's output, before it is added to the stream."""
    mlp: float
    """The MLP's output, likewise."""
    out: float
    """The stream leaving the layer."""
    largest: float
    """The largest absolute value of the stream leaving the layer."""
    gates: dict[str, float]
    """Hyena's projections after the short convolution: gates x0 .. x(N-1) and the value v. Empty for other mixers."""


@torch.no_grad()
def norms(model: Model, ids: Int[Tensor, "B L"], report: Callable[[int, int], None] | None = None) -> list[Norms]:
    """Run the model on ids (B, L), one window at a time, and measure each layer. report(done, total) counts windows."""
    with evaluating(model), _metered(model) as layers:
        for i, window in enumerate(ids):
            model(window[None].to(model.device))
            if report is not None:
                report(i + 1, len(ids))
    return [
        Norms(m.stream.rms, m.mixer.rms, m.mlp.rms, m.out.rms, m.out.largest, {name: g.rms for name, g in m.gates.items()})
        for m in layers
    ]


@contextmanager
def _metered(model: Model) -> Iterator[list[Meters]]:
    """Meters that see every forward inside the with statement; the hooks go at its end."""
    layers = [Meters() for _ in model.backbone.layers]
    hooks = []
    for block, m in zip(model.backbone.layers, layers, strict=True):
        hooks.append(block.register_forward_pre_hook(lambda _, args, m=m: m.stream.add(args[0])))
        hooks.append(block.mixer.register_forward_hook(lambda _, __, out, m=m: m.mixer.add(out)))
        hooks.append(block.mlp.register_forward_hook(lambda _, __, out, m=m: m.mlp.add(out)))
        hooks.append(block.register_forward_hook(lambda _, __, out, m=m: m.out.add(out)))
        if isinstance(block.mixer, Hyena):
            m.gates = {name: Meter() for name in (*(f"x{i}" for i in range(block.mixer.config.order)), "v")}
            hooks.append(
                block.mixer.register_forward_pre_hook(lambda mixer, args, m=m: _see_gates(m.gates, mixer.streams(args[0])))
            )
    try:
        yield layers
    finally:
        for hook in hooks:
            hook.remove()


def _see_gates(gates: dict[str, Meter], streams: Tensor) -> None:
    """The projections (B, (N + 1) D, L) of Hyena lie one after the other."""
    for meter, stream in zip(gates.values(), streams.chunk(len(gates), dim=1), strict=True):
        meter.add(stream)

"""`estimate_memory`: bytes and seconds that a sequence will take, before any of it is read."""

import time
from dataclasses import dataclass

import torch

from hyena.configs.model import ModelConfig
from hyena.errors import HyenaError
from hyena.models.budget import DEFAULT_MEMORY, Budget, plan_blocks, readable
from hyena.models.heads import LanguageModel, Model
from hyena.modules.hyena import Hyena
from hyena.modules.hyena_long import by_channels
from hyena.ops import kernel
from hyena.ops.costs import in_force, read
from hyena.ops.plan import conv_flops

_ACTIVATION, _NORM, _TAP = 1.5, 1.5, 3.0
"""Nanoseconds of a core for a number of an MLP's hidden rows, for one that is normed, for a tap of an implicit filter."""
_SAMPLE = 0.02
"""Seconds that the rate of matrix products is measured for."""


@dataclass(frozen=True)
class Estimate:
    """What scoring or embedding `batch_size` sequences of `length` tokens takes; bytes, but for seconds and operations."""

    length: int
    batch_size: int
    weights: int
    """Parameters and the grids of filters."""
    stream: int
    """The residual stream."""
    buffers: int
    """As much again for the mixers' results, rows at a time, ids, results, and the workspace of the convolution."""
    filters: int
    """Projections and filters of a block of channels."""
    working: int
    """Beyond the weights: what `max_memory` (--max-memory) has to allow."""
    least: int
    """The same worked as leanly, and slowly, as it can be."""
    state: int
    """The state of decoding, which goes on token by token after so many tokens."""
    flops: int
    """Operations of one forward; a multiply-add counts 2."""
    seconds: float
    """Predicted from the rate of matrix products that was measured, and the table of costs of the convolution."""

    @property
    def total(self) -> int:
        """Weights and what is beyond them."""
        return self.weights + self.working

    def fits(self, max_memory: int = DEFAULT_MEMORY) -> bool:
        """Whether so many bytes beyond the weights suffice, leanly worked."""
        return self.least <= max_memory

    def sentences(self) -> dict[str, str]:
        """For reading."""
        return {
            "weights": readable(self.weights),
            "beyond the weights": f"{readable(self.working)}; {readable(self.least)} at least (--max-memory)",
            "of these the residual stream": readable(self.stream),
            "of these filters and projections": readable(self.filters),
            "state of decoding": readable(self.state),
            "operations": f"{self.flops:.3g}",
            "predicted time": f"{self.seconds:.3g} s",
        }


def estimate_memory(
    model: Model | ModelConfig, length: int, batch_size: int = 1, *, max_memory: int | None = None, threads: int | None = None
) -> Estimate:
    """Bytes and seconds of one forward, layer by layer as `score` and `embed` work, over sequences of `length` tokens.

    model: a model, or a configuration, whose weights need not exist. max_memory: the budget that the work is cut to fit
    (`HyenaError` where it does not); none given: as much as is fastest. threads: those of PyTorch where not given.
    """
    for name, value in (("length", length), ("batch_size", batch_size)):
        if not isinstance(value, int) or value < 1:
            raise HyenaError(f"{name} is {value!r}: use a whole number of at least 1")
    if isinstance(model, ModelConfig):
        with torch.device("meta"):
            model = LanguageModel(model)
    backbone = model.backbone
    for block in backbone.layers:
        if backbone.embedding.weight.device.type != "meta":
            block.mixer.check_length(length)
    chosen = plan_blocks(backbone, batch_size, length, max_memory)
    return Estimate(
        length,
        batch_size,
        weights=sum(t.nbytes for t in [*model.parameters(), *model.buffers()]),
        stream=chosen.stream,
        buffers=chosen.mixed + chosen.rest + chosen.state,
        filters=chosen.streams,
        working=chosen.total,
        least=plan_blocks(backbone, batch_size, length, lean=True).total,
        state=batch_size * model.state_bytes(length),
        flops=batch_size * model.flops(length),
        seconds=_seconds(model, length, batch_size, chosen, threads or torch.get_num_threads()),
    )


def _seconds(model: Model, L: int, B: int, budget: Budget, threads: int) -> float:
    """Matrix products at the measured rate, convolutions by the table of costs, elementwise work by its figures."""
    config, products, others = model.config, float(B * model.flops(L)), 0.0
    D, width = config.width, config.hidden
    for block in model.backbone.layers:
        mixer = block.mixer
        norms = 2
        if isinstance(mixer, Hyena) and by_channels(mixer):
            K, G = mixer.filter.used(L), mixer.filter.groups
            products -= B * mixer.convolutions * conv_flops(1, D, L, K, D)
            products -= (B - 1) * mixer.filter.flops(L)
            blocks = -(-D // budget.blocks.channels)
            norms += blocks - 1
            others += _convolution(B, G, L, K) + G * K * _TAP
            if not budget.blocks.keep:
                products += (blocks - 1) * mixer.filter.flops(L)
        others += B * L * (width * _ACTIVATION + norms * D * _NORM)
    return products / (threads * _rate()) + others * 1e-9 / threads


def _convolution(B: int, G: int, L: int, K: int) -> float:
    """Nanoseconds of a core for G filters over B sequences."""
    costs, n = in_force()[0], kernel.rounded(kernel.points(L, K, False))
    blocks, rows = -(-L // n), B * G
    curve = costs.native if kernel.available() else costs.fft
    return (rows * blocks + G / 2) * n * read(curve, n)


def _rate() -> float:
    """Operations a second of one thread in a product of the shape that a chunk has."""
    threads = torch.get_num_threads()
    a, b = torch.ones(512, 256), torch.ones(256, 1024)
    out = torch.empty(512, 1024)
    torch.set_num_threads(1)
    try:
        torch.mm(a, b, out=out)
        count, began = 0, time.perf_counter()
        while count < 3 or time.perf_counter() - began < _SAMPLE:
            torch.mm(a, b, out=out)
            count += 1
        return count * 2 * a.numel() * b.shape[1] / (time.perf_counter() - began)
    finally:
        torch.set_num_threads(threads)

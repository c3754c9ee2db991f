"""`trace`: what flows through a model, block by block, for comparison and interpretation."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Int
from torch import Tensor

from hyena.models.heads import Model
from hyena.modules import GatedConv, Hyena


@dataclass
class Trace:
    """Everything is detached and in the model's dtype; lists run over blocks."""

    streams: list[Tensor] = field(default_factory=list)
    """Residual stream (B, L, D) entering each block, and last the one leaving the last block (before the final norm)."""
    mixer_inputs: list[Tensor] = field(default_factory=list)
    """(B, L, D), after the norm."""
    mixer_outputs: list[Tensor] = field(default_factory=list)
    """(B, L, D), before the addition."""
    filters: list[Tensor | None] = field(default_factory=list)
    """Taps ((N - 1) D, K) of a Hyena mixer, (G, K) of a gated convolution, None for mixers without a filter."""
    norms: list[float] = field(default_factory=list)
    """Root mean square of each stream."""
    hidden: Tensor | None = None
    """Hidden states (B, L, D) after the final norm."""
    output: Tensor | None = None
    """What the model returns."""


@torch.no_grad()
def trace(model: Model, ids: Int[Tensor, "B L"]) -> Trace:
    """Run the model on ids (B, L) and keep per-block streams, mixer inputs and outputs, filters and norms."""
    record = Trace()
    hooks = []
    for block in model.backbone.layers:
        hooks.append(block.register_forward_pre_hook(lambda _, args: record.streams.append(args[0])))
        mixer = block.mixer
        hooks.append(mixer.register_forward_pre_hook(lambda _, args: record.mixer_inputs.append(args[0])))
        hooks.append(mixer.register_forward_hook(lambda _, __, out: record.mixer_outputs.append(out)))
    hooks.append(model.backbone.norm.register_forward_pre_hook(lambda _, args: record.streams.append(args[0])))
    hooks.append(model.backbone.register_forward_hook(lambda _, __, out: setattr(record, "hidden", out)))
    try:
        record.output = model(ids)
    finally:
        for hook in hooks:
            hook.remove()
    for block in model.backbone.layers:
        record.filters.append(block.mixer.filter(ids.shape[1]) if isinstance(block.mixer, Hyena | GatedConv) else None)
    record.norms = [float(stream.double().pow(2).mean().sqrt()) for stream in record.streams]
    return record

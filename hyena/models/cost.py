"""What a model costs: parameters, operations, bytes of state. Sums of what each part says of itself."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from hyena.configs.model import ModelConfig


@dataclass(frozen=True)
class Cost:
    """Costs of a model over sequences of `length` tokens."""

    length: int
    parameters: int
    """Trainable numbers; tied ones count once."""
    flops: int
    """Operations of one forward over one sequence."""
    state_bytes: int
    """Bytes one sequence must keep after `length` tokens to go on exactly."""


def cost(config: ModelConfig, length: int) -> Cost:
    """Costs of a language model, without allocating its weights."""
    from hyena.models.heads import LanguageModel  # the heads call this file for their methods

    with torch.device("meta"):
        model = LanguageModel(config)
    return Cost(length, parameters(model), flops(model, length), state_bytes(model, length))


def parameters(model: nn.Module) -> int:
    """Trainable numbers; a tensor under two names counts once."""
    return sum(p.numel() for p in model.parameters())


def flops(model: Any, L: int) -> int:
    """Mixers as they say; MLPs and head 2 operations a weight and token. Norms, activations and look-ups are left out."""
    mixers = sum(block.mixer.flops(L) for block in model.backbone.blocks)
    maps = sum(p.numel() for block in model.backbone.blocks for p in block.mlp.parameters() if p.ndim == 2)
    config = model.config
    head = 2 * L * config.width * config.rows if model.kind == "language-model" else 2 * model.score.weight.numel()
    return mixers + 2 * L * maps + head


def state_bytes(model: Any, L: int) -> int:
    """The sum over the mixers; nothing else has a memory."""
    return sum(block.mixer.state_bytes(L) for block in model.backbone.blocks)

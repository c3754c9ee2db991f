"""What a model costs, without allocating its weights: parameters, operations, bytes of state."""

from dataclasses import dataclass

import torch

from hyena.configs.model import ModelConfig
from hyena.models.heads import LanguageModel


@dataclass(frozen=True)
class Cost:
    """Costs of a model over sequences of `length` tokens."""

    length: int
    """Tokens."""
    parameters: int
    """Trainable numbers; tied ones count once."""
    flops: int
    """Operations of one forward over one sequence."""
    state_bytes: int
    """Bytes one sequence must keep after `length` tokens to go on exactly."""


def cost(config: ModelConfig, length: int) -> Cost:
    """Costs of a language model over sequences of `length` tokens; each part says its own (`flops`, `state_bytes`)."""
    with torch.device("meta"):
        model = LanguageModel(config)
    return Cost(length, model.parameter_count(), model.flops(length), model.state_bytes(length))

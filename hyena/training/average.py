"""The moving average of the weights: smoother than the weights themselves, and often better on held-out data."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """a <- decay a + (1 - decay) w after each step n; decay is at most (1 + n) / (10 + n), so that the start is forgotten."""

    def __init__(self, model: nn.Module, decay: float):
        """Starts at the model's weights."""
        self.decay = decay
        self.weights = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """After step number `step` (from 1 on)."""
        share = 1 - min(self.decay, (1 + step) / (10 + step))
        for name, parameter in model.named_parameters():
            self.weights[name].lerp_(parameter, share)

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """Inside, the model has the averaged weights."""
        own: dict[str, Tensor] = {}
        for name, parameter in model.named_parameters():
            own[name], parameter.data = parameter.data, self.weights[name]
        try:
            yield
        finally:
            for name, parameter in model.named_parameters():
                parameter.data = own[name]

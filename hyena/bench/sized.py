"""Models of one size and different mixers, with random weights: what the measurements of whole models run."""

import torch

from hyena.configs.model import ModelConfig
from hyena.models import LanguageModel

VOCABULARY = 16
"""Symbols: as many as DNA models have, so that the head costs nothing."""


def model_of(letter: str, layers: int, width: int, max_length: int) -> LanguageModel:
    """`layers` blocks of one letter, in evaluation mode, in float32; a mixer has 4 width^2 weights whatever its letter."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = ModelConfig(
            pattern=layers * letter, width=width, vocab_size=VOCABULARY, max_length=max_length, beyond="extend"
        )
        return LanguageModel(config).eval()


def random_ids(length: int) -> torch.Tensor:
    """Tokens (1, length), always the same."""
    return torch.randint(VOCABULARY, (1, length), generator=torch.Generator().manual_seed(0))

"""Does it learn? Recall and copying to more than 99 %, which the same model without its long filters cannot."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hyena.configs.mixers import HyenaConfig, ImplicitFilterConfig, Mixers
from hyena.configs.model import ModelConfig
from hyena.configs.training import OptimizerConfig
from hyena.models import LanguageModel
from hyena.modules.hyena import Hyena
from hyena.training.optim import optimizer_for, set_rate
from hyena.training.schedule import rate
from tests.helpers import unchecked

SYMBOLS, LENGTH = 8, 16
KEYS, VALUES, PAIRS = 4, 4, 8
COPIED = 8
Task = Callable[[torch.Generator, int], tuple[Tensor, Tensor, Tensor]]


def recall(generator: torch.Generator, B: int) -> tuple[Tensor, Tensor, Tensor]:
    """Key value key value ...: within a sequence a key always has the same value. A known key's value is to be told.

    Returns ids (B, 2 PAIRS), targets of the same shape (-1: none), and where the key was last seen more than two pairs ago.
    """
    keys = torch.randint(KEYS, (B, PAIRS), generator=generator)
    values = torch.randint(VALUES, (B, KEYS), generator=generator).gather(1, keys)
    same = (keys[:, :, None] == keys[:, None, :]).tril(-1)
    known, recent = same.any(-1), same.triu(-2).any(-1)
    targets = torch.full((B, 2 * PAIRS), -1)
    targets[:, ::2] = torch.where(known, KEYS + values, -1)
    far = torch.zeros_like(targets, dtype=torch.bool)
    far[:, ::2] = known & ~recent
    return torch.stack([keys, KEYS + values], 2).flatten(1), targets, far


def copying(generator: torch.Generator, B: int) -> tuple[Tensor, Tensor, Tensor]:
    """A random word, then the word again, whose letters are to be told."""
    word = torch.randint(SYMBOLS, (B, COPIED), generator=generator)
    ids = torch.cat([word, word], 1)
    targets = torch.cat([torch.full((B, COPIED - 1), -1), word, torch.full((B, 1), -1)], 1)
    return ids, targets, targets >= 0


def model_for(pattern: str, frequency: float, memory: bool) -> LanguageModel:
    """A model of width 64; without memory its long filters are zero and stay so (the short convolutions remain)."""
    filter = ImplicitFilterConfig(features=17, width=32, frequency=frequency, window="none")
    mixers = Mixers(H=HyenaConfig(short_taps=3, filter=filter))
    model = LanguageModel(
        ModelConfig(pattern, 64, SYMBOLS, max_length=LENGTH, mlp_width=128, tied=False, init_std=0.1, mixers=mixers)
    )
    if not memory:
        for module in model.modules():
            if isinstance(module, Hyena):
                module.filter.out.weight.data.zero_()
                module.filter.requires_grad_(False)
    return model


def learn(model: LanguageModel, task: Task, steps: int) -> tuple[float, float]:
    """Train on fresh samples; returns the share of right answers on others: of all, and of those far back."""
    config = OptimizerConfig(lr=1e-2, filter_lr=1e-3, weight_decay=0.0)
    optimizer = optimizer_for(model, config)
    generator = torch.Generator().manual_seed(1)
    with unchecked():  # the annotations are checked by every other test
        for step in range(steps):
            set_rate(optimizer, rate(step, steps, config))
            ids, targets, _ = task(generator, 64)
            loss = F.cross_entropy(model(ids).flatten(0, 1), targets.flatten(), ignore_index=-1)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        ids, targets, far = task(torch.Generator().manual_seed(2), 512)
        with torch.no_grad():
            right = model.eval()(ids).argmax(-1) == targets
    return right[targets >= 0].float().mean().item(), right[far].float().mean().item()


@pytest.mark.parametrize(
    ("task", "pattern", "frequency", "steps"), [(copying, "H", 14.0, 100), (recall, "HH", 4.0, 150)], ids=["copying", "recall"]
)
def test_hyena_learns_what_takes_a_memory(task: Task, pattern: str, frequency: float, steps: int):
    overall, far = learn(model_for(pattern, frequency, memory=True), task, steps)
    assert overall > 0.99
    assert far > 0.99
    _, far = learn(model_for(pattern, frequency, memory=False), task, steps // 2)
    assert far < 0.4, "without long filters only a guess among 4 or 8 is left"

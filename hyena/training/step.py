"""One optimiser step: gradients of a step's batches, checked, clipped, applied."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from hyena.configs.training import RunConfig
from hyena.errors import HyenaError
from hyena.models import LanguageModel
from hyena.training.diagnose import first_nonfinite
from hyena.training.optim import set_rate
from hyena.training.schedule import rate, shape
from hyena.training.source import IGNORED, Source
from hyena.training.state import State


@dataclass(frozen=True)
class Step:
    """What a step reports."""

    loss: float
    """Mean nats per asked token, averaged over the parts of the step."""
    gradient_norm: float
    """Of all gradients together, before clipping."""
    rows: int
    length: int


def take_step(state: State, source: Source, config: RunConfig) -> Step:
    """Take the step after `state.step`. It is the same whatever came before it in this process.

    Raises `HyenaError` naming the first module that produced a number that is not finite; the weights are then as they were.
    """
    t, model = config.training, state.model
    model.train()
    set_rate(state.optimizer, rate(state.step, t.steps, config.optimizer))
    state.optimizer.zero_grad(set_to_none=True)
    rows, length = shape(state.step, config)
    loss = 0.0
    for number in range(state.step * t.accumulate, (state.step + 1) * t.accumulate):
        ids, targets = (x.to(model.device) for x in source.batch(number, rows, length))
        random = torch.get_rng_state()

        def part(ids: Tensor = ids, targets: Tensor = targets) -> Tensor:
            return _loss(model, ids, targets, t.precision) / t.accumulate

        value = part()
        if not value.isfinite():
            raise _error(f"the loss is {value.item()}", state, part, random)
        value.backward()
        loss += value.item()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.optimizer.clip or math.inf)
    if not norm.isfinite():
        # With several parts the last is looked at first, for its gradient is at hand.
        raise _error("the gradient is not finite", state, part, random)
    state.optimizer.step()
    state.step += 1
    if state.average is not None:
        state.average.update(model, state.step)
    return Step(loss, norm.item(), rows, length)


def _loss(model: LanguageModel, ids: Tensor, targets: Tensor, precision: str) -> Tensor:
    """Mean nats of the targets (B, L) of ids (B, L), where something is asked."""
    with torch.autocast(ids.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        logits = model(ids)
    return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED)


def _error(what: str, state: State, part: Callable[[], Tensor], random: Tensor) -> HyenaError:
    """Look for the culprit with the random numbers of the failed part."""
    torch.set_rng_state(random)
    where = first_nonfinite(state.model, part)
    return HyenaError(f"{what} at step {state.step + 1}: {where}; lower optimizer.lr or optimizer.clip, or check the data")

"""What changes over a run by plan: the learning rate, and the length of the sequences."""

import math

from hyena.configs.training import OptimizerConfig, RunConfig


def rate(step: int, steps: int, config: OptimizerConfig) -> float:
    """The fraction of the peak rate at a step from 0 on: a linear rise over `warmup`, then a cosine down to `floor`."""
    rise = round(config.warmup * steps)
    if step < rise:
        return (step + 1) / rise
    progress = (step - rise) / max(1, steps - 1 - rise)
    return config.floor + (1 - config.floor) * 0.5 * (1 + math.cos(math.pi * progress))


def shape(step: int, config: RunConfig) -> tuple[int, int]:
    """(rows, length) of each part of a step's batch: the length doubles from start_length on, rows times length stays.

    HyenaDNA's sequence-length warm-up (arXiv 2306.15794, section 3.2): many short sequences first, then fewer long ones.
    """
    t = config.training
    if t.start_length is None or t.start_length == config.length:
        return t.batch_size, config.length
    stages = (config.length // t.start_length).bit_length() - 1  # those before the full length
    stage = min(stages, math.floor(step / (t.start_fraction * t.steps) * stages))
    length = t.start_length << stage
    return t.batch_size * (config.length // length), length

"""Parameter groups and the learning-rate schedule."""

import math

import torch
from torch import nn

from hyena.configs.training import OptimizerConfig
from hyena.models.heads import Model
from hyena.modules.filters import ImplicitFilter
from hyena.modules.short_conv import ShortConv


def parameter_groups(model: nn.Module, config: OptimizerConfig) -> list[dict]:
    """Every parameter in exactly one group: `decay` (matrices), `plain` (norms, biases, skips, short taps), `filter`.

    Filters are smooth functions of position that weight decay would flatten; the published trainings exempt them too.
    Each group carries its `peak` rate, which the schedule scales.
    """
    filters = {id(p) for m in model.modules() if isinstance(m, ImplicitFilter) for p in m.parameters()}
    taps = {id(m.taps) for m in model.modules() if isinstance(m, ShortConv)}
    named: dict[str, list[nn.Parameter]] = {"decay": [], "plain": [], "filter": []}
    for parameter in model.parameters():
        if id(parameter) in filters:
            named["filter"].append(parameter)
        elif parameter.ndim >= 2 and id(parameter) not in taps:
            named["decay"].append(parameter)
        else:
            named["plain"].append(parameter)
    peaks = {"filter": config.filter_lr or config.lr}
    return [
        {
            "name": name,
            "params": parameters,
            "peak": peaks.get(name, config.lr),
            "weight_decay": config.weight_decay if name == "decay" else 0.0,
        }
        for name, parameters in named.items()
        if parameters
    ]


def optimizer_for(model: Model, config: OptimizerConfig) -> torch.optim.AdamW:
    """AdamW over the groups; its rates are set by `set_rate` before each step."""
    return torch.optim.AdamW(parameter_groups(model, config), lr=config.lr, betas=(config.beta1, config.beta2), fused=True)


def rate(step: int, steps: int, config: OptimizerConfig) -> float:
    """The fraction of the peak rate at a step from 0 on: a linear rise over `warmup`, then a cosine down to `floor`."""
    rise = round(config.warmup * steps)
    if step < rise:
        return (step + 1) / rise
    progress = (step - rise) / max(1, steps - 1 - rise)
    return config.floor + (1 - config.floor) * 0.5 * (1 + math.cos(math.pi * progress))


def set_rate(optimizer: torch.optim.Optimizer, fraction: float) -> None:
    """Set each group's rate to a fraction of its peak."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * fraction

"""Parameter groups, each with its own rate and decay, and the optimiser over them."""

import torch
from torch import nn

from hyena.configs.training import OptimizerConfig
from hyena.models.heads import Model
from hyena.modules.kept import KeptFilter
from hyena.modules.short_conv import ShortConv


def parameter_groups(model: nn.Module, config: OptimizerConfig) -> list[dict]:
    """Every parameter in exactly one group: `decay` (matrices), `plain` (norms, biases, skips, short taps), `filter`.

    Filters are smooth functions of position that weight decay would flatten; by default they have none, as published.
    Each group carries its `peak` rate, which the schedule scales.
    """
    filters = {id(p) for m in model.modules() if isinstance(m, KeptFilter) for p in m.parameters()}
    taps = {id(m.taps) for m in model.modules() if isinstance(m, ShortConv)}
    named: dict[str, list[nn.Parameter]] = {"decay": [], "plain": [], "filter": []}
    for parameter in model.parameters():
        if id(parameter) in filters:
            named["filter"].append(parameter)
        elif parameter.ndim >= 2 and id(parameter) not in taps:
            named["decay"].append(parameter)
        else:
            named["plain"].append(parameter)
    peaks = {"filter": config.filter_lr or config.lr / 3}
    decays = {"decay": config.weight_decay, "filter": config.filter_weight_decay}
    return [
        {
            "name": name,
            "params": parameters,
            "peak": peaks.get(name, config.lr),
            "weight_decay": decays.get(name, 0.0),
        }
        for name, parameters in named.items()
        if parameters
    ]


def optimizer_for(model: Model, config: OptimizerConfig) -> torch.optim.AdamW:
    """AdamW over the groups; its rates are set by `set_rate` before each step."""
    return torch.optim.AdamW(parameter_groups(model, config), lr=config.lr, betas=(config.beta1, config.beta2), fused=True)


def set_rate(optimizer: torch.optim.Optimizer, fraction: float) -> None:
    """Set each group's rate to a fraction of its peak."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * fraction


def describe(optimizer: torch.optim.Optimizer) -> list[str]:
    """A line a group: what is in it and how it is updated."""
    names = {"decay": "weight matrices", "plain": "norms, biases, skips, short filters", "filter": "long filters"}
    return [
        f"{names[group['name']]}: {sum(p.numel() for p in group['params']):,} numbers in {len(group['params'])} tensors, "
        f"rate {group['peak']:g}, weight decay {group['weight_decay']:g}"
        for group in optimizer.param_groups
    ]

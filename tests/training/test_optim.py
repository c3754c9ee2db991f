"""Which parameter is in which group, what the groups do to it, and the rate over a run."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hyena.configs.mixers import AttentionConfig, HyenaConfig, ImplicitFilterConfig, Mixers
from hyena.configs.training import OptimizerConfig
from hyena.models import Classifier, LanguageModel
from hyena.training.optim import optimizer_for, parameter_groups, set_rate
from hyena.training.schedule import rate
from tests.training.runs import MODEL

CONFIG = OptimizerConfig(lr=1e-2, filter_lr=3e-3, weight_decay=0.5)


def test_the_groups_of_a_layer_by_name():
    model = LanguageModel(MODEL.replace(tied=False, position_rows=32))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = {group["name"]: {names[id(p)] for p in group["params"]} for group in parameter_groups(model, CONFIG)}
    block = "backbone.blocks.0."
    assert groups == {
        "decay": {
            "backbone.embedding.weight",
            "backbone.positions.weight",
            f"{block}mixer.in_proj.weight",
            f"{block}mixer.out_proj.weight",
            f"{block}mlp.up_proj.weight",
            f"{block}mlp.down_proj.weight",
            "lm_head.weight",
        },
        "filter": {
            f"{block}mixer.filter.frequency",
            f"{block}mixer.filter.out.weight",
            *(f"{block}mixer.filter.layers.{i}.{part}" for i in range(3) for part in ("weight", "bias")),
        },
        "plain": {
            f"{block}mixer.in_proj.bias",
            f"{block}mixer.out_proj.bias",
            f"{block}mixer.short_conv.taps",
            f"{block}mixer.short_conv.bias",
            f"{block}mixer.skip",
            f"{block}mlp.up_proj.bias",
            f"{block}mlp.down_proj.bias",
            *(f"{norm}.{part}" for norm in (f"{block}mixer_norm", f"{block}mlp_norm") for part in ("weight", "bias")),
            "backbone.norm.weight",
            "backbone.norm.bias",
        },
    }


KNOBS = Mixers(
    H=HyenaConfig(order=3, order_scale=True, filter=ImplicitFilterConfig(features=5, width=8, train_features=True)),
    W=AttentionConfig(window=4),
)


@pytest.mark.parametrize(
    "model",
    [
        LanguageModel(MODEL.replace(pattern="HAW", mixers=KNOBS)),
        LanguageModel(MODEL.replace(pattern="HA", tied=False, norm="rms", mlp="gated")),
        LanguageModel(MODEL.replace(pattern="A")),
        Classifier(MODEL.replace(pattern="HH")),
    ],
    ids=["HAW", "untied", "attention", "classifier"],
)
def test_every_parameter_is_in_exactly_one_group(model: LanguageModel | Classifier):
    grouped = [id(p) for group in parameter_groups(model, CONFIG) for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters())


def test_the_peaks_and_decays_of_the_groups():
    model = LanguageModel(MODEL)
    groups = {group["name"]: (group["peak"], group["weight_decay"]) for group in parameter_groups(model, CONFIG)}
    assert groups == {"decay": (1e-2, 0.5), "plain": (1e-2, 0.0), "filter": (3e-3, 0.0)}
    groups = {group["name"]: group["peak"] for group in parameter_groups(model, OptimizerConfig(lr=1e-2))}
    assert groups == {"decay": 1e-2, "plain": 1e-2, "filter": 1e-2}


def test_without_a_gradient_weight_matrices_shrink_and_nothing_else_moves():
    model = LanguageModel(MODEL)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = optimizer_for(model, CONFIG)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    set_rate(optimizer, 0.5)
    optimizer.step()
    shrunk = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    assert {name.rsplit(".", 2)[-2] for name in shrunk} == {"embedding", "in_proj", "out_proj", "up_proj", "down_proj"}
    assert all(name.endswith("weight") for name in shrunk)
    for name, parameter in model.named_parameters():
        factor = 1 - 0.5 * 1e-2 * 0.5 if name in shrunk else 1.0
        torch.testing.assert_close(parameter.detach(), before[name] * factor)


def test_a_group_moves_at_its_own_rate():
    model = LanguageModel(MODEL).double()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = optimizer_for(model, OptimizerConfig(lr=1e-2, filter_lr=3e-3, weight_decay=0.0))
    assert {group["betas"] for group in optimizer.param_groups} == {(0.9, 0.98)}
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    set_rate(optimizer, 0.1)
    optimizer.step()
    # The first step of Adam is the rate itself, whatever the gradient's size.
    for name, parameter in model.named_parameters():
        moved = (before[name] - parameter.detach()).mean().item()
        assert moved == pytest.approx(3e-4 if ".filter." in name else 1e-3), name


def test_the_rate_by_hand():
    config = OptimizerConfig(warmup=0.3, floor=0.2)
    rates = [rate(step, 10, config) for step in range(10)]
    cosine = [0.2 + 0.8 * (1 + math.cos(math.pi * i / 6)) / 2 for i in range(7)]
    assert rates == pytest.approx([1 / 3, 2 / 3, 1.0, *cosine])
    assert cosine[0] == 1.0


@given(st.integers(1, 300), st.floats(0, 1), st.floats(0, 1))
def test_the_rate_rises_to_the_peak_and_falls_to_the_floor(steps: int, warmup: float, floor: float):
    config = OptimizerConfig(warmup=warmup, floor=floor)
    rates = [rate(step, steps, config) for step in range(steps)]
    rise = round(warmup * steps)
    assert rates[0] == pytest.approx(1 / max(1, rise))
    assert max(rates) == pytest.approx(1.0)
    assert all(a < b for a, b in pairwise(rates[:rise]))
    assert all(a >= b for a, b in pairwise(rates[rise:]))
    assert all(0 < value <= 1 for value in rates[:rise])
    assert all(floor - 1e-12 <= value <= 1 for value in rates[rise:])
    if steps - rise > 1:
        assert rates[-1] == pytest.approx(floor)


def test_a_run_of_one_step_runs_at_the_peak():
    assert rate(0, 1, OptimizerConfig()) == 1.0
    assert rate(0, 1, OptimizerConfig(warmup=1.0)) == 1.0

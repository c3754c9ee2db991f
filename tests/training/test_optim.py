"""Which parameter is in which group, and what the groups do to it."""

import pytest
import torch

from hyena.configs.mixers import AttentionConfig, HyenaConfig, ImplicitFilterConfig, Mixers
from hyena.configs.training import OptimizerConfig
from hyena.models import Classifier, LanguageModel
from hyena.training.optim import describe, optimizer_for, parameter_groups, set_rate
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
        LanguageModel(MODEL.replace(pattern="RSMLD")),
        Classifier(MODEL.replace(pattern="HH")),
    ],
    ids=["HAW", "untied", "attention", "gated convolutions", "classifier"],
)
def test_every_parameter_is_in_exactly_one_group(model: LanguageModel | Classifier):
    grouped = [id(p) for group in parameter_groups(model, CONFIG) for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters())


def test_the_peaks_and_decays_of_the_groups():
    model = LanguageModel(MODEL)
    groups = {group["name"]: (group["peak"], group["weight_decay"]) for group in parameter_groups(model, CONFIG)}
    assert groups == {"decay": (1e-2, 0.5), "plain": (1e-2, 0.0), "filter": (3e-3, 0.0)}
    groups = {group["name"]: group["peak"] for group in parameter_groups(model, OptimizerConfig(lr=1e-2))}
    assert groups == {"decay": 1e-2, "plain": 1e-2, "filter": pytest.approx(1e-2 / 3)}
    decaying = OptimizerConfig(weight_decay=0.5, filter_weight_decay=0.25)
    decays = {group["name"]: group["weight_decay"] for group in parameter_groups(model, decaying)}
    assert decays == {"decay": 0.5, "plain": 0.0, "filter": 0.25}


def test_the_groups_are_described_with_their_sizes_and_rates():
    model = LanguageModel(MODEL)
    lines = describe(optimizer_for(model, CONFIG))
    sizes = {group["name"]: sum(p.numel() for p in group["params"]) for group in parameter_groups(model, CONFIG)}
    assert f"weight matrices: {sizes['decay']:,} numbers in 5 tensors, rate 0.01, weight decay 0.5" in lines
    assert f"long filters: {sizes['filter']:,} numbers in 8 tensors, rate 0.003, weight decay 0" in lines
    assert len(lines) == 3


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

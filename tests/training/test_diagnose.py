"""A number that is not finite is traced to the module that produced it first, forward or backward."""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hyena.models import LanguageModel
from hyena.training.diagnose import first_nonfinite
from tests.training.runs import MODEL

IDS = torch.arange(20)[None]


@pytest.fixture
def model() -> LanguageModel:
    """Three layers, to find the right one of."""
    return LanguageModel(MODEL.replace(pattern="HAH"))


def loss_of(model: LanguageModel) -> Callable[[], Tensor]:
    """Its loss on some ids."""
    return lambda: F.cross_entropy(model(IDS[:, :-1]).flatten(0, 1), IDS[:, 1:].flatten())


def break_output(module: nn.Module, value: float) -> None:
    """The module's output has one number that is not finite."""

    def poison(_: nn.Module, __: object, output: Tensor) -> Tensor:
        return output.index_fill(-1, torch.tensor([0]), value)

    module.register_forward_hook(poison)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize(
    "name",
    ["backbone.blocks.0.mixer.in_proj", "backbone.blocks.1.mixer", "backbone.blocks.2.mlp.down_proj", "backbone.norm"],
)
def test_the_first_output(model: LanguageModel, name: str, value: float):
    break_output(model.get_submodule(name), value)
    assert name in first_nonfinite(model, loss_of(model))
    break_output(model, value)  # what comes later is not blamed
    found = first_nonfinite(model, loss_of(model))
    assert f"{name} (" in found
    assert "output is not finite" in found


def test_a_filter_that_overflows(model: LanguageModel):
    mixer = model.backbone.blocks[2].mixer
    mixer.filter.layers[-1].bias.data.fill_(0.1)  # times the frequency 14: a sine near 1 everywhere
    mixer.filter.out.weight.data.fill_(3e38)
    assert "backbone.blocks.2.mixer" in first_nonfinite(model, loss_of(model))


def test_a_broken_weight_goes_before_what_it_breaks(model: LanguageModel):
    model.backbone.blocks[1].mlp.up_proj.weight.data[3, 4] = math.nan
    found = first_nonfinite(model, loss_of(model))
    assert "the weight backbone.blocks.1.mlp.up_proj.weight is not finite" in found


def test_the_first_gradient_to_arrive(model: LanguageModel):
    def poison(_: nn.Module, __: object, output: Tensor) -> None:
        output.register_hook(lambda gradient: gradient * math.inf)

    model.backbone.blocks[1].mlp.register_forward_hook(poison)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    found = first_nonfinite(model, loss_of(model))
    assert "gradient" in found
    assert "backbone.blocks.1" in found
    assert all(bool((parameter.grad == 1).all()) for parameter in model.parameters()), "gradients are left as they were"


def test_a_gradient_that_only_a_parameter_sees(model: LanguageModel):
    model.backbone.blocks[0].mlp.up_proj.bias.register_hook(lambda gradient: gradient * math.nan)
    assert "the gradient of backbone.blocks.0.mlp.up_proj.bias" in first_nonfinite(model, loss_of(model))


def test_what_has_healed_is_said(model: LanguageModel):
    assert first_nonfinite(model, loss_of(model)) == "the same batch is finite now"
    assert not any(module._forward_hooks for module in model.modules()), "no hook stays behind"

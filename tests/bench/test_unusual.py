"""Each sentence is said of a model made to deserve it, names the layer, and is not said of the model before."""

from collections.abc import Callable

import pytest
import torch

from hyena.bench.inspect import inspect
from hyena.bench.unusual import unusual
from hyena.models import LanguageModel
from tests.models.small import ids, language_model


def healthy() -> LanguageModel:
    """Three layers with nothing to say about them."""
    return language_model("HAH", torch.float32)


def test_a_healthy_model():
    assert unusual(inspect(healthy(), ids())) == []


def zero_filters(model: LanguageModel) -> None:
    model.backbone.layers[2].mixer.filter.out.weight.data[:3] = 0


def quiet_filters(model: LanguageModel) -> None:
    model.backbone.layers[2].mixer.filter.out.weight.data[:3] *= 1e-5


def constant_filters(model: LanguageModel) -> None:
    filter = model.backbone.layers[2].mixer.filter
    filter.decay.data[4] = 0
    filter.layers[-1].weight.data.zero_()
    filter.layers[-1].bias.data.fill_(0.1)


def endless_filters(model: LanguageModel) -> None:
    model.backbone.layers[2].mixer.filter.decay.data.zero_()


def nan_weight(model: LanguageModel) -> None:
    model.backbone.layers[2].mlp.up_proj.weight.data[0, 0] = torch.nan


def nan_filter(model: LanguageModel) -> None:
    model.backbone.layers[2].mixer.filter.out.weight.data[0, 0] = torch.nan


def silent_mixer(model: LanguageModel) -> None:
    model.backbone.layers[2].mixer.out_proj.weight.data *= 1e-5
    model.backbone.layers[2].mixer.out_proj.bias.data.zero_()


def silent_mlp(model: LanguageModel) -> None:
    for parameter in model.backbone.layers[2].mlp.down_proj.parameters():
        parameter.data.zero_()


def growing_stream(model: LanguageModel) -> None:
    model.backbone.layers[2].mlp.down_proj.weight.data *= 1e3


def loud_stream(model: LanguageModel) -> None:
    model.backbone.layers[2].mlp.down_proj.weight.data *= 1e6


def zero_gate(model: LanguageModel) -> None:
    mixer = model.backbone.layers[2].mixer
    for tensor in (mixer.short_conv.taps, mixer.short_conv.bias):
        tensor.data[16:32] = 0  # x1


def alike_taps(model: LanguageModel) -> None:
    model.backbone.layers[2].mixer.short_conv.taps.data[:2] = 0.5


CASES: list[tuple[Callable[[LanguageModel], None], str]] = [
    (zero_filters, "layer 2: 3 of 32 long filters are nearly zero"),
    (quiet_filters, "layer 2: 3 of 32 long filters are nearly zero"),
    (constant_filters, "layer 2: 1 of 32 long filters are constant"),
    (endless_filters, "of 32 long filters never decay"),
    (nan_weight, "backbone.blocks.2.mlp.up_proj.weight holds 1 number(s) that are NaN or infinite"),
    (nan_weight, "layer 2: the stream leaving it holds numbers that are not finite"),
    (nan_filter, "layer 2: 1 of 32 long filters hold numbers that are not finite"),
    (silent_mixer, "layer 2: the mixer's output vanishes against the stream"),
    (silent_mlp, "layer 2: the MLP's output vanishes against the stream"),
    (growing_stream, "times louder in this one block"),
    (loud_stream, "layer 2: the stream's largest number is"),
    (zero_gate, "layer 2: gate x1 is zero throughout"),
    (alike_taps, "layer 2: 2 of 64 channels of the short convolution have taps alike"),
]


@pytest.mark.parametrize(("spoil", "sentence"), CASES, ids=lambda case: getattr(case, "__name__", case))
def test_it_is_said(spoil: Callable[[LanguageModel], None], sentence: str):
    model = healthy()
    spoil(model)
    found = unusual(inspect(model, ids()))
    assert any(sentence in line for line in found), found
    assert not any("\n" in line for line in found)
    assert not any(line.startswith(("layer 0", "layer 1")) for line in found)


def test_a_few_filters_that_are_loud_late_are_not_worth_a_sentence():
    model = healthy()
    constant_filters(model)
    found = inspect(model, ids())
    assert found.layers[2].filters.undecayed == 1
    assert not any("never decay" in line for line in unusual(found))

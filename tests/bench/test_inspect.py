"""`hyena.inspect`: every kind of model, what is in its numbers, and that the JSON holds them all."""

import json

import numpy as np
import pytest
import torch

import hyena
from hyena.bench.inspect import LENGTH, inspect, not_finite, pick, random_ids, window_length
from hyena.bench.signals import norms
from hyena.bench.unusual import unusual
from hyena.configs.mixers import LETTERS
from hyena.models import LanguageModel
from tests.models.small import classifier, ids, language_model, small


def test_it_is_public():
    assert hyena.inspect is inspect


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("build", [language_model, classifier])
def test_every_letter_head_and_dtype(build: object, dtype: torch.dtype):
    model = build("HAWRSMLD", dtype)
    found = inspect(model)
    assert (found.kind, found.dtype) == (model.kind, str(dtype).removeprefix("torch."))
    assert (found.windows, found.length, found.source) == (4, 64, "random legal ids")
    assert [layer.letter for layer in found.layers] == list("HAWRSMLD")
    assert [layer.mixer for layer in found.layers] == [LETTERS[letter] for letter in "HAWRSMLD"]
    assert [layer.filters is None for layer in found.layers] == [False, True, True, *5 * [False]]
    assert [layer.short_conv is None for layer in found.layers] == [False, True, True, *4 * [False], True]
    assert not found.not_finite
    values = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert [layer["index"] for layer in values["layers"]] == list(range(8))
    assert "measure" not in values["layers"][0]


def test_the_filters_are_those_of_the_mixer():
    model = language_model("AH")
    mixer = model.backbone.layers[1].mixer
    mixer.order_scale.data = torch.tensor([2.0, 0.5]).double()
    taps = mixer.filter(64).detach().numpy() * np.repeat([2.0, 0.5], 16)[:, None]
    layer = inspect(model).layers[1]
    f = layer.filters
    assert (f.filters, f.taps) == (32, 64)
    assert f.norm.median == pytest.approx(np.median(np.linalg.norm(taps, axis=1)), rel=1e-12)
    assert f.norm.maximum == pytest.approx(np.linalg.norm(taps, axis=1).max(), rel=1e-12)
    assert len(f.sample) == 5
    for row, values in f.sample.items():
        assert values == pytest.approx(taps[int(row)])
    reaches = [layer.measure.reach[int(row)] for row in f.sample]
    assert reaches == sorted(reaches)
    assert (reaches[0], reaches[-1]) == (f.reach.minimum, f.reach.maximum)
    assert f.envelope["lag"][0] == 0
    assert f.envelope["median"][0] == pytest.approx(np.median(np.abs(taps[:, 0])))
    assert f.frequency.median == pytest.approx(5)
    assert layer.skip.maximum == pytest.approx(float(mixer.skip.detach().abs().max()))


def test_the_short_convolution():
    model = language_model("H")
    taps = model.backbone.layers[0].mixer.short_conv.taps.data
    taps[:5] = 0.3
    taps[7] = 0
    s = inspect(model).layers[0].short_conv
    assert (s.channels, s.taps, s.alike) == (4 * 16, 3, 6)
    assert s.rms == pytest.approx(taps.square().mean(0).sqrt().tolist())


def test_the_norms_are_on_the_ids_given():
    model, tokens = language_model("HA"), ids(3, 21)
    found = inspect(model, tokens, "my data")
    assert (found.windows, found.length, found.source) == (3, 21, "my data")
    assert [layer.norms for layer in found.layers] == norms(model, tokens)


def test_progress():
    seen: list[tuple[str, int, int]] = []
    inspect(language_model("HA"), ids(2, 5), report=lambda *step: seen.append(step))
    assert seen == [("window", 1, 2), ("window", 2, 2), ("layer", 1, 2), ("layer", 2, 2)]


def test_random_ids_are_legal_and_always_the_same():
    dna = hyena.ModelConfig(pattern="H", width=8, vocab_size=12, max_length=500, tokenizer="dna")
    assert random_ids(dna).unique().tolist() == [7, 8, 9, 10]
    assert torch.equal(random_ids(dna), random_ids(dna))
    assert random_ids(small(vocab_multiple=8)).unique().tolist() == list(range(10)), "padding rows are no tokens"
    assert random_ids(dna, 2, 30).shape == (2, 30)


def test_windows_are_no_longer_than_the_model_takes():
    assert window_length(small(max_length=10**6)) == LENGTH
    assert window_length(small(max_length=100)) == 100
    assert window_length(small(max_length=100, position_rows=7)) == 7
    assert window_length(small(), 3) == 3


def test_a_broken_weight_is_named_and_the_rest_still_measured():
    model = language_model("HAH")
    model.backbone.layers[2].mixer.filter.out.weight.data[3, 0] = torch.nan
    model.backbone.layers[1].mlp.up_proj.bias.data[:2] = torch.inf
    found = inspect(model)
    expected = {"backbone.blocks.1.mlp.up_proj.bias": 2, "backbone.blocks.2.mixer.filter.out.weight": 1}
    assert found.not_finite == not_finite(model) == expected
    assert found.layers[2].filters.not_finite == 1
    assert found.layers[0].filters.not_finite == 0
    json.dumps(found.to_dict(), allow_nan=False)


def test_a_model_of_zeros_has_no_reach():
    model = language_model("H")
    for parameter in model.parameters():
        parameter.data.zero_()
    f = inspect(model).layers[0].filters
    assert f.reach is None
    assert f.tail is None
    assert f.zero == 32
    assert f.sample == {}


def test_a_long_grid_is_never_held_at_once(monkeypatch: pytest.MonkeyPatch):
    model = LanguageModel(small("H", max_length=200_000)).eval()
    mixer = model.backbone.layers[0].mixer
    sizes: list[int] = []
    section = type(mixer.filter).section
    monkeypatch.setattr(
        type(mixer.filter), "section", lambda self, a, b: (sizes.append((b - a) * self.groups), section(self, a, b))[1]
    )
    found = inspect(model, ids(1, 50))
    assert max(sizes) <= 2**22
    assert sum(sizes) == 200_000 * 32
    assert found.layers[0].filters.taps == 200_000


def test_pick_is_even_and_leaves_out_what_has_no_reach():
    reach = np.array([5.0, np.nan, 1.0, 3.0, 9.0])
    assert pick(reach, 2) == [2, 4]
    assert pick(reach, 99) == [2, 3, 0, 4]
    assert pick(np.array([np.nan]), 3) == []


def test_a_fresh_model_of_the_demonstration_is_not_unusual():
    from hyena.configs.runs import demo

    config = demo("runs/x", "x").model
    assert unusual(inspect(LanguageModel(config), ids(1, 64))) == []

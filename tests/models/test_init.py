"""The table of initial values, by statistics."""

import math
import re

import pytest
import torch

from hyena.configs.mixers import HyenaConfig, ImplicitFilterConfig, Mixers
from hyena.configs.model import ModelConfig
from hyena.models import Classifier, LanguageModel
from tests import tolerances

STD, LAYERS = 0.05, 4
INTO_STREAM = STD / math.sqrt(2 * LAYERS)
TABLE = [  # the first pattern that fits a name decides: standard deviation, or the constant value
    (r"(out_proj|down_proj)\.weight", ("std", INTO_STREAM)),
    (r"norm\.weight", ("value", 1.0)),
    (r"short_conv\.(taps|bias)", ("uniform", 1 / math.sqrt(3))),
    (r"\.skip", ("std", 1.0)),
    (r"\.order_scale", ("value", 1.0)),
    (r"filter\.frequency", ("value", 5.0)),
    (r"\.bias", ("value", 0.0)),
    (r"\.weight", ("std", STD)),
]


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    """Wide enough for statistics, with every kind of parameter."""
    torch.manual_seed(1)
    mixers = Mixers(H=HyenaConfig(order=3, order_scale=True, short_taps=3, filter=ImplicitFilterConfig(init_std=None)))
    return LanguageModel(ModelConfig("HAWH", 96, 200, init_std=STD, position_rows=300, tied=False, mixers=mixers))


def test_every_parameter_starts_as_the_table_says(model: LanguageModel):
    for name, parameter in model.named_parameters():
        kind, wanted = next(row for pattern, row in TABLE if re.search(pattern + "$", name))
        values = parameter.detach()
        if kind == "value":
            assert (values == wanted).all(), name
        elif kind == "uniform":
            assert values.abs().max() <= wanted, name
            assert_close_to(values.std().item(), wanted / math.sqrt(3), values.numel(), name)
        else:
            assert_close_to(values.std().item(), wanted, values.numel(), name)
            assert abs(values.mean().item()) < 5 * wanted / math.sqrt(values.numel()), name


def assert_close_to(found: float, wanted: float, draws: int, name: str) -> None:
    """A standard deviation, within five of its own."""
    assert abs(found / wanted - 1) < max(tolerances.STATISTICS["rtol"], 5 / math.sqrt(2 * draws)), name


@pytest.mark.parametrize("width", [16, 768])
def test_without_a_deviation_it_follows_the_width(width: int):
    config = ModelConfig("H", width, 50)
    assert config.initial_std == pytest.approx(math.sqrt(2 / (5 * width)))
    model = LanguageModel(config)
    mixer = model.backbone.blocks[0].mixer
    assert_close_to(mixer.in_proj.weight.std().item(), config.initial_std, mixer.in_proj.weight.numel(), "in_proj")
    assert_close_to(mixer.filter.out.weight.std().item(), 0.02, mixer.filter.out.weight.numel(), "filter")


def test_gated_mlps_too():
    model = LanguageModel(ModelConfig("AA", 96, 50, mlp="gated", init_std=STD))
    mlp = model.backbone.blocks[0].mlp
    assert_close_to(mlp.gate_proj.weight.std().item(), STD, 96 * 384, "gate_proj")
    assert_close_to(mlp.down_proj.weight.std().item(), STD / 2, 96 * 384, "down_proj")


def test_output_projections_of_stripedhyena_2():
    model = LanguageModel(ModelConfig("SMLA", 128, 50, mlp="gated", out_init="wang"))
    for block in model.backbone.blocks:
        for linear in (block.mixer.out_proj, block.mlp.down_proj):
            assert_close_to(linear.weight.std().item(), 2 / (4 * math.sqrt(128)), linear.weight.numel(), "into the stream")


def test_filters_keep_their_own_beginning():
    model = LanguageModel(ModelConfig("SML", 256, 50, init_std=STD))
    S, M, L = (block.mixer.filter for block in model.backbone.blocks)
    assert_close_to(S.taps.std().item(), 1 / math.sqrt(21), S.taps.numel(), "SE")
    assert_close_to(M.taps.std().item(), 1 / math.sqrt(8192), M.taps.numel(), "MR")
    assert (L.p == -1).all()


def test_a_classifiers_map_starts_like_the_others():
    model = Classifier(ModelConfig("A", 128, 50, init_std=STD), classes=40)
    assert_close_to(model.score.weight.std().item(), STD, 128 * 40, "score")
    assert not model.score.bias.any()


def test_a_seed_gives_the_same_model():
    models = []
    for _ in range(2):
        torch.manual_seed(7)
        models.append(LanguageModel(ModelConfig("HA", 16, 10)).state_dict())
    assert all(torch.equal(models[0][name], models[1][name]) for name in models[0])


def test_a_filters_own_deviation_goes_before():
    filter = ImplicitFilterConfig(features=65, width=64, init_std=0.3)
    model = LanguageModel(ModelConfig("H", 96, 50, init_std=STD, mixers=Mixers(H=HyenaConfig(filter=filter))))
    mixer = model.backbone.blocks[0].mixer
    for linear in [*mixer.filter.layers, mixer.filter.out]:
        assert_close_to(linear.weight.std().item(), 0.3, linear.weight.numel(), "filter")
    assert_close_to(mixer.in_proj.weight.std().item(), STD, mixer.in_proj.weight.numel(), "in_proj")

"""The presets have the published parameter counts, and reading configurations needs no PyTorch."""

import pytest
import torch

from hyena.configs import presets
from hyena.configs.model import ModelConfig
from hyena.models import LanguageModel
from tests.helpers import python

EXACT = {
    "hyenadna_tiny_1k": 436_096,
    "hyenadna_tiny_1k_d256": 1_641_088,
    "hyenadna_tiny_16k": 436_096,
    "hyenadna_small_32k": 3_277_568,
    "hyenadna_medium_160k": 6_550_528,
    "hyenadna_medium_450k": 6_550_528,
    "hyenadna_large_1m": 6_550_528,
}
MILLIONS = {  # arXiv 2302.10866, and the configurations of its repository
    ("hyena_125m", 2): 124.5,
    ("hyena_125m", 3): 132.2,
    ("hyena_125m_slim", 2): 124.9,
    ("hyena_125m_slim", 3): 136.5,
    ("hyena_153m", 2): 152.5,
    ("hyena_355m", 2): 357.1,
    ("hyena_1b3", 2): 1318.0,
}
PRESETS = {name: getattr(presets, name) for name in vars(presets) if name.startswith("hyena")}


def preset(name: str, order: int) -> ModelConfig:
    """A language model of the paper."""
    return PRESETS[name](order) if order != 2 else PRESETS[name]()


def count(config: ModelConfig) -> int:
    """Parameters, without allocating them."""
    with torch.device("meta"):
        return LanguageModel(config).parameter_count()


def closed_form(c: ModelConfig) -> int:
    """Parameters of an order-N Hyena language model with a tied head, part by part."""
    h, D, n = c.mixers.H, c.width, len(c.layers)
    N, K, E, W, m = h.order, h.short_taps, h.filter.features, h.filter.width, h.filter.inner_layers
    mixer = (N + 1) * D * D + (N + 1) * D + (K + 1) * (N + 1) * D + D * D + D
    filters = E * W + W + m * (W * W + W) + W * D * (N - 1) + W + D * (N - 1)
    mlp = 2 * D * c.hidden + c.hidden + D
    return c.rows * D + n * (mixer + filters + mlp + 4 * D) + 2 * D


def test_every_preset_has_a_published_count():
    assert set(PRESETS) == set(EXACT) | {name for name, _ in MILLIONS}


@pytest.mark.parametrize("name", EXACT)
def test_hyenadna_has_exactly_the_released_parameters(name: str):
    assert count(PRESETS[name]()) == closed_form(PRESETS[name]()) == EXACT[name]


@pytest.mark.parametrize(("name", "order"), MILLIONS)
def test_the_language_models_have_the_published_parameters(name: str, order: int):
    config = preset(name, order)
    assert count(config) == closed_form(config)
    published = MILLIONS[name, order]
    assert abs(count(config) / 1e6 - published) <= (0.5 if published > 1000 else 0.05)  # as many digits as were printed


@pytest.mark.parametrize(
    ("name", "depth", "width", "hidden"),
    [
        ("hyena_125m", 12, 768, 3072),
        ("hyena_125m_slim", 18, 768, 1536),
        ("hyena_153m", 18, 864, 1728),
        ("hyena_355m", 36, 1024, 2048),
        ("hyena_1b3", 36, 2048, 4096),
    ],
)
def test_the_language_models_have_the_published_shapes(name: str, depth: int, width: int, hidden: int):
    config = PRESETS[name]()
    filter = config.mixers.H.filter
    assert (config.layers, config.width, config.hidden, config.rows) == (depth * "H", width, hidden, 50264)
    assert (filter.features, filter.width, filter.inner_layers, filter.frequency) == (33, 64, 2, 14.0)


def test_trained_features_count_too():
    config = presets.hyena_153m()
    filter = {"filter": config.to_dict()["mixers"]["H"]["filter"] | {"train_features": True}}
    trained = ModelConfig.from_dict(config.to_dict() | {"mixers": {"H": config.to_dict()["mixers"]["H"] | filter}})
    assert count(trained) == count(config) + 18 * 2048 * 33  # 153.7 M


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_goes_through_a_file(name: str):
    config = PRESETS[name]()
    assert ModelConfig.from_dict(config.to_dict()) == config


def test_configurations_know_no_torch():
    script = "import sys, hyena.configs.presets, hyena.configs.files; print('torch' in sys.modules, 'numpy' in sys.modules)"
    assert python(script) == "False False"

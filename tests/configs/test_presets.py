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
STRIPED = {  # StripedHyena 1 and 2; None where nothing exact was published
    "sh_7b": 7_646_023_680,
    "evo1_8k": 6_452_781_056,
    "evo1_131k": 6_452_781_056,
    "evo2_50m": 56_361_920,
    "evo2_100m": 106_818_816,
    "evo2_1b": 1_107_989_760,
    "evo2_7b_base": 6_481_059_584,
    "evo2_7b_262k": 6_481_059_584,
    "evo2_7b": 6_581_722_880,
    "evo2_20b": 19_738_780_160,
    "evo2_40b_base": 40_331_142_144,
    "evo2_40b": 41_117_574_144,
}
INDICES = {  # layers of attention, LI, MR and SE, as the published configurations list them
    "evo2_1b": ("3 10 17 24", "2 6 9 13 16 20 23", "1 5 8 12 15 19 22", "0 4 7 11 14 18 21"),
    "evo2_7b": ("3 10 17 24 31", "2 6 9 13 16 20 23 27 30", "1 5 8 12 15 19 22 26 29", "0 4 7 11 14 18 21 25 28"),
    "evo2_20b": ("3 10 17", "2 6 9 13 16 20 23", "1 5 8 12 15 19 22", "0 4 7 11 14 18 21"),
    "evo2_40b": (
        "3 10 17 24 31 35 42 49",
        "2 6 9 13 16 20 23 27 30 34 38 41 45 48",
        "1 5 8 12 15 19 22 26 29 33 37 40 44 47",
        "0 4 7 11 14 18 21 25 28 32 36 39 43 46",
    ),
    "evo2_50m": ("3 10", "2 6 9", "1 5 8", "0 4 7"),
    "evo2_100m": ("3 10 14", "2 6 9 13", "1 5 8 12", "0 4 7 11"),
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
PRESETS = {name: getattr(presets, name) for name in vars(presets) if name.startswith(("hyena", "sh_", "evo"))}


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


def shapes(c: ModelConfig) -> int:
    """Parameters of a StripedHyena, tensor by tensor as its checkpoint lists them."""
    D, A, mixers = c.width, c.mixers.A, 0
    for letter in c.layers:
        mixers += 2 * D + 3 * D * c.hidden  # norms and the three maps of the MLP
        if letter == "A":
            rows = D + 2 * D // A.heads * (A.kv_heads or A.heads)
            mixers += rows * D + (rows if A.qkv_bias else 0) + D * D + (D if A.out_bias else 0)
            continue
        mixer = c.mixer(letter)
        mixers += 3 * D * D + 3 * D * 3 + D * D + D  # projections, short filter, output with its bias
        if letter == "R":
            mixers += 3 * D + 3 * D + D + 2 * 2 * D * mixer.filter.order  # two biases, skip, poles and residues
        elif letter == "L":
            mixers += D + 2 * D * 16  # skip, log poles and residues
        else:
            mixers += mixer.filter.groups * mixer.filter.taps + (D if letter == "M" else 0)
    return (1 if c.tied else 2) * c.rows * D + D + mixers


@pytest.mark.parametrize("name", STRIPED)
def test_a_striped_hyena_has_exactly_the_parameters_of_its_shapes(name: str):
    assert count(PRESETS[name]()) == shapes(PRESETS[name]()) == STRIPED[name]


@pytest.mark.parametrize(
    ("name", "billions"), [("evo2_1b", 1.108), ("evo2_7b_base", 6.481), ("evo2_7b", 6.582), ("evo2_40b", 41.12)]
)
def test_and_as_many_as_were_published(name: str, billions: float):
    assert abs(STRIPED[name] / 1e9 - billions) < 0.5 * 10.0 ** -(2 if billions > 10 else 3)


@pytest.mark.parametrize("name", INDICES)
def test_a_layer_has_the_published_mixer(name: str):
    layers = PRESETS[name]().layers
    for letter, wanted in zip("ALMS", INDICES[name], strict=True):
        assert [i for i, found in enumerate(layers) if found == letter] == [int(i) for i in wanted.split()]


def test_the_layers_of_stripedhyena_1_are_as_published():
    assert [i for i, letter in enumerate(PRESETS["sh_7b"]().layers) if letter == "A"] == list(range(1, 32, 2))
    assert [i for i, letter in enumerate(PRESETS["evo1_8k"]().layers) if letter == "A"] == [8, 16, 24]
    assert len(PRESETS["evo1_131k"]().layers) == 32


@pytest.mark.parametrize(
    ("name", "base", "scale", "heads"),
    [
        ("sh_7b", 5e5, 1, 32),
        ("evo1_8k", 1e4, 1, 32),
        ("evo1_131k", 1e4, 16, 32),
        ("evo2_1b", 1e4, 1, 15),
        ("evo2_7b_base", 1e4, 1, 32),
        ("evo2_7b_262k", 1e4, 32, 32),
        ("evo2_7b", 1e4, 128, 32),
        ("evo2_20b", 1e6, 128, 64),
        ("evo2_40b_base", 1e6, 1, 64),
        ("evo2_40b", 1e6, 128, 64),
    ],
)
def test_rotary_positions_are_as_published(name: str, base: float, scale: float, heads: int):
    A = PRESETS[name]().mixers.A
    assert (A.rotary_base, A.rotary_scale, A.heads) == (base, scale, heads)


def test_every_preset_has_a_published_count():
    assert set(PRESETS) == set(EXACT) | set(STRIPED) | {name for name, _ in MILLIONS}


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

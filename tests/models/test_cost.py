"""Costs: parameters, operations against PyTorch's own counter, bytes of state."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from hyena.configs.mixers import Mixers
from hyena.models import Classifier, LanguageModel, cost
from hyena.models.cost import Cost
from hyena.ops.plan import conv_flops
from tests.models.small import HYBRIDS, STRIPED, ids, small


def counted(model: LanguageModel | Classifier, L: int) -> int:
    """Operations of matrix products and convolutions as PyTorch counts them; attention as two products."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        model(ids(1, L))
    return counter.get_total_flops()


@pytest.mark.parametrize("L", [20, 40])
@pytest.mark.parametrize(
    "options", [{}, {"mlp": "gated", "norm": "rms"}, {"mlp_width": 40, "tied": False, "vocab_multiple": 8}], ids=str
)
@pytest.mark.parametrize("pattern", ["A", "W", "AWA"])
def test_operations_of_attention_are_those_that_pytorch_counts(pattern: str, options: dict[str, object], L: int):
    model = LanguageModel(small(pattern, **options))  # L is a multiple of W's window, whose last block is then full
    assert model.flops(L) == counted(model, L)


@pytest.mark.parametrize("L", [1, 7, 64])
def test_operations_of_hyena_are_those_that_pytorch_counts_and_the_convolutions(L: int):
    model = LanguageModel(small("HH"))
    # Two blocks of order 3: each has two long convolutions and three gates of 16 channels, and four streams of 3 short taps.
    uncounted = 2 * (2 * conv_flops(1, 16, L, L, 16) + 3 * 16 * L + 2 * 4 * 16 * 3 * L)
    assert model.flops(L) == counted(model, L) + uncounted


def gated_convolutions(model: LanguageModel, L: int) -> int:
    """What PyTorch does not count as products: convolutions by the convention, gates, products of taps with their decay."""
    total, D = 0, model.config.width
    for letter in model.config.layers.replace("A", ""):
        config = model.config.mixer(letter)
        total += 2 * 3 * D * config.short_taps * L + 2 * D * L
        if letter in "RL":
            total += conv_flops(1, D, L, L, D)
            continue
        K = min(L, config.filter.taps)
        total += 2 * D * K * L + (0 if config.filter.decay == "none" else (config.filter.groups or D) * K)
    return total


@pytest.mark.parametrize("mixers", [STRIPED, Mixers()], ids=["published", "defaults"])
@pytest.mark.parametrize("pattern", ["SMLA SMLA", "RRAR", "DSAD"])
@pytest.mark.parametrize("L", [1, 32, 64])  # the taps of modal filters are made in squares
def test_operations_of_hybrids_are_those_that_pytorch_counts_and_the_convolutions(pattern: str, mixers: Mixers, L: int):
    model = LanguageModel(small(pattern, mixers=mixers, mlp="gated", norm="rms_outside"))
    assert model.flops(L) == counted(model, L) + gated_convolutions(model, L)


def test_a_classifier_maps_once_a_sequence():
    model = Classifier(small("A"), classes=3)
    assert model.flops(20) == counted(model, 20)


@pytest.mark.parametrize("pattern", ["H", "HAW", "RSMLD", *HYBRIDS])
def test_cost_is_the_models_own(pattern: str):
    config = small(pattern)
    model = LanguageModel(config)
    assert cost(config, 50) == Cost(50, model.parameter_count(), model.flops(50), model.state_bytes(50))


def test_state_is_the_sum_over_the_mixers():
    model = LanguageModel(small("HAW"))
    assert model.state_bytes(50) == 8 + sum(block.mixer.state_bytes(50) for block in model.backbone.blocks)


def test_parameters_count_once_and_buffers_never():
    model = LanguageModel(small("HA"))
    assert model.parameter_count() == sum(p.numel() for p in set(model.parameters()))
    assert model.parameter_count() < sum(t.numel() for t in model.state_dict().values())


def test_a_huge_model_costs_no_memory():
    huge = small(100 * "H", width=8192, vocab_size=10**6)
    assert cost(huge, 64).parameters > 10**10
    assert torch.empty(0).device.type == "cpu"  # the default device is what it was

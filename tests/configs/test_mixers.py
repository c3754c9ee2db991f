"""The options of the mixers: defaults as published, and values without a meaning refused."""

from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest

from hyena.configs.filters import ExplicitFilterConfig, ImplicitFilterConfig, ModalFilterConfig, RealModalFilterConfig
from hyena.configs.mixers import (
    LETTERS,
    AttentionConfig,
    ExplicitConvConfig,
    GatedConvConfig,
    HyenaConfig,
    Mixers,
    RealModalConvConfig,
    letters,
)
from tests.helpers import refused


def test_the_defaults_are_the_winners_of_the_ablation():
    config = HyenaConfig()
    assert (config.order, config.short_taps, config.activation, config.skip) == (2, 3, "identity", True)
    filter = config.filter
    assert (filter.features, filter.width, filter.inner_layers, filter.frequency) == (33, 64, 2, 5.0)
    assert (filter.window, filter.decay_target, filter.fast_decay, filter.slow_decay, filter.shift) == (
        "exponential",
        1e-2,
        0.03,
        1.5,
        0.0,
    )
    assert filter.init_std == 0.02


WRONG: dict[str, tuple[type, dict[str, Any], list[str]]] = {
    "even features": (ImplicitFilterConfig, {"features": 4}, ["features is 4", "odd"]),
    "one feature": (ImplicitFilterConfig, {"features": 1}, ["features is 1", "at least 3"]),
    "no width": (ImplicitFilterConfig, {"width": 0}, ["width 0"]),
    "negative layers": (ImplicitFilterConfig, {"inner_layers": -1}, ["inner_layers -1"]),
    "no decay": (ImplicitFilterConfig, {"decay_target": 0.0}, ["decay_target is 0.0", "above 0"]),
    "negative fast decay": (ImplicitFilterConfig, {"fast_decay": -0.1}, ["fast_decay is -0.1", "above 0"]),
    "no slow decay": (ImplicitFilterConfig, {"slow_decay": 0.0}, ["slow_decay is 0.0", "above 0"]),
    "order 1": (HyenaConfig, {"order": 1}, ["order is 1", "order 2"]),
    "no short tap": (HyenaConfig, {"short_taps": 0}, ["short_taps is 0", "at least 1"]),
    "no pole": (ModalFilterConfig, {"order": 0}, ["modal order is 0", "at least 1"]),
    "negative head": (ModalFilterConfig, {"head": -1}, ["modal head is -1", "0 for none"]),
    "poles outside": (ModalFilterConfig, {"r_max": 1.0}, ["r_max 1.0", "< 1"]),
    "poles crossed": (ModalFilterConfig, {"r_min": 0.9999}, ["r_min is 0.9999", "r_min <= r_max"]),
    "negative short taps of R": (GatedConvConfig, {"short_taps": -1}, ["short_taps is -1", "0 for no"]),
    "negative short taps of S": (ExplicitConvConfig, {"short_taps": -1}, ["short_taps is -1", "0 for no"]),
    "negative short taps of L": (RealModalConvConfig, {"short_taps": -1}, ["short_taps is -1", "0 for no"]),
    "no tap": (ExplicitFilterConfig, {"taps": 0}, ["filter.taps is 0", "at least 1"]),
    "no group": (ExplicitFilterConfig, {"taps": 3, "groups": 0}, ["filter.groups is 0", "divisor"]),
    "no length": (ExplicitFilterConfig, {"taps": 3, "decay": "weak", "decay_length": 1}, ["decay_length is 1", "at least 2"]),
    "a length of nothing": (ExplicitFilterConfig, {"taps": 3, "decay_length": 9}, ["decay_length is 9", "'none'"]),
    "no real pole": (RealModalFilterConfig, {"order": 0}, ["modal order is 0", "at least 1"]),
    "no scale": (AttentionConfig, {"rotary_scale": 0.0}, ["rotary_scale is 0.0", "above 0"]),
    "no window": (AttentionConfig, {"window": 0}, ["window is 0", "at least 1"]),
    "odd rotation": (AttentionConfig, {"rotary_width": 3}, ["rotary_width is 3", "even"]),
    "negative rotation": (AttentionConfig, {"rotary_width": -2}, ["rotary_width is -2", "even"]),
    "all dropped": (HyenaConfig, {"dropout": 1.0}, ["dropout is 1.0", "not including, 1"]),
    "negative dropout": (AttentionConfig, {"dropout": -0.5}, ["dropout is -0.5", "from 0"]),
    "no base": (AttentionConfig, {"rotary_base": 0.0}, ["rotary_base is 0.0", "above 0"]),
    "A with a window": (Mixers, {"A": AttentionConfig(window=3)}, ["mixers.A.window is 3", "letter W"]),
    "W without one": (Mixers, {"W": AttentionConfig()}, ["mixers.W.window", "letter A"]),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_values_without_a_meaning_are_refused(case: str):
    cls, options, parts = WRONG[case]
    with refused(*parts):
        cls(**options)


NAMES = [
    (HyenaConfig, "gating", "outter"),
    (HyenaConfig, "activation", "gleu"),
    (ImplicitFilterConfig, "window", "exponental"),
    (ModalFilterConfig, "form", "polra"),
    (RealModalFilterConfig, "form", "rate"),
]


@pytest.mark.parametrize(("cls", "option", "value"), NAMES, ids=[option for _, option, _ in NAMES])
def test_a_misspelt_choice_is_refused_in_python_too(cls: type, option: str, value: str):
    with refused(option, value):
        cls(**{option: value})


def test_the_convolutions_of_stripedhyena_2_are_as_published():
    S, M, L = Mixers().S, Mixers().M, Mixers().L
    for letter in (S, M, L):
        assert (letter.short_taps, letter.short_bias, letter.in_bias, letter.out_bias) == (3, False, False, True)
    assert (S.filter.taps, S.skip, S.filter.decay) == (7, False, "none")
    assert (M.filter.taps, M.skip, M.filter.decay, M.filter.span) == (128, True, "weak", 8192)
    assert (L.filter.order, L.skip, L.filter.form) == (16, True, "rates")


def test_a_double_gated_convolution_has_three_taps_and_none_before():
    D = Mixers().D
    assert (D.filter.taps, D.short_taps, D.skip, D.in_bias, D.out_bias) == (3, 0, False, False, False)


def test_every_letter_has_its_options():
    assert [f.name for f in fields(Mixers)] == list(LETTERS)
    assert letters() == LETTERS


def test_the_letters_cannot_be_changed_from_outside():
    letters()["Z"] = "nothing"
    assert "Z" not in letters()


def test_options_are_frozen():
    with pytest.raises(FrozenInstanceError):
        HyenaConfig().order = 3  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    "cls",
    [
        HyenaConfig,
        GatedConvConfig,
        ExplicitConvConfig,
        RealModalConvConfig,
        AttentionConfig,
        ImplicitFilterConfig,
        ModalFilterConfig,
        RealModalFilterConfig,
        Mixers,
    ],
)
def test_equal_options_are_equal(cls: type):
    assert cls() == cls()
    assert hash(cls()) == hash(cls())

"""`ModelConfig`: derived sizes, what it refuses, and JSON in and out."""

import json
import math
from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest

from hyena.configs.filters import ExplicitFilterConfig, ImplicitFilterConfig, ModalFilterConfig, RealModalFilterConfig
from hyena.configs.mixers import (
    AttentionConfig,
    ExplicitConvConfig,
    GatedConvConfig,
    HyenaConfig,
    Mixers,
    RealModalConvConfig,
)
from hyena.configs.model import ModelConfig
from tests.helpers import refused

FILTER = ImplicitFilterConfig(
    features=5, width=7, inner_layers=1, frequency=2.5, train_features=True, window="none", decay_target=0.1, fast_decay=0.2,
    slow_decay=2.0, shift=0.05, channel_norm=True, init_std=0.1,
)  # fmt: skip
MODAL = ModalFilterConfig(order=3, head=5, r_min=0.5, r_max=0.9, form="cartesian")
HYENA = HyenaConfig(
    order=3, short_taps=5, activation="gelu", gating="outer", order_scale=True, skip=False, dropout=0.3, filter=FILTER,
    modal=MODAL,
)  # fmt: skip
GATED = GatedConvConfig(short_taps=4, short_bias=False, skip=False, in_bias=False, out_bias=False, filter=MODAL)
EXPLICIT = ExplicitConvConfig(
    short_taps=0, short_bias=True, skip=True, in_bias=True, out_bias=False,
    filter=ExplicitFilterConfig(taps=9, groups=12, decay="strong", decay_length=50),
)  # fmt: skip
REAL = RealModalConvConfig(
    short_taps=0, short_bias=True, skip=False, in_bias=True, out_bias=False,
    filter=RealModalFilterConfig(order=3, form="log_poles"),
)  # fmt: skip
ATTENTION = AttentionConfig(
    heads=4, kv_heads=2, rotary_width=6, rotary_base=100.0, rotary_scale=4.0, qkv_bias=False, out_bias=False, dropout=0.4
)  # fmt: skip
FULL = ModelConfig(
    pattern="HW AHR SMLD", width=48, vocab_size=30, max_length=100, beyond="extend", tokenizer="file:bpe.json",
    vocab_multiple=16, norm="rms", norm_eps=1e-6, mlp="gated", mlp_width=80, activation="silu", later_activation="relu",
    out_init="wang", tied=False, float32_residual=False, position_rows=90, dropout=0.1, embed_dropout=0.2, init_std=0.03,
    mixers=Mixers(
        H=HYENA, R=GATED, S=EXPLICIT, M=EXPLICIT, L=REAL, D=EXPLICIT, A=ATTENTION, W=AttentionConfig(heads=2, window=9)
    ),
)  # fmt: skip
"""Every option differs from its default."""


@pytest.mark.parametrize("config", [FULL, ModelConfig("H", 8, 4)], ids=["every option", "defaults"])
def test_there_and_back_through_json(config: ModelConfig):
    values = json.loads(json.dumps(config.to_dict()))
    assert ModelConfig.from_dict(values) == config


def test_every_option_is_tried():
    def differs(a: object, b: object, without: str = "") -> None:
        for f in fields(a):
            if f.name == without:
                continue
            mine, default = getattr(a, f.name), getattr(b, f.name)
            if is_dataclass(mine) and is_dataclass(default):
                differs(mine, default)
            else:
                assert mine != default, f.name

    differs(FULL, ModelConfig("H", 8, 4), without="mixers")
    differs(HYENA, HyenaConfig())
    differs(GATED, GatedConvConfig())
    differs(EXPLICIT, ExplicitConvConfig())
    differs(REAL, RealModalConvConfig())
    assert {f.name for f in fields(ATTENTION) if getattr(ATTENTION, f.name) == f.default} == {"window"}


def test_only_mixers_in_the_pattern_are_written():
    assert list(FULL.to_dict()["mixers"]) == ["A", "D", "H", "L", "M", "R", "S", "W"]
    only = FULL.replace(pattern="HH")
    assert list(only.to_dict()["mixers"]) == ["H"]
    assert ModelConfig.from_dict(only.to_dict()).to_dict() == only.to_dict()


def test_a_file_may_leave_out_what_has_a_default():
    config = ModelConfig.from_dict({"pattern": "HA", "width": 8, "vocab_size": 4, "mixers": {"H": {"filter": {"shift": 0.05}}}})
    assert config == ModelConfig("HA", 8, 4, mixers=Mixers(H=HyenaConfig(filter=ImplicitFilterConfig(shift=0.05))))


def test_a_letter_of_a_file_is_its_own_and_not_its_classes():
    values = {"M": {"out_bias": False, "filter": {"groups": 4}}, "W": {"heads": 2}, "D": {"filter": {"taps": 5}}}
    config = ModelConfig.from_dict({"pattern": "MWD", "width": 8, "vocab_size": 4, "mixers": values})
    M, W, D = config.mixers.M, config.mixers.W, config.mixers.D
    assert replace(M, out_bias=True, filter=replace(M.filter, groups=None)) == Mixers().M
    assert (M.filter.taps, M.filter.decay, M.skip) == (128, "weak", True)
    assert (W.window, W.heads) == (128, 2)
    assert (D.filter.taps, D.short_taps) == (5, 0)


def test_initial_output_projections():
    config = ModelConfig("SMLA", 64, 4)
    assert config.initial_out_std == pytest.approx(math.sqrt(2 / (5 * 64)) / math.sqrt(8))
    assert config.replace(out_init="wang").initial_out_std == pytest.approx(2 / (4 * 8))


def test_spaces_of_a_pattern_are_ignored():
    assert ModelConfig(" HH A ", 8, 4).layers == "HHA"


@pytest.mark.parametrize(
    ("symbols", "multiple", "rows"), [(12, 8, 16), (50257, 8, 50264), (16, 8, 16), (256, 1, 256), (1, 128, 128)]
)
def test_rows_are_rounded_up(symbols: int, multiple: int, rows: int):
    assert ModelConfig("H", 8, symbols, vocab_multiple=multiple).rows == rows


def test_the_mlp_is_four_times_as_wide_or_as_told():
    assert ModelConfig("H", 8, 4).hidden == 32
    assert ModelConfig("H", 8, 4, mlp_width=20).hidden == 20


def test_a_letter_has_its_options():
    assert FULL.mixer("W") is FULL.mixers.W
    assert FULL.mixer("H").order == 3


def test_a_changed_copy_is_checked_again():
    assert FULL.replace(width=64).width == 64
    assert FULL.width == 48
    with refused("width is 0"):
        FULL.replace(width=0)


def test_python_is_as_strict_as_a_file():
    config = ModelConfig("H", 8, 4, norm_eps=1)
    assert type(config.norm_eps) is float
    assert config == ModelConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    for wrong in ({"width": 8.0}, {"width": True}, {"tied": 1}, {"tokenizer": 3}, {"mixers": None}, {"dropout": "0.1"}):
        name, value = next(iter(wrong.items()))
        with refused(f"ModelConfig.{name}", repr(value)):
            ModelConfig(**{"pattern": "H", "width": 8, "vocab_size": 4} | wrong)


WRONG: dict[str, tuple[dict[str, Any], list[str]]] = {
    "no layer": ({"pattern": "  "}, ["pattern is empty", "'HHAH'"]),
    "unknown letter": ({"pattern": "HHxH"}, ["'x'", "layer 2", "'HHxH'", "H (Hyena", "A (attention)"]),
    "no width": ({"width": 0}, ["width is 0", "at least 1"]),
    "no symbol": ({"vocab_size": 0}, ["vocab_size is 0", "at least 1"]),
    "no length": ({"max_length": 0}, ["max_length is 0", "at least 1"]),
    "no multiple": ({"vocab_multiple": 0}, ["vocab_multiple is 0", "at least 1"]),
    "all dropped": ({"dropout": 1.0}, ["dropout is 1.0", "not including, 1"]),
    "negative dropout": ({"embed_dropout": -0.1}, ["embed_dropout is -0.1", "from 0"]),
    "negative positions": ({"position_rows": -1}, ["position_rows is -1", "0 for none"]),
    "no hidden width": ({"mlp_width": 0}, ["mlp_width is 0", "at least 1"]),
    "negative deviation": ({"init_std": -1.0}, ["init_std is -1.0"]),
    "misspelt norm": ({"norm": "batch"}, ["norm", "'batch'"]),
    "misspelt MLP": ({"mlp": "gatde"}, ["mlp", "'gatde'"]),
    "misspelt activation": ({"activation": "gleu"}, ["activation", "'gleu'"]),
    "misspelt beyond": ({"beyond": "truncat"}, ["beyond", "'truncat'"]),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_built_is_refused(case: str):
    options, parts = WRONG[case]
    with refused(*parts):
        ModelConfig(**{"pattern": "H", "width": 8, "vocab_size": 4} | options)


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        ({"widht": 3}, ["model.json has no key 'widht'", "did you mean 'width'?"]),
        ({"mixers": {"B": {}}}, ["model.json: mixers", "'B'", "H, R, S, M, L, D, A, W"]),
        ({"mixers": {"H": {"filter": {"shfit": 1}}}}, ["model.json: mixers: H: filter", "'shfit'", "did you mean 'shift'?"]),
        ({"width": True}, ["model.json: width", "True", "a whole number"]),
        ({"beyond": "truncat"}, ["model.json: beyond", "did you mean 'truncate'?", "('error', 'truncate', 'extend')"]),
    ],
    ids=["key", "letter", "nested key", "truth value", "choice"],
)
def test_a_file_that_is_wrong_names_the_place(values: dict[str, Any], parts: list[str]):
    with refused(*parts):
        ModelConfig.from_dict({"pattern": "H", "width": 8, "vocab_size": 4} | values, "model.json")

"""safari's options: used, known to change nothing, or refused."""

import json
from typing import Any

import pytest

from hyena.checkpoints.account import Account
from hyena.checkpoints.safari_config import (
    attention_config,
    attention_options,
    model_config,
    model_options,
    operator_config,
    operator_options,
)
from hyena.configs.mixers import AttentionConfig, HyenaConfig, ImplicitFilterConfig
from hyena.configs.model import ModelConfig
from tests.checkpoints.golden import case
from tests.helpers import refused

LM, ATTENTION = case("safari-lm").config, case("safari-lm-attn-rope").config


def operator(**options: Any) -> tuple[HyenaConfig, int]:
    """Our configuration of an operator's arguments."""
    account: Account[Any] = Account({"l_max": 64} | options, "the options")
    result = operator_config(account, shift=0.0)
    account.close()
    return result


def layer(**options: Any) -> ModelConfig:
    """Our configuration of a model with some more options in its layer."""
    return model_config(LM | {"layer": LM["layer"] | options})


def test_the_operators_defaults_are_the_published_ones():
    filter = ImplicitFilterConfig(
        features=3, width=64, inner_layers=2, frequency=1.0, train_features=True, fast_decay=0.3, init_std=None
    )
    assert operator() == (HyenaConfig(order=2, short_taps=3, filter=filter), 64)


OPTIONS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    # theirs -> the operator's, the filter's
    "order": ({"order": 4}, {"order": 4}, {}),
    "short_filter_order": ({"short_filter_order": 5}, {"short_taps": 5}, {}),
    "activation": ({"activation": "gelu"}, {"activation": "gelu"}, {}),
    "activation swish": ({"activation": "swish"}, {"activation": "silu"}, {}),
    "outer_mixing": ({"outer_mixing": True}, {"gating": "outer"}, {}),
    "post_order_ffn": ({"post_order_ffn": True}, {"order_scale": True}, {}),
    "bias": ({"bias": False}, {"skip": False}, {}),
    "dropout": ({"dropout": 0.5}, {"dropout": 0.5}, {}),
    "emb_dim": ({"emb_dim": 33}, {}, {"features": 33}),
    "filter_order": ({"filter_order": 16}, {}, {"width": 16}),
    "num_inner_mlps": ({"num_inner_mlps": 3}, {}, {"inner_layers": 3}),
    "w": ({"w": 10}, {}, {"frequency": 10.0}),
    "lr_pos_emb 0": ({"lr_pos_emb": 0.0}, {}, {"train_features": False}),
    "modulate": ({"modulate": False}, {}, {"window": "none"}),
    "target": ({"target": 0.1}, {}, {"decay_target": 0.1}),
    "fast_decay_pct": ({"fast_decay_pct": 0.2}, {}, {"fast_decay": 0.2}),
    "slow_decay_pct": ({"slow_decay_pct": 2.0}, {}, {"slow_decay": 2.0}),
    "shift": ({"shift": 0.05}, {}, {"shift": 0.05}),
    "normalized": ({"normalized": True}, {}, {"channel_norm": True}),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_becomes_ours(name: str):
    theirs, mixer, filter = OPTIONS[name]
    base = {"features": 3, "width": 64, "inner_layers": 2, "frequency": 1.0, "train_features": True, "fast_decay": 0.3}
    ours = operator(**theirs)[0]
    assert ours == HyenaConfig(**mixer, filter=ImplicitFilterConfig(**base | {"init_std": None} | filter))
    written: Account[Any] = Account(operator_options(ours, 64), "the options")
    assert operator_config(written, shift=0.5) == (ours, 64)
    written.close()


@pytest.mark.parametrize(
    ("option", "value", "why"),
    [
        ("num_heads", 2, "raises"),
        ("inner_factor", 2, "raises"),
        ("jit_filter", True, "raises"),
        ("num_blocks", 4, "not causal"),
        ("bidirectional", True, "farther apart"),
        ("linear_mixer", True, "no released model"),
        ("filter_cls", "other", "no other filter"),
        ("train_freq", False, "requires_grad_"),
        ("return_state", True, "None"),
        ("activation", "softmax", "gelu"),
    ],
)
def test_what_cannot_be_loaded_says_why(option: str, value: Any, why: str):
    with refused("the published configuration's layer", option, repr(value), why):
        layer(**{option: value})


@pytest.mark.parametrize(
    "option", ["fused_fft_conv", "fused_bias_fc", "lr", "wd", "filter_dropout", "local_order", "channel_layout"]
)
def test_what_changes_no_number_is_accepted(option: str):
    assert layer(**{option: 3}) == layer()


def test_an_unknown_option_is_named():
    with refused("layer", "no meaning", "ordre"):
        layer(ordre=3)
    with refused("the published configuration", "no meaning", "d_modle"):
        model_config(LM | {"d_modle": 3})


def test_a_missing_option_is_named():
    for key in ("d_model", "n_layer", "vocab_size", "layer"):
        with refused("the published configuration lacks", key):
            model_config({k: v for k, v in LM.items() if k != key})
    with refused("layer lacks l_max"):
        model_config(LM | {"layer": {k: v for k, v in LM["layer"].items() if k != "l_max"}})


def test_another_mixer_than_hyena_is_refused():
    with refused("_name_ is 'h3'", "only 'hyena'"):
        layer(_name_="h3")


def test_another_epsilon_is_refused():
    with refused("layer_norm_epsilon is 0.001", "1e-5"):
        model_config(LM | {"layer_norm_epsilon": 1e-3})


def test_a_models_options_become_ours():
    ours = model_config(LM)
    assert (ours.pattern, ours.width, ours.vocab_size, ours.vocab_multiple, ours.rows) == ("HHH", 32, 101, 8, 104)
    assert (ours.mlp_width, ours.max_length, ours.tied, ours.float32_residual) == (64, 128, True, True)
    assert (ours.dropout, ours.embed_dropout, ours.position_rows) == (0.0, 0.1, 0)
    assert model_config(LM | {"d_inner": 128}).mlp_width is None  # 4 times the width, as ours by itself
    assert model_config(LM | {"resid_dropout": 0.25}).dropout == 0.25
    plain = model_config(
        {k: v for k, v in LM.items() if k not in ("residual_in_fp32", "pad_vocab_size_multiple", "embed_dropout")}
    )
    assert (plain.float32_residual, plain.vocab_multiple, plain.embed_dropout) == (False, 1, 0.1)


def test_attention_stands_where_it_is_told_to():
    ours = model_config(ATTENTION)
    assert ours.pattern == "AHA"
    assert AttentionConfig(heads=2, rotary_width=8) == ours.mixers.A
    with refused("attn_layer_idx [0, 2]", "no attn_cfg"):
        model_config({k: v for k, v in ATTENTION.items() if k != "attn_cfg"})


@pytest.mark.parametrize("config", [LM, ATTENTION], ids=["hyena", "attention"])
@pytest.mark.parametrize(
    "options",
    [{}, {"resid_dropout": 0.5, "max_position_embeddings": 9}, {"initializer_cfg": {"initializer_range": 0.1}}],
    ids=["as it is", "dropout and positions", "initial weights"],
)
def test_what_is_written_is_read_as_the_same(config: dict[str, Any], options: dict[str, Any]):
    ours = model_config(config | options)
    written = model_options(ours)
    assert json.loads(json.dumps(written)) == written
    assert model_config(written) == ours


@pytest.mark.parametrize(
    ("options", "more"),
    [
        ({}, set()),
        ({"dropout": 0.5}, set()),
        ({"rotary_width": 8}, {"rotary_emb_dim"}),
        ({"qkv_bias": False}, {"qkv_proj_bias"}),
        ({"out_bias": False}, {"out_proj_bias"}),
    ],
    ids=["plain", "dropout", "rotary", "no qkv bias", "no output bias"],
)
def test_attention_is_written_with_options_that_every_version_knows(options: dict[str, Any], more: set[str]):
    ours = AttentionConfig(**{"heads": 2, "rotary_width": 0} | options)
    written = attention_options(ours)
    assert attention_config(Account(written, "attn_cfg")) == ours
    assert written.keys() == {"num_heads", "causal", "dropout"} | more


def test_the_initial_deviation_is_an_option():
    assert model_config(LM).init_std == 0.02
    assert model_config(LM | {"initializer_cfg": {"initializer_range": 0.3}}).init_std == 0.3
    with refused("initializer_cfg", "'wide'", "table"):
        model_config(LM | {"initializer_cfg": "wide"})


@pytest.mark.parametrize(
    ("option", "value"),
    [("causal", False), ("rotary_emb_scale_base", 512), ("dwconv", True), ("cross_attn", True), ("num_hedas", 2)],
)
def test_attention_that_is_not_ours_is_refused(option: str, value: Any):
    with refused("attn_cfg", option):
        model_config(ATTENTION | {"attn_cfg": ATTENTION["attn_cfg"] | {option: value}})


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"layer": "hyena"}, "layer"),
        ({"d_model": "32"}, "32"),
        ({"n_layer": "3"}, "3"),
        ({"vocab_size": None}, "None"),
        ({"d_inner": "64"}, "64"),
        ({"residual_in_fp32": "yes"}, "yes"),
        ({"resid_dropout": None}, "None"),
        ({"attn_layer_idx": 1, "attn_cfg": {"num_heads": 2}}, "1"),
        ({"attn_layer_idx": [1], "attn_cfg": {"num_heads": "two"}}, "two"),
        ({"layer": LM["layer"] | {"w": "fast"}}, "fast"),
        ({"layer": LM["layer"] | {"order": "2"}}, "2"),
        ({"layer": LM["layer"] | {"l_max": 64.5}}, "64.5"),
    ],
    ids=[
        *("layer is a name", "width is text", "depth is text", "no vocabulary", "hidden width is text", "truth value is text"),
        *("no dropout", "one attention layer", "heads are text", "frequency is text", "order is text", "half a token"),
    ],
)
def test_values_of_another_type_are_one_line(change: dict[str, Any], part: str):
    with refused(part):
        model_config(LM | change)

"""HyenaDNA's two formats: the shift that no file names, the head, the layouts of order 3, and the port's own rules."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from hyena.checkpoints import hyenadna, load
from hyena.checkpoints.safari import LAYOUTS
from hyena.configs import presets
from hyena.configs.model import ModelConfig
from hyena.models import Classifier, LanguageModel
from tests import tolerances
from tests.checkpoints.golden import case
from tests.helpers import refused

LM, HEAD, PORT, PORT_CLS = (case(name) for name in ("hyenadna-lm-a", "hyenadna-head", "hyenadna-hf", "hyenadna-hf-cls"))


def port(change: Callable[[dict[str, Tensor]], object] = lambda t: None, **options: Any) -> hyenadna.Loaded:
    """The port's file, with changes."""
    tensors = dict(PORT.state)
    change(tensors)
    return hyenadna.transformers_port(tensors, PORT.config | options, "model.safetensors")


# --- the original -----------------------------------------------------------------------------------------------------------


def test_the_shift_is_that_of_the_published_inference_code():
    ours, head, _ = hyenadna.original(LM.state, LM.config, "weights.ckpt")
    assert ours.mixers.H.filter.shift == 0.05
    assert head is None
    layer = LM.config["layer"] | {"shift": 0.0}
    assert hyenadna.original(LM.state, LM.config | {"layer": layer}, "weights.ckpt")[0].mixers.H.filter.shift == 0.0


@pytest.mark.parametrize(("symbols", "tokenizer"), [(12, "dna"), (14, None)])
def test_twelve_symbols_are_the_published_tokenizers(symbols: int, tokenizer: str | None):
    assert hyenadna.original(LM.state, LM.config | {"vocab_size": symbols}, "weights.ckpt")[0].tokenizer == tokenizer
    assert port(vocab_size=symbols)[0].tokenizer == tokenizer


def test_a_head_makes_a_classifier_that_pools_all_positions():
    model = HEAD.model()
    assert isinstance(model, Classifier)
    assert model.head_options() == {"classes": 2, "pool": "mean", "bias": True}
    assert isinstance(LM.model(), LanguageModel)


def test_a_head_without_its_bias_is_not_whole():
    state = {k: v for k, v in HEAD.state.items() if k != "head.output_transform.bias"}
    with refused("weights.ckpt lacks head.output_transform.bias"):
        hyenadna.original(state, HEAD.config, "weights.ckpt")


O3 = case("safari-lm-o3")
O3_CONFIG = O3.config | {"layer": O3.config["layer"] | {"shift": 0.0}}


def order_3(layout: str | None) -> LanguageModel:
    """safari's model of order 3 read as HyenaDNA's, whose training code is the same."""
    layer = O3_CONFIG["layer"] | ({} if layout is None else {"channel_layout": layout})
    return load(O3.folder / "state.safetensors", "hyenadna", O3_CONFIG | {"layer": layer})


def test_order_3_must_say_its_layout():
    for layout in (None, "channels"):
        with refused("order 3", "'channel_layout'", *LAYOUTS):
            order_3(layout)
    with torch.no_grad():
        first, other = (order_3(layout)(O3.io["input_ids"]) for layout in LAYOUTS)
    assert_close(first, O3.io["logits"], **tolerances.GOLDEN_LOGITS)
    assert (other - first).abs().max() > 0.1


@pytest.mark.parametrize("layout", [None, *LAYOUTS])
def test_order_2_has_one_layout(layout: str | None):
    layer = LM.config["layer"] | ({} if layout is None else {"channel_layout": layout})
    ours, _, values = hyenadna.original(LM.state, LM.config | {"layer": layer}, "weights.ckpt")
    assert ours == LM.model().config
    assert torch.equal(values["backbone.blocks.0.mixer.skip"], LM.state["backbone.layers.0.mixer.filter_fn.bias"])


def test_leftovers_are_named():
    with refused("weights.ckpt", "no meaning", "decoder.weight"):
        hyenadna.original(LM.state | {"decoder.weight": torch.zeros(1)}, LM.config, "weights.ckpt")


# --- the port ---------------------------------------------------------------------------------------------------------------


def test_the_ports_head_is_its_own():
    ours, head, values = port()
    assert (ours.tied, head) == (False, None)
    assert torch.equal(values["lm_head.weight"], PORT.state["lm_head.weight"])
    with refused("model.safetensors lacks lm_head.weight"):
        port(lambda t: t.pop("lm_head.weight"))


def test_a_port_may_tie_its_head():
    with refused("lm_head.weight differs from the embedding"):
        port(tie_word_embeddings=True)
    ours, _, values = port(lambda t: t.pop("lm_head.weight"), tie_word_embeddings=True)
    assert ours.tied
    assert "lm_head.weight" not in values


def test_the_ports_classifier_takes_the_last_token_before_padding():
    model = PORT_CLS.model()
    assert model.head_options() == {"classes": 3, "pool": "last", "bias": False}


def test_both_heads_are_too_many():
    with refused("no meaning", "lm_head.weight"):
        port(lambda t: t.update({"score.weight": torch.zeros(2, 32)}))


@pytest.mark.parametrize(
    ("option", "value", "why"),
    [
        ("hyena_order", 3, "order 2 alone"),
        ("train_freq", False, "requires_grad_"),
        ("short_filter_order", 5, "pads by 2"),
        ("layer_norm_epsilon", 1e-6, "1e-5"),
    ],
)
def test_what_the_port_cannot_do_is_refused(option: str, value: Any, why: str):
    with refused("the published configuration", option, repr(value), why):
        port(**{option: value})


def test_an_unknown_option_of_the_port_is_named():
    with refused("no meaning", "d_modle"):
        port(d_modle=32)


def test_a_missing_option_of_the_port_is_named():
    config = {k: v for k, v in PORT.config.items() if k != "activation_freq"}
    with refused("lacks activation_freq"):
        hyenadna.transformers_port(PORT.state, config, "model.safetensors")


def test_lengths_before_padding_are_the_ports():
    pad = 4
    ids = torch.tensor(
        [
            [7, 8, 9, pad, pad],  # padded on the right
            [7, 8, 9, 10, 11],  # not padded
            [pad, pad, 7, 8, 9],  # padded on the left: the port takes the last token
            [7, pad, 8, pad, 9],  # the first pad ends it
        ]
    )
    assert hyenadna.lengths_before_padding(ids).tolist() == [3, 5, 5, 1]
    assert hyenadna.lengths_before_padding(ids, pad_id=9).tolist() == [2, 2, 4, 4]


# --- the presets ------------------------------------------------------------------------------------------------------------

RELEASED = {  # name of the preset: d_model, n_layer, l_max of the released configuration
    "hyenadna_tiny_1k": (128, 2, 1026),
    "hyenadna_tiny_1k_d256": (256, 2, 1026),
    "hyenadna_tiny_16k": (128, 2, 16386),
    "hyenadna_small_32k": (256, 4, 32770),
    "hyenadna_medium_160k": (256, 8, 160_002),
    "hyenadna_medium_450k": (256, 8, 450_002),
    "hyenadna_large_1m": (256, 8, 1_000_002),
}


@pytest.mark.parametrize("name", RELEASED)
def test_a_preset_is_what_the_released_configuration_becomes(name: str):
    width, depth, l_max = RELEASED[name]
    config = PORT.config | {"d_model": width, "n_layer": depth, "max_seq_len": l_max, "d_inner": 4 * width}
    ours: ModelConfig = hyenadna.port_config(config)
    assert ours.replace(tied=True) == getattr(presets, name)()

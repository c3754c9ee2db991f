"""The published configurations of the large models, read: sizes as the publications say."""

from pathlib import Path
from typing import Any

import pytest
import torch

from hyena.checkpoints import fixups, load
from hyena.checkpoints.express import one_spelling, resolved
from hyena.checkpoints.striped_config import striped_config, striped_options, vortex_config, vortex_options
from hyena.configs import presets
from hyena.configs.model import ModelConfig
from hyena.models import LanguageModel
from tests import tolerances
from tests.checkpoints.golden import case
from tests.configs.test_presets import INDICES

_NOT_READ = {
    "mlp_init_method": "torch.nn.init.zeros_",
    "mlp_output_init_method": "torch.nn.init.zeros_",
    "make_vocab_size_divisible_by": 8,
    "log_intermediate_values": False,
    "model_parallel_size": 1,
    "use_flash_attn": True,
    "use_flash_depthwise": False,
    "use_flashfft": False,
    "prefill_style": "fft",
}
_WIDE: dict[str, Any] = {"hidden_size": 4096, "num_filters": 4096, "num_layers": 32, "num_attention_heads": 32, **_NOT_READ}
SH_7B = _WIDE | {
    "model_name": "sh-7b-32k-v1",
    "vocab_size": 32000,
    "attn_layer_idxs": list(range(1, 32, 2)),
    "hyena_layer_idxs": list(range(0, 33, 2)),  # layer 32 is none
    "short_filter_length": 3,
    "short_filter_bias": True,
    "eps": 1e-5,
    "state_size": 2,
    "rotary_emb_base": 500000,
    "proj_groups": 4,
    "hyena_filter_groups": 1,
    "column_split_hyena": True,
    "column_split": False,
    "tie_embeddings": False,
    "inner_mlp_size": 14336,
    "mha_out_proj_bias": False,
    "qkv_proj_bias": False,
    "max_seqlen": 32768,
    "final_norm": True,
    "use_flash_rmsnorm": True,
    "tokenizer_type": "HFAutoTokenizer",
    "vocab_file": "tokenizer/tokenizer.json",
}
EVO_1 = _WIDE | {
    "vocab_size": 512,
    "max_sequence_len": 8192,
    "attn_layer_idxs": [8, 16, 24],
    "hyena_layer_idxs": [i for i in range(32) if i not in (8, 16, 24)],
    "short_filter_length": 3,
    "short_filter_bias": True,
    "eps": 1e-6,
    "state_size": 8,
    "inner_size_multiple_of": 16,
    "smeared_gqa": False,
    "proj_groups": 1,
    "hyena_filter_groups": 1,
    "split_k0": True,
    "tie_embeddings": True,
    "inner_mlp_size": None,
    "mha_out_proj_bias": True,
    "qkv_proj_bias": True,
    "use_flash_rmsnorm": False,
    "column_split": True,
    "tokenizer_type": "CharLevelTokenizer",
    "mlp_activation": "gelu",
    "max_seqlen": 8192,
    "use_interpolated_rotary_pos_emb": True,
    "rotary_emb_scaling_factor": 16,
}
EVO_2 = _WIDE | {
    "model_name": "shc-evo2-7b-8k-2T-v2",
    "vocab_size": 512,
    "attn_layer_idxs": [3, 10, 17, 24, 31],
    "hcl_layer_idxs": [2, 6, 9, 13, 16, 20, 23, 27, 30],
    "hcm_layer_idxs": [1, 5, 8, 12, 15, 19, 22, 26, 29],
    "hcs_layer_idxs": [0, 4, 7, 11, 14, 18, 21, 25, 28],
    "hcm_filter_length": 128,
    "hcl_filter_groups": 4096,
    "hcm_filter_groups": 256,
    "hcs_filter_groups": 256,
    "hcs_filter_length": 7,
    "short_filter_length": 3,
    "short_filter_bias": False,
    "eps": 1e-6,
    "state_size": 16,
    "rotary_emb_base": 10000,
    "rotary_emb_scaling_factor": 128,
    "use_interpolated_rotary_pos_emb": True,
    "inner_size_multiple_of": 16,
    "inner_mlp_size": 11264,
    "proj_groups": 1,
    "hyena_filter_groups": 1,
    "column_split_hyena": False,
    "column_split": True,
    "interleave": True,
    "evo2_style_activations": True,
    "tie_embeddings": True,
    "mha_out_proj_bias": True,
    "hyena_out_proj_bias": True,
    "hyena_flip_x1x2": False,
    "qkv_proj_bias": False,
    "use_fp8_input_projections": False,
    "max_seqlen": 1048576,
    "tokenizer_type": "CharLevelTokenizer",
    "mlp_activation": "gelu",
}


@pytest.mark.parametrize(
    ("options", "read", "parameters"),
    [
        (SH_7B, striped_config, 7_646_023_680),
        (EVO_1, striped_config, 6_452_781_056),
        (EVO_2, vortex_config, 6_582_000_000),  # given to four digits
    ],
    ids=["SH-7B", "Evo 1", "Evo 2 7B"],
)
def test_the_large_models_have_their_published_size(options: dict[str, Any], read: Any, parameters: int):
    with torch.device("meta"):
        found = LanguageModel(read(options)).parameter_count()
    assert found == parameters or round(found, -6) == parameters


def test_what_is_read_is_what_is_written():
    for options, read, write in (
        (SH_7B, striped_config, striped_options),
        (EVO_1, striped_config, striped_options),
        (EVO_2, vortex_config, vortex_options),
    ):
        ours = read(options)
        assert read(write(ours)) == ours


def test_values_that_the_publications_name():
    sh, evo1, evo2 = striped_config(SH_7B), striped_config(EVO_1), vortex_config(EVO_2)
    assert (sh.pattern, sh.norm, sh.activation, sh.mixers.A.kv_heads) == (16 * "RA", "rms", "silu", 8)
    assert (evo1.norm, evo1.hidden, evo1.activation, evo1.mixers.A.rotary_scale) == ("rms_outside", 10928, "gelu", 16)
    assert evo2.pattern == "SMLASMLSMLASMLSMLASMLSMLASMLSMLA"
    assert (evo2.activation, evo2.later_activation, evo2.mixers.A.rotary_scale) == ("gelu", "identity", 128)
    assert evo1.tokenizer == evo2.tokenizer == "bytes"
    assert evo1.vocab_size == evo2.vocab_size == 256, "of 512 rows"
    assert evo1.rows == evo2.rows == 512


# As published: width, layers, heads, filters of MR and SE, width of the MLPs, max_seqlen, rotary base and scale.
SIZES = {
    "evo2_50m": (640, 11, 10, 64, 1792, 8192, 1e4, 1),
    "evo2_100m": (768, 15, 12, 64, 2048, 8192, 1e4, 1),
    "evo2_1b": (1920, 25, 15, 128, 5120, 8192, 1e4, 1),
    "evo2_7b": (4096, 32, 32, 256, 11264, 1_048_576, 1e4, 128),
    "evo2_20b": (8192, 24, 64, 512, 22528, 1_048_576, 1e6, 128),
    "evo2_40b": (8192, 50, 64, 512, 22528, 1_048_576, 1e6, 128),
}


def evo2(name: str) -> dict[str, Any]:
    """A published configuration of Evo 2."""
    width, layers, heads, groups, inner, length, base, scale = SIZES[name]
    lists = zip(("attn", "hcl", "hcm", "hcs"), INDICES[name], strict=True)
    return (
        EVO_2
        | {f"{letter}_layer_idxs": [int(i) for i in found.split()] for letter, found in lists}
        | {"hidden_size": width, "num_filters": width, "hcl_filter_groups": width, "num_layers": layers}
        | {"num_attention_heads": heads, "hcm_filter_groups": groups, "hcs_filter_groups": groups, "inner_mlp_size": inner}
        | {"max_seqlen": length, "rotary_emb_base": base, "rotary_emb_scaling_factor": scale}
        | {"use_interpolated_rotary_pos_emb": scale != 1}
    )


def spelt(config: ModelConfig) -> dict[str, Any]:
    """A configuration with one spelling for each function."""
    with torch.device("meta"):
        return one_spelling(resolved(LanguageModel(config))).to_dict()


@pytest.mark.parametrize("name", SIZES)
def test_evo_2_as_published_is_its_preset(name: str):
    assert spelt(vortex_config(evo2(name))) == spelt(getattr(presets, name)())


def test_stripedhyena_1_as_published_is_its_preset():
    assert spelt(striped_config(SH_7B)) == spelt(presets.sh_7b())
    # The published configuration of 131,072 bases still says 8,192.
    assert spelt(striped_config(EVO_1).replace(max_length=131_072)) == spelt(presets.evo1_131k())


def test_an_option_that_is_not_given_is_what_the_published_code_takes_for_it(tmp_path: Path):
    """`interleave`, which older configurations have not: rows in three blocks."""
    c = case("sh2-lm")
    state = {
        key: fixups.interleaved_rows(tensor) if key.endswith(("projections.weight", "short_filter_weight")) else tensor
        for key, tensor in c.state.items()
    }
    torch.save(state, tmp_path / "model.pt")
    model = load(tmp_path / "model.pt", "vortex", {key: value for key, value in c.config.items() if key != "interleave"})
    with torch.no_grad():
        torch.testing.assert_close(model(c.io["input_ids"]), c.io["logits"], **tolerances.GOLDEN_STRIPED)

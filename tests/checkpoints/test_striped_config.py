"""The published configurations of the large models, read: sizes as the publications say."""

from typing import Any

import pytest
import torch

from hyena.checkpoints.striped_config import striped_config, striped_options, vortex_config, vortex_options
from hyena.models import LanguageModel

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

"""The configurations of StripedHyena and of vortex <-> ours: every option is used, known to change nothing, or refused by name.

Each function that reads a table of options stands before the one that writes it.
"""

import math
from typing import Any

from hyena.checkpoints import fixups
from hyena.checkpoints.account import Account
from hyena.configs.mixers import (
    Activation,
    AttentionConfig,
    ExplicitConvConfig,
    ExplicitFilterConfig,
    GatedConvConfig,
    Mixers,
    ModalFilterConfig,
    RealModalConvConfig,
    RealModalFilterConfig,
)
from hyena.configs.model import ModelConfig
from hyena.errors import HyenaError

_SOURCE = "the published configuration"
_ACTIVATIONS: dict[str, Activation] = {"gelu": "gelu", "silu": "silu"}  # layers.py: ParallelGatedMLP
_UNREAD = (
    # Names, initial values, and options that the published code never reads.
    *("model_name", "mlp_init_method", "mlp_output_init_method", "make_vocab_size_divisible_by", "split_k0", "vocab_file"),
    *("pipe_parallel_size", "pile_parallel_size", "rng_fork"),
    # Speed, memory, logs, and how a cache is filled.
    *("max_batch_size", "use_flash_attn", "use_flash_attention_2", "use_flash_depthwise", "use_flashfft", "depthwise_dtype"),
    *("seqlen", "inference_mode", "prefill_style", "print_activations", "log_intermediate_values", "low_mem_mode", "compile"),
    *("use_cache", "use_kernels", "use_hcs_kernel", "use_hcm_kernel", "use_hcl_kernel", "ground_truth_activations_path"),
    # The precision is that of the weights.
    *("attn_block_dtype", "hyena_block_dtype", "mlp_dtype", "params_dtype", "torch_dtype", "dtype"),
    # Bookkeeping of transformers.
    *("architectures", "model_type", "auto_map", "transformers_version", "_name_or_path", "_commit_hash", "return_dict"),
    *("bos_token_id", "eos_token_id", "pad_token_id"),
)


def _shared(o: Account[Any], width: int, heads: int) -> dict[str, Any]:
    """Options that both formats have, but for the mixers' -> fields of `ModelConfig`."""
    o.ignore(*_UNREAD)
    o.expect("num_filters", width, "fewer filters than channels are in no released model")
    o.expect("use_laughing_hyena", False, "it was never released")
    o.expect("smeared_gqa", False, "no released model uses it")
    o.expect("long_fir_threshold", None, "the published code applies such filters reversed in time")
    o.expect("hyena_filter_groups", 1, "the published code is wrong with more")
    o.expect("final_norm", True, "no released model leaves the last norm out")
    if heads < 1 or width % heads:
        raise HyenaError(f"{o.source}: num_attention_heads {heads} does not divide hidden_size {width}")
    multiple = o.whole("inner_size_multiple_of", 64) * o.whole("model_parallel_size", 1)
    rows, tokenizer = o.whole("vocab_size"), o.take("tokenizer_type", None)
    symbols = fixups.symbols(rows, tokenizer)
    return {
        "width": width,
        "vocab_size": symbols,
        "vocab_multiple": 1 if symbols == rows else rows,
        "max_length": o.whole("max_seqlen", o.whole("max_sequence_len", 8192)),
        "tokenizer": "bytes" if tokenizer == fixups.CHARACTERS else None,
        "norm": fixups.norm_kind(o.take("use_flash_rmsnorm", False)),
        "norm_eps": o.number("eps"),
        "mlp": "gated",
        "mlp_width": fixups.inner_width(width, o.take("inner_mlp_size", None), multiple),
        "tied": o.take("tie_embeddings"),
        "init_std": math.sqrt(2 / (5 * width)),
    }


def _shared_options(config: ModelConfig, A: AttentionConfig) -> dict[str, Any]:
    """The inverse of `_shared` and `_attention`."""
    heads = A.heads or 1
    return {
        "vocab_size": config.rows,
        "hidden_size": config.width,
        "num_filters": config.width,
        "num_layers": len(config.layers),
        "num_attention_heads": heads,
        "proj_groups": heads // (A.kv_heads or heads),
        "rotary_emb_base": A.rotary_base,
        "use_interpolated_rotary_pos_emb": A.rotary_scale != 1,
        "rotary_emb_scaling_factor": A.rotary_scale,
        "qkv_proj_bias": A.qkv_bias,
        "mha_out_proj_bias": A.out_bias,
        "inner_mlp_size": config.hidden,
        "inner_size_multiple_of": 16,
        "make_vocab_size_divisible_by": 8,
        "model_parallel_size": 1,
        "pipe_parallel_size": 1,
        "eps": config.norm_eps,
        "tie_embeddings": config.tied,
        "max_seqlen": config.max_length,
        "max_batch_size": 1,
        "hyena_filter_groups": 1,
        "final_norm": True,
        "mlp_activation": config.activation if config.activation in _ACTIVATIONS else "silu",
        "mlp_init_method": "torch.nn.init.zeros_",
        "mlp_output_init_method": "torch.nn.init.zeros_",
        "log_intermediate_values": False,
        "use_flash_attn": False,
        "use_flash_rmsnorm": config.norm == "rms",
        "use_flash_depthwise": False,
        "use_flashfft": False,
        "use_laughing_hyena": False,
        "inference_mode": True,
        "prefill_style": "fft",
        **({"tokenizer_type": fixups.CHARACTERS} if config.tokenizer == "bytes" or config.vocab_size == 256 else {}),
    }


def _attention(o: Account[Any], width: int, heads: int, base: float) -> AttentionConfig:
    """The options of attention layers; base: the format's default of rotary_emb_base."""
    interpolated, factor = o.take("use_interpolated_rotary_pos_emb", False), o.number("rotary_emb_scaling_factor", 1)
    return AttentionConfig(
        heads=heads,
        kv_heads=fixups.kv_heads(heads, o.whole("proj_groups", 1)),
        rotary_width=width // heads,
        rotary_base=o.number("rotary_emb_base", base),
        rotary_scale=fixups.rotary_scale(interpolated, factor),
        qkv_bias=o.take("qkv_proj_bias", True),
        out_bias=o.take("mha_out_proj_bias", True),
    )


def _activation(o: Account[Any], default: str) -> Activation:
    """mlp_activation."""
    name = o.take("mlp_activation", default)
    if not isinstance(name, str) or name not in _ACTIVATIONS:
        raise HyenaError(f"{o.source}: mlp_activation is {name!r}: {' or '.join(_ACTIVATIONS)} can be loaded")
    return _ACTIVATIONS[name]


def _pattern(o: Account[Any], keys: dict[str, str]) -> str:
    """The pattern; keys: letter -> the option that lists its layers."""
    places = {letter: o.take(key) for letter, key in keys.items()}
    for letter, places_of in places.items():
        if not isinstance(places_of, list | tuple) or not all(type(i) is int for i in places_of):
            raise HyenaError(f"{o.source}: {keys[letter]} is {places_of!r}: a list of layers is needed")
    try:
        return fixups.layer_letters(o.whole("num_layers"), {letter: list(found) for letter, found in places.items()})
    except HyenaError as error:
        raise HyenaError(f"{o.source}: {error}") from None


def _short_taps(o: Account[Any]) -> int:
    """short_filter_length, of which the published code needs one."""
    taps = o.whole("short_filter_length")
    if taps < 1:
        raise HyenaError(f"{o.source}: short_filter_length is {taps}: at least 1 is needed")
    return taps


def _indices(config: ModelConfig, letter: str) -> list[int]:
    """The layers of a letter."""
    return [i for i, other in enumerate(config.layers) if other == letter]


def striped_config(config: dict[str, Any]) -> ModelConfig:
    """StripedHyena's options (stripedhyena/model.py) -> ours."""
    o: Account[Any] = Account(config, _SOURCE)
    width, heads = o.whole("hidden_size"), o.whole("num_attention_heads")
    o.ignore("column_split", "column_split_hyena")  # the one is never read, the other is of the tensors (`striped.py`)
    fields = _shared(o, width, heads)
    R = GatedConvConfig(
        short_taps=_short_taps(o),
        short_bias=o.take("short_filter_bias"),
        skip=True,
        in_bias=True,
        out_bias=True,
        filter=ModalFilterConfig(order=o.whole("state_size"), form="cartesian"),
    )
    ours = ModelConfig(
        pattern=_pattern(o, {"A": "attn_layer_idxs", "R": "hyena_layer_idxs"}),
        activation=_activation(o, "silu"),
        mixers=Mixers(R=R, A=_attention(o, width, heads, 10000.0)),
        **fields,
    )
    o.close()
    return ours


def striped_options(config: ModelConfig) -> dict[str, Any]:
    """The inverse of `striped_config`; rows are written in three blocks (column_split_hyena false)."""
    R = config.mixers.R
    return _shared_options(config, config.mixers.A) | {
        "attn_layer_idxs": _indices(config, "A"),
        "hyena_layer_idxs": _indices(config, "R"),
        "short_filter_length": max(R.short_taps, 1),
        "short_filter_bias": R.short_bias,
        "state_size": R.filter.order,
        "column_split_hyena": False,
        "column_split": False,
    }


def vortex_config(config: dict[str, Any]) -> ModelConfig:
    """vortex's options (vortex/model/model.py) -> ours."""
    o: Account[Any] = Account(config, _SOURCE)
    width, heads = o.whole("hidden_size"), o.whole("num_attention_heads")
    o.ignore("column_split", "column_split_hyena", "interleave")  # of the tensors (`striped.py`)
    o.ignore("use_fp8_input_projections")  # `precision.check`
    o.expect("hyena_flip_x1x2", False, "no released model uses it")
    o.expect("hcl_filter_groups", width, "the published code is wrong with other numbers")
    fields = _shared(o, width, heads)
    A = _attention(o, width, heads, 1000000.0)
    common = {
        "short_taps": _short_taps(o),
        "short_bias": o.take("short_filter_bias"),
        "in_bias": A.qkv_bias,  # one option for attention and the other mixers
        "out_bias": o.take("hyena_out_proj_bias"),
    }
    explicit: dict[str, Any] = {}
    for letter, name in (("S", "hcs"), ("M", "hcm")):
        taps = o.whole(f"{name}_filter_length")
        filter = ExplicitFilterConfig(taps=taps, groups=o.whole(f"{name}_filter_groups"))
        explicit[letter] = ExplicitConvConfig(skip=taps >= fixups.FORWARD_TAPS, filter=filter, **common)
    L = RealModalConvConfig(skip=True, filter=RealModalFilterConfig(order=o.whole("state_size"), form="log_poles"), **common)
    ours = ModelConfig(
        pattern=_pattern(o, {letter: f"{name}_layer_idxs" for letter, name in _CASCADE.items()}),
        activation=_activation(o, "gelu"),
        out_init="wang",  # as Evo 2 was trained; no option says so
        later_activation=fixups.later_activation(o.take("evo2_style_activations", False)),
        mixers=Mixers(L=L, A=A, **explicit),
        **fields,
    )
    o.close()
    return ours


_CASCADE = {"A": "attn", "L": "hcl", "M": "hcm", "S": "hcs"}


def vortex_options(config: ModelConfig) -> dict[str, Any]:
    """The inverse of `vortex_config`; rows are written interleaved and per head, as the releases have them."""
    S, M, L = config.mixers.S, config.mixers.M, config.mixers.L
    first: Any = next((config.mixer(letter) for letter in config.layers if letter in "SML"), L)
    explicit: dict[str, Any] = {}
    for name, mixer in (("hcs", S), ("hcm", M)):
        groups = config.width if mixer.filter.groups is None else mixer.filter.groups
        explicit |= {f"{name}_filter_length": mixer.filter.taps, f"{name}_filter_groups": groups}
    return (
        _shared_options(config, config.mixers.A)
        | explicit
        | {f"{name}_layer_idxs": _indices(config, letter) for letter, name in _CASCADE.items()}
        | {
            "hcl_filter_groups": config.width,
            "short_filter_length": max(first.short_taps, 1),
            "short_filter_bias": first.short_bias,
            "hyena_out_proj_bias": first.out_bias,
            "qkv_proj_bias": config.mixers.A.qkv_bias if "A" in config.layers else first.in_bias,
            "state_size": L.filter.order,
            "column_split_hyena": False,
            "column_split": config.mixers.A.kv_heads is None,  # which the published code has not for grouped heads
            "interleave": True,
            "hyena_flip_x1x2": False,
            "evo2_style_activations": config.later_activation == "identity",
            "use_fp8_input_projections": False,
        }
    )

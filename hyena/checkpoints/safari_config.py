"""safari's published configurations (HazyResearch/safari) <-> ours: every option is used, known to change nothing, or refused.

Each function that reads a table of options stands before the one that writes it. What a table has no option for is left out
there; reading the table back shows it (`express.py`). Sources are named as file: symbol of the safari repository.
"""

from typing import Any

from hyena.checkpoints.account import Account
from hyena.configs.mixers import Activation, AttentionConfig, HyenaConfig, ImplicitFilterConfig, Mixers
from hyena.configs.model import ModelConfig
from hyena.errors import HyenaError

# The names that src/models/nn/components.py: Activation accepts.
_ACTIVATIONS: dict[str, Activation] = {
    **dict.fromkeys(("id", "identity", "linear"), "identity"),
    **dict.fromkeys(("swish", "silu"), "silu"),
    "tanh": "tanh",
    "relu": "relu",
    "gelu": "gelu",
    "sigmoid": "sigmoid",
}
_INITIAL_STD = 0.02  # long_conv_lm.py: _init_weights


def operator_config(options: Account[Any], shift: float) -> tuple[HyenaConfig, int]:
    """HyenaOperator's arguments -> our configuration and max_length; `shift` is the format's default for the window."""
    o = options
    why = "the published operator raises with it"
    for key in ("num_heads", "inner_factor"):
        o.expect(key, 1, why)
    o.expect("jit_filter", False, why)
    o.expect("num_blocks", 1, "the published operator is not causal with it")
    o.expect("bidirectional", False, "it mixes only tokens that are farther apart than half the sequence")
    o.expect("linear_mixer", False, "no released model uses it")
    o.expect("filter_cls", "hyena-filter", "no other filter is known")
    o.expect("train_freq", True, "here the sine frequencies train; freeze them with requires_grad_(False)")
    o.expect("return_state", False, "the published state is None")
    # Speed, optimiser groups, and options that the published code accepts and never reads.
    o.ignore("fused_fft_conv", "fused_bias_fc", "lr", "wd", "filter_dropout", "local_order", "_name_")
    act = o.take("activation", "id")
    if act not in _ACTIVATIONS:
        raise HyenaError(f"{o.source}: activation is {act!r}: one of {', '.join(_ACTIVATIONS)} can be loaded")
    filter = ImplicitFilterConfig(
        features=o.take("emb_dim", 3),
        width=o.take("filter_order", 64),
        inner_layers=o.take("num_inner_mlps", 2),
        frequency=o.number("w", 1),
        train_features=o.take("lr_pos_emb", 1e-5) != 0,
        window="exponential" if o.take("modulate", True) else "none",
        decay_target=o.take("target", 1e-2),
        fast_decay=o.take("fast_decay_pct", 0.3),
        slow_decay=o.take("slow_decay_pct", 1.5),
        shift=o.take("shift", shift),
        channel_norm=o.take("normalized", False),
        init_std=None,
    )
    config = HyenaConfig(
        order=o.take("order", 2),
        short_taps=o.take("short_filter_order", 3),
        activation=_ACTIVATIONS[act],
        gating="outer" if o.take("outer_mixing", False) else "elementwise",
        order_scale=o.take("post_order_ffn", False),
        skip=o.take("bias", True),
        dropout=o.number("dropout", 0.0),
        filter=filter,
    )
    return config, o.whole("l_max")


def operator_options(config: HyenaConfig, max_length: int) -> dict[str, Any]:
    """The inverse of `operator_config`. The shift is always written, because the published codes differ in its default."""
    filter = config.filter
    return {
        "emb_dim": filter.features,
        "filter_order": filter.width,
        "num_inner_mlps": filter.inner_layers,
        "w": filter.frequency,
        "lr_pos_emb": 1e-5 if filter.train_features else 0.0,
        "modulate": filter.window == "exponential",
        "target": filter.decay_target,
        "fast_decay_pct": filter.fast_decay,
        "slow_decay_pct": filter.slow_decay,
        "shift": filter.shift,
        "normalized": filter.channel_norm,
        "order": config.order,
        "short_filter_order": config.short_taps,
        "activation": next((theirs for theirs, ours in _ACTIVATIONS.items() if ours == config.activation), "id"),
        "outer_mixing": config.gating == "outer",
        "post_order_ffn": config.order_scale,
        "bias": config.skip,
        "dropout": config.dropout,
        "l_max": max_length,
    }


def attention_config(options: Account[Any]) -> AttentionConfig:
    """flash_attn's MHA arguments as safari's create_mixer_cls passes them."""
    o = options
    # create_mixer_cls pops `causal` from the shared dictionary at the first layer and defaults to True at the next.
    o.expect("causal", True, "attention that sees the future does not predict it")
    o.expect("rotary_emb_scale_base", 0, "scaled rotary positions are not known here")
    o.expect("dwconv", False, "a convolution inside attention is not known here")
    o.expect("cross_attn", False, "there is one sequence")
    o.ignore("use_flash_attn", "fused_bias_fc", "return_residual", "checkpointing", "device", "dtype")  # speed
    config = AttentionConfig(
        heads=o.take("num_heads"),
        rotary_width=o.take("rotary_emb_dim", 0),
        qkv_bias=o.take("qkv_proj_bias", o.take("bias", True)),
        out_bias=o.take("out_proj_bias", True),
        dropout=o.number("dropout", 0.0),
    )
    o.close()
    return config


def attention_options(config: AttentionConfig) -> dict[str, Any]:
    """The inverse of `attention_config`, with the options that every version of MHA knows where the defaults are enough."""
    options: dict[str, Any] = {"num_heads": config.heads, "causal": True, "dropout": config.dropout}
    options |= {"rotary_emb_dim": config.rotary_width} if config.rotary_width else {}
    options |= {} if config.qkv_bias else {"qkv_proj_bias": False}
    return options | ({} if config.out_bias else {"out_proj_bias": False})


def model_config(config: dict[str, Any], shift: float = 0.0, tokenizer: str | None = None) -> ModelConfig:
    """ConvLMHeadModel's arguments (src/models/sequence/long_conv_lm.py) -> our configuration."""
    o: Account[Any] = Account(config, "the published configuration")
    layer: Account[Any] = Account(o.take("layer"), "the published configuration's layer")
    name = layer.items.get("_name_", "hyena")
    if name != "hyena":
        raise HyenaError(f"{layer.source}: _name_ is {name!r}: only 'hyena' can be loaded")
    # Speed, memory, initialisation and what the constructor returns: none changes the function of loaded weights.
    o.ignore("fused_mlp", "fused_dropout_add_ln", "checkpoint_mixer", "checkpoint_mlp", "process_group", "sequence_parallel")
    o.ignore("return_hidden_state", "device", "dtype", "_name_", "use_head", "n_classes")
    o.expect("layer_norm_epsilon", 1e-5, "the published blocks use 1e-5 whatever it says")
    hyena, max_length = operator_config(layer, shift)
    layer.ignore("channel_layout")
    layer.close()
    layers = o.take("attn_layer_idx", None) or []
    if not isinstance(layers, list | tuple):
        raise HyenaError(f"{o.source}: attn_layer_idx is {layers!r}: a list of layers is needed")
    attention = set(layers)
    options = o.take("attn_cfg", None)
    mixers = Mixers(H=hyena)
    if attention:
        if options is None:
            raise HyenaError(f"{o.source} has attn_layer_idx {sorted(attention)} and no attn_cfg: add it")
        mixers = Mixers(H=hyena, A=attention_config(Account(options, "the published configuration's attn_cfg")))
    initial: Account[Any] = Account(o.take("initializer_cfg", None) or {}, "the published configuration's initializer_cfg")
    width, depth = o.whole("d_model"), o.whole("n_layer")
    hidden = o.take("d_inner", None)
    result = ModelConfig(
        pattern="".join("A" if i in attention else "H" for i in range(depth)),
        width=width,
        vocab_size=o.whole("vocab_size"),
        vocab_multiple=o.whole("pad_vocab_size_multiple", 1),
        max_length=max_length,
        tokenizer=tokenizer,
        mlp_width=None if hidden == 4 * width else hidden,
        position_rows=o.take("max_position_embeddings", 0) or 0,
        dropout=o.number("resid_dropout", 0.0),
        embed_dropout=o.number("embed_dropout", 0.1),
        float32_residual=o.take("residual_in_fp32", False),
        init_std=initial.number("initializer_range", _INITIAL_STD),
        mixers=mixers,
    )
    o.close()
    return result


def model_options(config: ModelConfig) -> dict[str, Any]:
    """The inverse of `model_config`; speed options as the released configurations have them."""
    attention = [i for i, letter in enumerate(config.layers) if letter == "A"]
    return {
        "d_model": config.width,
        "n_layer": len(config.layers),
        "d_inner": config.hidden,
        "vocab_size": config.vocab_size,
        "resid_dropout": config.dropout,
        "embed_dropout": config.embed_dropout,
        "layer": {"_name_": "hyena", **operator_options(config.mixers.H, config.max_length)},
        "fused_mlp": False,
        "fused_dropout_add_ln": False,
        "residual_in_fp32": config.float32_residual,
        "pad_vocab_size_multiple": config.vocab_multiple,
        "max_position_embeddings": config.position_rows,
        **({} if config.init_std == _INITIAL_STD else {"initializer_cfg": {"initializer_range": config.init_std}}),
        **({"attn_layer_idx": attention, "attn_cfg": attention_options(config.mixers.A)} if attention else {}),
    }

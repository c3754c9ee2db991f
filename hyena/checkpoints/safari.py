"""safari (HazyResearch/safari): the operator and the language model, in the layouts of its two implementations.

Sources are named as file: symbol of the safari repository. Every difference between its tensors and ours is undone by a named
function here; nothing of it reaches the modules.
"""

from typing import Any

import torch
from torch import Tensor, nn

from hyena.checkpoints.account import Account
from hyena.configs.mixers import AttentionConfig, HyenaConfig, ImplicitFilterConfig, Mixers
from hyena.configs.model import ModelConfig
from hyena.errors import HyenaError

# Which index runs fastest in the channels of filters, skips and windows of order > 2.
CHANNEL_FIRST = "channel-first"  # channel c (N - 1) + o: src/models/sequence/hyena.py
ORDER_FIRST = "order-first"  # channel o D + c: standalone_hyena.py, and ours
LAYOUTS = (CHANNEL_FIRST, ORDER_FIRST)

_ACTIVATIONS = {"id": "identity", "identity": "identity", "linear": "identity", "tanh": "tanh", "relu": "relu", "gelu": "gelu",
                "swish": "silu", "silu": "silu", "sigmoid": "sigmoid"}  # fmt: skip


# --- configurations ---------------------------------------------------------------------------------------------------------


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
        frequency=float(o.take("w", 1)),
        train_features=o.take("lr_pos_emb", 1e-5) != 0,
        window="exponential" if o.take("modulate", True) else "none",
        decay_target=o.take("target", 1e-2),
        fast_decay=o.take("fast_decay_pct", 0.3),
        slow_decay=o.take("slow_decay_pct", 1.5),
        shift=o.take("shift", shift),
        channel_norm=o.take("normalized", False),
    )
    config = HyenaConfig(
        order=o.take("order", 2),
        short_taps=o.take("short_filter_order", 3),
        activation=_ACTIVATIONS[act],  # pyright: ignore[reportArgumentType]
        gating="outer" if o.take("outer_mixing", False) else "elementwise",
        order_scale=o.take("post_order_ffn", False),
        skip=o.take("bias", True),
        dropout=float(o.take("dropout", 0.0)),
        filter=filter,
    )
    return config, o.take("l_max")


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
        dropout=float(o.take("dropout", 0.0)),
    )
    o.close()
    return config


def model_config(config: dict[str, Any], shift: float = 0.0, tokenizer: str | None = None) -> ModelConfig:
    """ConvLMHeadModel's arguments (src/models/sequence/long_conv_lm.py) -> our configuration."""
    o: Account[Any] = Account(config, "the published configuration")
    layer: Account[Any] = Account(o.take("layer"), "the published configuration's layer")
    name = layer.items.get("_name_", "hyena")
    if name != "hyena":
        raise HyenaError(f"{layer.source}: _name_ is {name!r}: only 'hyena' can be loaded")
    # Speed, memory, initialisation and what the constructor returns: none changes the function of loaded weights.
    o.ignore("fused_mlp", "fused_dropout_add_ln", "checkpoint_mixer", "checkpoint_mlp", "return_hidden_state",
             "initializer_cfg", "process_group", "sequence_parallel", "device", "dtype", "_name_", "use_head", "n_classes")  # fmt: skip
    for key in ("layer_norm_epsilon",):
        o.expect(key, 1e-5, "the published blocks use 1e-5 whatever it says")
    hyena, max_length = operator_config(layer, shift)
    layer.ignore("channel_layout")
    layer.close()
    attention = set(o.take("attn_layer_idx", None) or ())
    options = o.take("attn_cfg", None)
    mixers = Mixers(H=hyena)
    if attention:
        if options is None:
            raise HyenaError(f"{o.source} has attn_layer_idx {sorted(attention)} and no attn_cfg: add it")
        mixers = Mixers(H=hyena, A=attention_config(Account(options, "the published configuration's attn_cfg")))
    width, depth = o.take("d_model"), o.take("n_layer")
    hidden = o.take("d_inner", None)
    result = ModelConfig(
        pattern="".join("A" if i in attention else "H" for i in range(depth)),
        width=width,
        vocab_size=o.take("vocab_size"),
        vocab_multiple=o.take("pad_vocab_size_multiple", 1),
        max_length=max_length,
        tokenizer=tokenizer,
        mlp_width=None if hidden == 4 * width else hidden,
        position_rows=o.take("max_position_embeddings", 0) or 0,
        dropout=float(o.take("resid_dropout", 0.0)),
        embed_dropout=float(o.take("embed_dropout", 0.1)),
        float32_residual=o.take("residual_in_fp32", False),
        mixers=mixers,
    )
    o.close()
    return result


# --- tensors ----------------------------------------------------------------------------------------------------------------


def flip_taps(weight: Tensor) -> Tensor:
    """Conv1d weights (D, 1, K) -> our taps (D, K). conv1d correlates: its last tap multiplies the present token, ours the first."""
    return weight.squeeze(1).flip(-1)


def order_first(x: Tensor, convolutions: int, layout: str) -> Tensor:
    """Rows of filters, skips and windows -> row o D + c. src/…/hyena.py reads them '(v o)', standalone_hyena.py '(o d)'."""
    if layout == ORDER_FIRST or convolutions == 1:
        return x
    return x.unflatten(0, (-1, convolutions)).transpose(0, 1).flatten(0, 1)


def shared_frequency(tensors: Account[Tensor], prefix: str, sines: int) -> Tensor:
    """One Sin module serves all layers (HyenaFilter.__init__), so its freq (1, W) is saved under up to `sines` keys."""
    freq = tensors.take(f"{prefix}.1.freq")
    for i in range(1, sines):
        key = f"{prefix}.{2 * i + 1}.freq"
        if not torch.equal(tensors.take(key, freq), freq):
            raise HyenaError(f"{tensors.source}: {key} differs from {prefix}.1.freq, yet both are one shared tensor")
    return freq.squeeze(0)


def operator_tensors(tensors: Account[Tensor], prefix: str, config: HyenaConfig, layout: str) -> dict[str, Tensor]:
    """HyenaOperator's tensors under `prefix` ('' or ending in a dot) -> ours."""
    take, convolutions, filter = tensors.take, config.order - 1, config.filter
    ours = {name: take(prefix + name) for name in ("in_proj.weight", "in_proj.bias", "out_proj.weight", "out_proj.bias")}
    ours["short_conv.taps"] = flip_taps(take(f"{prefix}short_filter.weight"))
    ours["short_conv.bias"] = take(f"{prefix}short_filter.bias")
    skip = take(f"{prefix}filter_fn.bias")
    if config.skip:  # with bias=False the published code multiplies it by zero
        ours["skip"] = order_first(skip, convolutions, layout)
    if config.order_scale:
        scale = take(f"{prefix}ord_proj_w")
        if scale.shape[1:] != (1, 1):
            raise HyenaError(f"{tensors.source}: {prefix}ord_proj_w mixes heads {tuple(scale.shape)}: one head can be loaded")
        ours["order_scale"] = scale[:convolutions, 0, 0]  # `order` rows are saved, order - 1 are used
    mlp, grid = f"{prefix}filter_fn.implicit_filter", f"{prefix}filter_fn.pos_emb"
    for i in range(filter.inner_layers + 1):
        for kind in ("weight", "bias"):
            ours[f"filter.layers.{i}.{kind}"] = take(f"{mlp}.{2 * i}.{kind}")
    ours["filter.out.weight"] = order_first(take(f"{mlp}.{2 * filter.inner_layers + 2}.weight"), convolutions, layout)
    ours["filter.frequency"] = shared_frequency(tensors, mlp, filter.inner_layers + 1)
    ours["filter.z"], ours["filter.t"] = take(f"{grid}.z").squeeze(0), take(f"{grid}.t")[0, :, 0]
    deltas = take(f"{prefix}filter_fn.modulation.deltas", None)  # pyright: ignore[reportArgumentType]
    if filter.window == "exponential":
        if deltas is None:
            raise HyenaError(f"{tensors.source} lacks {prefix}filter_fn.modulation.deltas: is it whole?")
        ours["filter.decay"] = order_first(deltas[0, 0], convolutions, layout)
    return ours


def attention_tensors(tensors: Account[Tensor], prefix: str, config: AttentionConfig) -> dict[str, Tensor]:
    """flash_attn's MHA under `prefix`: its rows (three, head, channel) are ours; the frequencies are a buffer."""
    kinds = {"qkv_proj": ("Wqkv", config.qkv_bias), "out_proj": ("out_proj", config.out_bias)}
    ours = {f"{name}.weight": tensors.take(f"{prefix}{theirs}.weight") for name, (theirs, _) in kinds.items()}
    ours |= {f"{name}.bias": tensors.take(f"{prefix}{theirs}.bias") for name, (theirs, bias) in kinds.items() if bias}
    if config.rotary_width:
        ours["rotary.inv_freq"] = tensors.take(f"{prefix}rotary_emb.inv_freq")
    return ours


def backbone_tensors(tensors: Account[Tensor], prefix: str, config: ModelConfig, layout: str) -> dict[str, Tensor]:
    """LMBackbone's tensors under `prefix` -> ours, names from `backbone.` on."""
    take = tensors.take
    ours = {"embedding.weight": take(f"{prefix}embeddings.word_embeddings.weight")}
    if config.position_rows:
        ours["positions.weight"] = take(f"{prefix}embeddings.position_embeddings.weight")
    renamed = {"mixer_norm": "norm1", "mlp_norm": "norm2", "mlp.up_proj": "mlp.fc1", "mlp.down_proj": "mlp.fc2"}
    for i, letter in enumerate(config.layers):
        layer = f"{prefix}layers.{i}."
        if letter == "A":
            mixer = attention_tensors(tensors, f"{layer}mixer.", config.mixers.A)
        else:
            mixer = operator_tensors(tensors, f"{layer}mixer.", config.mixers.H, layout)
        ours |= {f"blocks.{i}.mixer.{name}": tensor for name, tensor in mixer.items()}
        for name, theirs in renamed.items():
            for kind in ("weight", "bias"):
                ours[f"blocks.{i}.{name}.{kind}"] = take(f"{layer}{theirs}.{kind}")
    for kind in ("weight", "bias"):
        ours[f"norm.{kind}"] = take(f"{prefix}ln_f.{kind}")
    return {f"backbone.{name}": tensor for name, tensor in ours.items()}


def tied_head(tensors: Account[Tensor], embedding: Tensor) -> None:
    """lm_head.weight is the embedding again (ConvLMHeadModel.tie_weights); some files leave it out."""
    if not torch.equal(tensors.take("lm_head.weight", embedding), embedding):
        raise HyenaError(f"{tensors.source}: lm_head.weight differs from the embedding, yet the published model ties them")


def plain_names(tensors: dict[str, Tensor], source: str) -> dict[str, Tensor]:
    """Lightning's 'model.' prefix and the '.layer' of gradient-checkpointed trainings (CheckpointedModule) taken away."""
    plain: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        name = key.removeprefix("model.").replace(".mixer.layer.", ".mixer.").replace(".mlp.layer.", ".mlp.")
        if name in plain:
            raise HyenaError(f"{source}: {key} stands for {name}, which is there already")
        plain[name] = tensor
    return plain


def language_model(tensors: dict[str, Tensor], config: dict[str, Any], source: str) -> tuple[ModelConfig, dict[str, Tensor]]:
    """A safari checkpoint -> configuration and tensors of our LanguageModel."""
    ours = model_config(config)
    account = Account(plain_names(tensors, source), source)
    values = backbone_tensors(account, "backbone.", ours, CHANNEL_FIRST)
    tied_head(account, values["backbone.embedding.weight"])
    account.close()
    return ours, values


def operator(tensors: dict[str, Tensor], config: dict[str, Any], layout: str, source: str) -> nn.Module:
    """A bare HyenaOperator -> our mixer."""
    from hyena.models.store import assign
    from hyena.modules import build

    options: Account[Any] = Account(config, "the published configuration")
    width = options.take("d_model")
    ours, max_length = operator_config(options, shift=0.0)
    options.close()
    account = Account(tensors, source)
    values = operator_tensors(account, "", ours, layout)
    account.close()
    with torch.device("meta"):
        mixer = build(ours, width, max_length, "error")
    assign(mixer, values, source)
    return mixer.eval()

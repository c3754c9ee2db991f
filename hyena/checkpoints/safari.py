"""safari's published tensors (HazyResearch/safari) -> ours: the operator and the language model of its two implementations.

Every difference is undone by a named function here and nothing of it reaches the modules. Sources are named as file: symbol.
"""

from typing import Any

import torch
from torch import Tensor, nn

from hyena.checkpoints.account import Account
from hyena.checkpoints.safari_config import model_config, operator_config
from hyena.configs.mixers import AttentionConfig, HyenaConfig
from hyena.configs.model import ModelConfig
from hyena.errors import HyenaError
from hyena.models.store import assign
from hyena.modules import build

# Which index runs fastest in the channels of filters, skips and windows of order > 2.
CHANNEL_FIRST = "channel-first"  # channel c (N - 1) + o: src/models/sequence/hyena.py
ORDER_FIRST = "order-first"  # channel o D + c: standalone_hyena.py, and ours
LAYOUTS = (CHANNEL_FIRST, ORDER_FIRST)


def flip_taps(weight: Tensor) -> Tensor:
    """Conv1d weights (D, 1, K) -> our taps (D, K). conv1d correlates: its last tap multiplies the present token."""
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
    deltas = tensors.get(f"{prefix}filter_fn.modulation.deltas")
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
    options: Account[Any] = Account(config, "the published configuration")
    width = options.whole("d_model")
    ours, max_length = operator_config(options, shift=0.0)
    options.close()
    account = Account(tensors, source)
    values = operator_tensors(account, "", ours, layout)
    account.close()
    with torch.device("meta"):
        mixer = build(ours, width, max_length, "error")
    assign(mixer, values, source)
    return mixer.eval()

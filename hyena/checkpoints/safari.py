"""safari's published tensors (HazyResearch/safari) <-> ours: the operator and the language model of its two implementations.

Every difference is undone by a named function here, with its inverse beside it, and nothing of it reaches the modules. A table
of pairs is read by the importer and written by the exporter below it. Sources are named as file: symbol.
"""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from hyena.checkpoints.account import Account, renamed
from hyena.checkpoints.pairs import Pair, named, read, write
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


# --- the differences, each beside its inverse -------------------------------------------------------------------------------


def flip_taps(weight: Tensor) -> Tensor:
    """Conv1d weights (D, 1, K) -> our taps (D, K). conv1d correlates: its last tap multiplies the present token."""
    return weight.squeeze(1).flip(-1)


def conv1d_weight(taps: Tensor) -> Tensor:
    """The inverse of `flip_taps`."""
    return taps.flip(-1).unsqueeze(1)


def order_first(x: Tensor, convolutions: int, layout: str) -> Tensor:
    """Rows of filters, skips and windows -> row o D + c. src/…/hyena.py reads them '(v o)', standalone_hyena.py '(o d)'."""
    if layout == ORDER_FIRST or convolutions == 1:
        return x
    return x.unflatten(0, (-1, convolutions)).transpose(0, 1).flatten(0, 1)


def in_layout(x: Tensor, convolutions: int, layout: str) -> Tensor:
    """The inverse of `order_first`: row o D + c -> the rows of a layout."""
    if layout == ORDER_FIRST or convolutions == 1:
        return x
    return x.unflatten(0, (convolutions, -1)).transpose(0, 1).flatten(0, 1)


def shared_frequency(tensors: Account[Tensor], prefix: str, sines: int) -> Tensor:
    """One Sin module serves all layers (HyenaFilter.__init__), so its freq (1, W) is saved under up to `sines` keys."""
    freq = tensors.take(f"{prefix}.1.freq")
    for i in range(1, sines):
        key = f"{prefix}.{2 * i + 1}.freq"
        if not torch.equal(tensors.take(key, freq), freq):
            raise HyenaError(f"{tensors.source}: {key} differs from {prefix}.1.freq, yet both are one shared tensor")
    return freq.squeeze(0)


def repeated_frequency(frequency: Tensor, prefix: str, sines: int) -> dict[str, Tensor]:
    """The inverse of `shared_frequency`: one tensor under every key of its aliases."""
    return dict.fromkeys([f"{prefix}.{2 * i + 1}.freq" for i in range(sines)], frequency.unsqueeze(0))


def used_scales(scale: Tensor, convolutions: int) -> Tensor:
    """ord_proj_w (N, heads, heads) of one head -> our scales (N - 1,): N rows are saved, N - 1 are used."""
    if scale.shape[1:] != (1, 1):
        raise HyenaError(f"mixes heads {tuple(scale.shape)}: one head can be loaded")
    return scale[:convolutions, 0, 0]


def all_scales(scale: Tensor) -> Tensor:
    """The inverse of `used_scales`, with 0 in the row that the published code never reads."""
    return torch.cat([scale, scale.new_zeros(1)])[:, None, None]


def unread(config: HyenaConfig, rows: int) -> dict[str, Tensor]:
    """What the published operator saves and never reads: a skip that bias=False multiplies by zero, the decay of no window."""
    spare = {}
    if not config.skip:
        spare["filter_fn.bias"] = torch.zeros(rows)
    if config.filter.window == "none":
        slow, fast = (math.log(config.filter.decay_target) / f for f in (config.filter.slow_decay, config.filter.fast_decay))
        spare["filter_fn.modulation.deltas"] = torch.linspace(slow, fast, rows)[None, None]
    return spare


def tied_head(tensors: Account[Tensor], embedding: Tensor) -> None:
    """lm_head.weight is the embedding again (ConvLMHeadModel.tie_weights); some files leave it out."""
    if not torch.equal(tensors.take("lm_head.weight", embedding), embedding):
        raise HyenaError(f"{tensors.source}: lm_head.weight differs from the embedding, yet the published model ties them")


def repeated_embedding(embedding: Tensor) -> dict[str, Tensor]:
    """The inverse of `tied_head`."""
    return {"lm_head.weight": embedding}


# --- the tensors, read and written ------------------------------------------------------------------------------------------

_MLP = "filter_fn.implicit_filter"


def _operator_pairs(config: HyenaConfig, layout: str) -> list[Pair]:
    """HyenaOperator's tensors, but for the shared frequency and what nobody reads."""
    convolutions, filter = config.order - 1, config.filter
    undo = partial(order_first, convolutions=convolutions, layout=layout)
    redo = partial(in_layout, convolutions=convolutions, layout=layout)
    pairs = named("in_proj", "in_proj", "weight", "bias") + named("out_proj", "out_proj", "weight", "bias")
    pairs += [Pair("short_conv.taps", "short_filter.weight", flip_taps, conv1d_weight)]
    pairs += named("short_conv", "short_filter", "bias")
    if config.skip:
        pairs += [Pair("skip", "filter_fn.bias", undo, redo)]
    if config.order_scale:
        pairs += [Pair("order_scale", "ord_proj_w", partial(used_scales, convolutions=convolutions), all_scales)]
    for i in range(filter.inner_layers + 1):
        pairs += named(f"filter.layers.{i}", f"{_MLP}.{2 * i}", "weight", "bias")
    pairs += [Pair("filter.out.weight", f"{_MLP}.{2 * filter.inner_layers + 2}.weight", undo, redo)]
    pairs += [Pair("filter.z", "filter_fn.pos_emb.z", lambda z: z.squeeze(0), lambda z: z.unsqueeze(0))]
    pairs += [Pair("filter.t", "filter_fn.pos_emb.t", lambda t: t[0, :, 0], lambda t: t[None, :, None])]
    if filter.window == "exponential":
        decay = "filter_fn.modulation.deltas"
        pairs += [Pair("filter.decay", decay, lambda d: undo(d[0, 0]), lambda d: redo(d)[None, None])]
    return pairs


def operator_tensors(tensors: Account[Tensor], prefix: str, config: HyenaConfig, layout: str) -> dict[str, Tensor]:
    """HyenaOperator's tensors under `prefix` ('' or ending in a dot) -> ours."""
    ours = read(_operator_pairs(config, layout), tensors, prefix)
    ours["filter.frequency"] = shared_frequency(tensors, prefix + _MLP, config.filter.inner_layers + 1)
    tensors.ignore(*(prefix + key for key in unread(config, 0)))
    return ours


def published_operator(values: Account[Tensor], ours: str, theirs: str, config: HyenaConfig, layout: str) -> dict[str, Tensor]:
    """The inverse of `operator_tensors`: our tensors under the prefix `ours` -> HyenaOperator's under `theirs`."""
    tensors = write(_operator_pairs(config, layout), values, ours, theirs)
    frequency = values.take(f"{ours}filter.frequency")
    tensors |= repeated_frequency(frequency, theirs + _MLP, config.filter.inner_layers + 1)
    rows = values.items[f"{ours}filter.out.weight"].shape[0]
    return tensors | {theirs + key: spare.to(frequency.dtype) for key, spare in unread(config, rows).items()}


def _attention_pairs(config: AttentionConfig) -> list[Pair]:
    """flash_attn's MHA: its rows (three, head, channel) are ours; the frequencies are a buffer."""
    pairs: list[Pair] = []
    for ours, theirs, bias in (("qkv_proj", "Wqkv", config.qkv_bias), ("out_proj", "out_proj", config.out_bias)):
        pairs += named(ours, theirs, *(("weight", "bias") if bias else ("weight",)))
    return pairs + ([Pair("rotary.inv_freq", "rotary_emb.inv_freq")] if config.rotary_width else [])


def _stem_pairs(config: ModelConfig) -> list[Pair]:
    """LMBackbone's tensors outside of the layers."""
    pairs = named("embedding", "embeddings.word_embeddings", "weight") + named("norm", "ln_f", "weight", "bias")
    return pairs + (named("positions", "embeddings.position_embeddings", "weight") if config.position_rows else [])


_LAYER_PAIRS = [
    pair
    for ours, theirs in {
        "mixer_norm": "norm1",
        "mlp_norm": "norm2",
        "mlp.up_proj": "mlp.fc1",
        "mlp.down_proj": "mlp.fc2",
    }.items()
    for pair in named(ours, theirs, "weight", "bias")
]


def backbone_tensors(tensors: Account[Tensor], prefix: str, config: ModelConfig, layout: str) -> dict[str, Tensor]:
    """LMBackbone's tensors under `prefix` -> ours, names from `backbone.` on."""
    ours = read(_stem_pairs(config), tensors, prefix)
    for i, letter in enumerate(config.layers):
        layer = f"{prefix}layers.{i}."
        if letter == "A":
            mixer = read(_attention_pairs(config.mixers.A), tensors, f"{layer}mixer.")
        else:
            mixer = operator_tensors(tensors, f"{layer}mixer.", config.mixers.H, layout)
        ours |= {f"blocks.{i}.mixer.{name}": tensor for name, tensor in mixer.items()}
        ours |= {f"blocks.{i}.{name}": tensor for name, tensor in read(_LAYER_PAIRS, tensors, layer).items()}
    return {f"backbone.{name}": tensor for name, tensor in ours.items()}


def published_backbone(values: Account[Tensor], prefix: str, config: ModelConfig, layout: str) -> dict[str, Tensor]:
    """The inverse of `backbone_tensors`: our tensors from `backbone.` on -> LMBackbone's under `prefix`."""
    theirs = write(_stem_pairs(config), values, "backbone.", prefix)
    for i, letter in enumerate(config.layers):
        block, layer = f"backbone.blocks.{i}.", f"{prefix}layers.{i}."
        if letter == "A":
            theirs |= write(_attention_pairs(config.mixers.A), values, f"{block}mixer.", f"{layer}mixer.")
        else:
            theirs |= published_operator(values, f"{block}mixer.", f"{layer}mixer.", config.mixers.H, layout)
        theirs |= write(_LAYER_PAIRS, values, block, layer)
    return theirs


def plain_names(tensors: Mapping[str, Tensor], source: str) -> Mapping[str, Tensor]:
    """Lightning's 'model.' prefix and the '.layer' of gradient-checkpointed trainings (CheckpointedModule) taken away."""
    return renamed(
        tensors,
        lambda key: key.removeprefix("model.").replace(".mixer.layer.", ".mixer.").replace(".mlp.layer.", ".mlp."),
        source,
    )


def language_model(tensors: Mapping[str, Tensor], config: dict[str, Any], source: str) -> tuple[ModelConfig, dict[str, Tensor]]:
    """A safari checkpoint -> configuration and tensors of our LanguageModel."""
    ours = model_config(config)
    account = Account(plain_names(tensors, source), source)
    values = backbone_tensors(account, "backbone.", ours, CHANNEL_FIRST)
    tied_head(account, values["backbone.embedding.weight"])
    account.close()
    return ours, values


def published_language_model(values: Account[Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """The inverse of `language_model`, but for the configuration (`safari_config.model_options`)."""
    theirs = published_backbone(values, "backbone.", config, CHANNEL_FIRST)
    return theirs | repeated_embedding(theirs["backbone.embeddings.word_embeddings.weight"])


def operator(tensors: Mapping[str, Tensor], config: dict[str, Any], layout: str, source: str) -> nn.Module:
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

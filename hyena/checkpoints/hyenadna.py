"""HyenaDNA (HazyResearch/hyena-dna) <-> ours: the original Lightning checkpoint and the transformers port on the hub.

The model is safari's of order 2 with 12 symbols in 16 rows. Two things differ: its published inference code
(standalone_hyenadna.py, modeling_hyena.py) adds a shift of 0.05 to the window where the training code has 0, and no
configuration says so; and for order > 2 the two codes read the channels in different orders.
"""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from hyena.checkpoints import safari
from hyena.checkpoints.account import Account
from hyena.checkpoints.safari_config import model_config, model_options
from hyena.configs.mixers import HyenaConfig, ImplicitFilterConfig, Mixers
from hyena.configs.model import ModelConfig
from hyena.errors import HyenaError

SHIFT = 0.05
ORIGINAL_HEAD = {"pool": "mean", "bias": True}  # HyenaDNAModel(use_head=True): the mean over all positions, then a map
PORT_HEAD = {"pool": "last", "bias": False}  # HyenaDNAForSequenceClassification
# Options that src/ reads and standalone_hyenadna.py takes and ignores: with them the checkpoint would be two functions.
_SWALLOWED = ("activation", "outer_mixing", "post_order_ffn", "normalized")
Loaded = tuple[ModelConfig, dict[str, Any] | None, dict[str, Tensor]]


def original(tensors: Mapping[str, Tensor], config: dict[str, Any], source: str) -> Loaded:
    """weights.ckpt -> configuration, head options (None: a language model) and our tensors."""
    ours = original_config(config)
    account = Account(safari.plain_names(tensors, source), source)
    values = safari.backbone_tensors(account, "backbone.", ours, _layout(config, ours))
    head = None
    if "head.output_transform.weight" in account:
        values["score.weight"] = account.take("head.output_transform.weight")
        values["score.bias"] = account.take("head.output_transform.bias")
        head = {"classes": values["score.weight"].shape[0], **ORIGINAL_HEAD}
    else:
        safari.tied_head(account, values["backbone.embedding.weight"])
    account.close()
    return ours, head, values


def published_original(values: Account[Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """The inverse of `original`: order first, with Lightning's prefix, which huggingface.py asks for."""
    theirs = safari.published_backbone(values, "backbone.", config, safari.ORDER_FIRST)
    if "score.weight" in values:
        theirs |= {f"head.output_transform.{kind}": values.take(f"score.{kind}") for kind in ("weight", "bias")}
    else:
        theirs |= safari.repeated_embedding(theirs["backbone.embeddings.word_embeddings.weight"])
    return {f"model.{name}": tensor for name, tensor in theirs.items()}


def transformers_port(tensors: Mapping[str, Tensor], config: dict[str, Any], source: str) -> Loaded:
    """model.safetensors of the -hf repositories: prefix 'hyena.', a head of its own, or `score` of the sequence classifier."""
    ours = port_config(config)
    account = Account(tensors, source)
    values = safari.backbone_tensors(account, "hyena.backbone.", ours, safari.ORDER_FIRST)
    head = None
    if "score.weight" in account:
        values["score.weight"] = account.take("score.weight")
        head = {"classes": values["score.weight"].shape[0], **PORT_HEAD}
    elif ours.tied:
        safari.tied_head(account, values["backbone.embedding.weight"])
    else:
        values["lm_head.weight"] = account.take("lm_head.weight")
    account.close()
    return ours, head, values


def published_port(values: Account[Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """The inverse of `transformers_port`. Of the shared frequency's keys the first alone is saved, as transformers does."""
    theirs = safari.published_backbone(values, "hyena.backbone.", config, safari.ORDER_FIRST)
    theirs = {name: tensor for name, tensor in theirs.items() if not name.endswith(".freq") or name.endswith(".1.freq")}
    if "score.weight" in values:
        return theirs | {"score.weight": values.take("score.weight")}
    if config.tied:
        return theirs | safari.repeated_embedding(theirs["hyena.backbone.embeddings.word_embeddings.weight"])
    return theirs | {"lm_head.weight": values.take("lm_head.weight")}


def lengths_before_padding(ids: Int[Tensor, "B L"], pad_id: int = 4) -> Int[Tensor, "B"]:
    """The lengths (B,) that the port's classifier uses: tokens before the first pad; the whole row where that is none.

    The port's own rule for rows padded on the left (a pad at position 0) is the last token, pads included: they leak. Pad on
    the right, or pass true lengths.
    """
    padded = ids == pad_id
    first = padded.int().argmax(1)
    return torch.where(first > 0, first, ids.shape[1])


def _tokenizer(config: dict[str, Any]) -> str | None:
    """The 12 symbols are the published character tokenizer's."""
    return "dna" if config.get("vocab_size") == 12 else None


def original_config(config: dict[str, Any]) -> ModelConfig:
    """The original's configuration -> ours."""
    return model_config(config, SHIFT, _tokenizer(config))


def original_options(config: ModelConfig, head: dict[str, Any] | None) -> dict[str, Any]:
    """The inverse of `original_config`. The head is no part of it: huggingface.py passes use_head and n_classes beside it."""
    options = model_options(config) | {"checkpoint_mixer": False, "checkpoint_mlp": False, "return_hidden_state": True}
    layer = {name: value for name, value in options["layer"].items() if name not in _SWALLOWED}
    return options | {"layer": layer | ({"channel_layout": safari.ORDER_FIRST} if config.mixers.H.order > 2 else {})}


def _layout(config: dict[str, Any], ours: ModelConfig) -> str:
    """The channel layout for order > 2, which the repository's two codes read differently: it must be said."""
    layout = config["layer"].get("channel_layout")
    if ours.mixers.H.order > 2 and layout not in safari.LAYOUTS:
        raise HyenaError(
            f"order {ours.mixers.H.order} has two published channel layouts: add 'channel_layout' to the "
            f"configuration's layer, {safari.CHANNEL_FIRST!r} (src/) or {safari.ORDER_FIRST!r} (standalone_hyenadna.py)"
        )
    return layout or safari.ORDER_FIRST


def port_config(config: dict[str, Any]) -> ModelConfig:
    """configuration_hyena.py's fields -> ours."""
    o: Account[Any] = Account(config, "the published configuration")
    o.expect("hyena_order", 2, "the port's filter has channels for order 2 alone")
    o.expect("short_filter_order", 3, "the port pads by 2 tokens whatever it says, so that other taps are another function")
    o.expect("train_freq", True, "here the sine frequencies train; freeze them with requires_grad_(False)")
    o.expect("layer_norm_epsilon", 1e-5, "the port's blocks use 1e-5 whatever it says")
    # Stored and never applied by the port, or bookkeeping of transformers.
    o.ignore("hyena_filter_dropout", "pad_token_id", "architectures", "model_type", "torch_dtype", "dtype")
    o.ignore("transformers_version", "auto_map", "_name_or_path", "problem_type", "id2label", "label2id", "use_cache")
    filter = ImplicitFilterConfig(
        features=o.take("emb_dim"),
        width=o.take("filter_order"),
        inner_layers=o.take("num_inner_mlps"),
        frequency=o.number("activation_freq"),
        fast_decay=0.3,
        slow_decay=1.5,
        init_std=None,
        shift=SHIFT,
    )
    hyena = HyenaConfig(
        short_taps=3,
        skip=o.take("use_bias"),
        dropout=o.number("hyena_dropout", 0.0),
        filter=filter,
    )
    width, hidden = o.whole("d_model"), o.whole("d_inner")
    ours = ModelConfig(
        pattern=o.whole("n_layer") * "H",
        width=width,
        vocab_size=o.whole("vocab_size"),
        vocab_multiple=o.whole("pad_vocab_size_multiple"),
        max_length=o.whole("max_seq_len"),
        tokenizer=_tokenizer(config),
        mlp_width=None if hidden == 4 * width else hidden,
        embed_dropout=o.number("embed_dropout"),
        tied=o.take("tie_word_embeddings", False),
        init_std=o.number("initializer_range", 0.02),
        mixers=Mixers(H=hyena),
    )
    o.close()
    return ours


def port_options(config: ModelConfig, head: dict[str, Any] | None) -> dict[str, Any]:
    """The inverse of `port_config`; a classifier's labels are numbered, as transformers does where they have no names."""
    hyena = config.mixers.H
    labels = {} if head is None else {i: f"LABEL_{i}" for i in range(head["classes"])}
    return {
        "model_type": "hyenadna",
        "architectures": ["HyenaDNAForCausalLM" if head is None else "HyenaDNAForSequenceClassification"],
        "d_model": config.width,
        "n_layer": len(config.layers),
        "d_inner": config.hidden,
        "max_seq_len": config.max_length,
        "vocab_size": config.vocab_size,
        "pad_vocab_size_multiple": config.vocab_multiple,
        "pad_token_id": 4,
        "tie_word_embeddings": config.tied,
        "hyena_order": 2,
        "short_filter_order": 3,
        "use_bias": hyena.skip,
        "emb_dim": hyena.filter.features,
        "filter_order": hyena.filter.width,
        "num_inner_mlps": hyena.filter.inner_layers,
        "activation_freq": hyena.filter.frequency,
        "train_freq": True,
        "embed_dropout": config.embed_dropout,
        "hyena_dropout": hyena.dropout,
        "hyena_filter_dropout": 0.0,
        "initializer_range": config.init_std,
        "layer_norm_epsilon": 1e-5,
        **({"id2label": labels, "label2id": {name: i for i, name in labels.items()}} if labels else {}),
    }

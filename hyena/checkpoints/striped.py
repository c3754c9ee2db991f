"""stripedhyena's and vortex's tensors <-> ours, as one list of pairs, read by the importer and written by the exporter, one
at a time, so that no step holds a model twice.

What differs is undone in `fixups.py`; the layout is the options' (`column_split_hyena`, `interleave`, `column_split`).
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from hyena.checkpoints import fixups
from hyena.checkpoints.account import Account
from hyena.checkpoints.pairs import Pair, named, same
from hyena.configs.mixers import AttentionConfig
from hyena.configs.model import ModelConfig
from hyena.errors import HyenaError

Change = tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]


def pairs(format: str, config: ModelConfig, options: Mapping[str, Any]) -> list[Pair]:
    """Every tensor of a model under both names, in the order of the published state dict; theirs without `backbone.`."""
    found = named("backbone.embedding", "embedding_layer", "weight")
    if not config.tied:
        found += named("lm_head", "unembed", "weight")
    found.append(Pair("backbone.norm.weight", "norm.scale"))
    for i, letter in enumerate(config.layers):
        ours, theirs = f"backbone.blocks.{i}.", f"blocks.{i}."
        mixer = _attention(format, config.mixers.A, options) if letter == "A" else _gated(format, config, letter, options)
        norms = [Pair("mixer_norm.weight", "pre_norm.scale"), Pair("mlp_norm.weight", "post_norm.scale")]
        found += [Pair(ours + p.ours, theirs + p.theirs, p.undo, p.redo) for p in norms + mixer + _MLP]
    return found


_MLP = named("mlp.gate_proj", "mlp.l1", "weight") + named("mlp.up_proj", "mlp.l2", "weight")
_MLP += named("mlp.down_proj", "mlp.l3", "weight")


def _attention(format: str, config: AttentionConfig, options: Mapping[str, Any]) -> list[Pair]:
    """flash_attn's MHA."""
    heads, change = options["num_attention_heads"], (same, same)
    if format == "vortex" and options.get("column_split", True):
        if options.get("proj_groups", 1) != 1:
            raise HyenaError("column_split with proj_groups above 1 cannot be loaded: the published code raises with it")
        change = (
            partial(fixups.query_rows_per_head, heads=heads),
            partial(fixups.published_query_rows_per_head, heads=heads),
        )
    found = [
        Pair(f"mixer.qkv_proj.{kind}", f"inner_mha_cls.Wqkv.{kind}", *change)
        for kind in (("weight", "bias") if config.qkv_bias else ("weight",))
    ]
    found += named("mixer.out_proj", "inner_mha_cls.out_proj", *(("weight", "bias") if config.out_bias else ("weight",)))
    base = config.rotary_base
    return [*found, Pair("mixer.rotary.inv_freq", "inner_mha_cls.rotary_emb.inv_freq", lambda t: fixups.frequencies(t, base))]


def _rows(options: Mapping[str, Any], format: str) -> Change:
    """The order of the 3 D rows of projections and short filters."""
    steps: list[Change] = []
    if format == "vortex" and options.get("interleave"):
        steps.append((fixups.interleaved_rows, fixups.published_interleaved_rows))
    if options.get("column_split_hyena", True):
        heads = options["num_attention_heads"]
        steps.append((partial(fixups.rows_per_head, heads=heads), partial(fixups.published_rows_per_head, heads=heads)))

    def undo(rows: Tensor) -> Tensor:
        for step in steps:
            rows = step[0](rows)
        return rows

    def redo(rows: Tensor) -> Tensor:
        for step in reversed(steps):
            rows = step[1](rows)
        return rows

    return undo, redo


def _gated(format: str, config: ModelConfig, letter: str, options: Mapping[str, Any]) -> list[Pair]:
    """ParallelGatedConvBlock's projections and its filter."""
    mixer: Any = config.mixer(letter)
    undo, redo = _rows(options, format)
    short, published_short = fixups.short_taps, fixups.published_short_taps
    found = [Pair("mixer.skip", "filter.D")] if mixer.skip else []
    found.append(
        Pair(
            "mixer.short_conv.taps", "filter.short_filter_weight", lambda t: undo(short(t)), lambda t: published_short(redo(t))
        )
    )
    if mixer.short_bias:
        found.append(Pair("mixer.short_conv.bias", "filter.short_filter_bias", undo, redo))
    found += _filter(letter)
    found += [
        Pair(f"mixer.in_proj.{kind}", f"projections.{kind}", undo, redo)
        for kind in (("weight", "bias") if mixer.in_bias else ("weight",))
    ]
    return found + named("mixer.out_proj", "out_filter_dense", *(("weight", "bias") if mixer.out_bias else ("weight",)))


def _filter(letter: str) -> list[Pair]:
    """The tensors of a filter."""
    if letter == "R":
        change = (fixups.pole_pairs, fixups.published_pole_pairs)
        return [Pair(f"mixer.filter.{name}", f"filter.{name}", *change) for name in ("poles", "residues")]
    if letter == "L":
        log_poles = Pair("mixer.filter.log_poles", "filter.log_poles", fixups.flat_log_poles, fixups.published_log_poles)
        return [log_poles, Pair("mixer.filter.residues", "filter.residues")]
    return [Pair("mixer.filter.taps", "filter.h", fixups.inner_taps, fixups.published_inner_taps)]


def values(
    pairs: list[Pair], tensors: Account[Tensor], shapes: Mapping[str, torch.Size], tied: bool
) -> Iterator[tuple[str, Tensor]]:
    """Our names and tensors, each read when it is asked for; every published tensor is used, kept or an error.

    tensors: named without `backbone.`; shapes: those that our tensors must have.
    """
    for pair in pairs:
        tensor = tensors.take(pair.theirs)
        wanted = pair.redo(torch.empty(shapes[pair.ours], device="meta")).shape
        if tensor.shape != wanted:
            has = f"has shape {tuple(tensor.shape)}, the configuration says {tuple(wanted)}"
            raise HyenaError(f"{tensors.source}: {pair.theirs} {has}")
        try:
            found = pair.undo(tensor)
        except HyenaError as error:
            raise HyenaError(f"{tensors.source}: {pair.theirs} {error}") from None
        if pair.theirs == "embedding_layer.weight" and tied:
            fixups.tied_unembed(tensors, tensor)
        yield pair.ours, found
    tensors.ignore(*fixups.kept_keys(tensors.open))
    tensors.close()

"""A model as the tensors of a stripedhyena or vortex file: as it was published, or as the published code saves it."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from hyena.checkpoints import fixups, striped
from hyena.checkpoints.pairs import Pair
from hyena.checkpoints.pickles import Layout
from hyena.models import LanguageModel
from hyena.models.published import Published
from hyena.models.tensorfile import Stored, of


def layout(format: str, model: LanguageModel, options: Mapping[str, Any]) -> Layout:
    """All keys of the file. What the model was published with beside our tensors is written word for word."""
    pairs = {pair.theirs: pair for pair in striped.pairs(format, model.config, options)}
    source = model.published
    published = source if source is not None and source.format == format else Published(format, {})
    keys = list(published.keys) or list(pairs)
    tied = format == "stripedhyena" and model.config.tied  # whose state dict holds the tied head a second time
    if not published.keys and tied:
        keys.insert(1, "unembed.weight")
    prefix = "backbone." if any(key.startswith("backbone.") for key in keys) else ""
    have = {fixups.plain_key(key) for key in keys}
    keys += [prefix + theirs for theirs in pairs if theirs not in have]
    state = model.state_dict()
    tensors: dict[str, Stored] = {}
    same: dict[str, str] = {}
    for key in keys:
        pair = pairs.get(fixups.plain_key(key))
        if pair is not None:
            stored = _kept_frequencies(published.tensors.get(key), pair, state)
            tensors[key] = stored or _made(pair, state[pair.ours], published.dtypes.get(pair.ours))
        elif key in published.tensors:
            tensors[key] = of(published.tensors[key])
        elif fixups.plain_key(key) == "unembed.weight":
            same[key] = f"{prefix}embedding_layer.weight"
            tensors[key] = _made(pairs["embedding_layer.weight"], state["backbone.embedding.weight"], None)
    return Layout(tensors, same, {key: kind for key, kind in published.kinds.items() if key in keys})


def _made(pair: Pair, tensor: Tensor, dtype: str | None) -> Stored:
    """One published tensor, in the precision that it had where that loses nothing."""
    shape = pair.redo(torch.empty(tensor.shape, device="meta")).shape
    if dtype is None or not torch.equal(tensor.to(getattr(torch, dtype)).to(tensor.dtype), tensor):
        return Stored(tuple(shape), tensor.dtype, lambda: pair.redo(tensor))
    return Stored(tuple(shape), getattr(torch, dtype), lambda: pair.redo(tensor).to(getattr(torch, dtype)))


def _kept_frequencies(kept: Tensor | None, pair: Pair, state: Mapping[str, Tensor]) -> Stored | None:
    """inv_freq in the half precision that it had, where the model's frequencies are still those that it stands for."""
    return of(kept) if kept is not None and torch.equal(pair.undo(kept), state[pair.ours].to(torch.float32)) else None

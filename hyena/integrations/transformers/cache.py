"""`HyenaCache`: a model's state as the cache of transformers.

A state belongs to the whole model: the long convolutions of all layers share one memory. So the cache has one layer, which
holds it; whatever transformers does to all layers of a cache is done to it.
"""

from dataclasses import fields
from typing import Any, NoReturn, Self

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin
from transformers.modeling_outputs import CausalLMOutputWithPast

from hyena.errors import HyenaError
from hyena.integrations.transformers.padding import Rows, rows_of
from hyena.models.backbone import Backbone
from hyena.models.state import ModelState
from hyena.ops.decoding import Decoding

CACHE = "cache" if "cache" in {field.name for field in fields(CausalLMOutputWithPast)} else "past_key_values"
"""What the installed transformers calls it: `past_key_values`, from 5.24 on `cache`. Our models take either name."""


class StateLayer(CacheLayerMixin):
    """The one layer: the state, and how many columns of the batch were read, padding included."""

    supports_early_init = False

    def __init__(self, max_length: int | None, decoding: Decoding):
        """As `LanguageModel.init_state`, which is called when the first tokens come."""
        super().__init__()
        self.max_length, self.decoding = max_length, decoding
        self.state: ModelState | None = None
        self.seen = 0

    def read(self, backbone: Backbone, rows: Rows) -> Float[Tensor, "B L D"]:
        """Hidden states of further tokens, which the state takes in."""
        if self.state is None:
            self.state = backbone.init_state(len(rows.ids), self.max_length, self.decoding)
        hidden, self.state = backbone.extend(rows.ids, self.state, rows.lengths)
        self.seen, self.is_initialized = self.seen + rows.ids.shape[1], True
        return rows.back(hidden)

    def select(self, rows: Tensor) -> None:
        """Go on with some rows, each as often as it is named."""
        if self.state is not None:
            self.state = self.state.select(rows)

    @property
    def rows(self) -> int:
        """B; 0 before the first tokens."""
        return 0 if self.state is None else self.state.rows

    def reorder_cache(self, beam_idx: Int[Tensor, "B"]) -> None:
        """For beams."""
        self.select(beam_idx)

    def batch_select_indices(self, indices: Int[Tensor, "B"]) -> None:
        """Some rows."""
        self.select(indices)

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Every row several times, side by side."""
        self.select(torch.arange(self.rows).repeat_interleave(repeats))

    def reset(self) -> None:
        """Nothing read."""
        self.state, self.seen, self.is_initialized = None, 0, False

    def get_seq_length(self) -> int:
        """Columns read."""
        return self.seen

    def get_max_length(self) -> int:
        """Tokens that a row may have; -1: any number."""
        return -1 if self.max_length is None else self.max_length

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Columns of a mask, and the first of them."""
        return self.seen + query_length, 0

    def crop(self, tokens_to_remove: int) -> None:
        """Refused."""
        if tokens_to_remove:
            raise HyenaError(f"a state does not go back by {tokens_to_remove} tokens: copy.deepcopy(cache) before reading them")

    def lazy_initialization(self, *key_and_value: Tensor) -> NoReturn:
        """Refused."""
        raise HyenaError("HyenaCache holds no keys and values: it works with models of hyena alone")

    def update(self, *key_and_value: Tensor, **options: Any) -> NoReturn:
        """Refused."""
        self.lazy_initialization()

    def offload(self) -> NoReturn:
        """Refused."""
        raise HyenaError("HyenaCache is not offloaded: leave cache_implementation out")

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """A state of its own, of the same model."""
        copy = object.__new__(type(self))
        copy.__dict__.update(vars(self))
        copy.state = None if self.state is None else self.state.clone()
        return copy


class HyenaCache(Cache):
    """What was read so far: give it to the next call. `copy.deepcopy` goes on twice from one prompt."""

    layers: list[StateLayer]

    def __init__(self, max_length: int | None = None, decoding: Decoding = "auto"):
        """max_length: tokens that a row will have at most, where known. decoding: the engine of the long convolutions."""
        super().__init__(layers=[StateLayer(max_length, decoding)])
        self.padding: int | None = None
        """The id that `generate` feeds to rows that have ended, which the vocabulary need not have."""

    def read(self, backbone: Backbone, ids: Int[Tensor, "B L"], mask: Tensor | None) -> Float[Tensor, "B L D"]:
        """Hidden states of ids after what was read; NaN under padding.

        mask: of the columns read before and of these. Padding may stand before a row's first token.
        """
        layer = self.layers[0]
        if layer.seen and self.padding is not None and self.padding >= backbone.config.rows:
            ids = ids.masked_fill(ids == self.padding, 0)  # of rows that have ended: nobody looks at what comes of it
        if mask is None:
            return layer.read(backbone, Rows(ids))
        columns = (ids.shape[0], layer.seen + ids.shape[1])
        if mask.shape != columns:
            raise HyenaError(
                f"attention_mask is {tuple(mask.shape)}: {layer.seen} columns were read and {ids.shape[1]} are new, so it must "
                f"be {columns}"
            )
        _check_past(mask[:, : layer.seen], layer)
        rows = rows_of(ids, mask[:, layer.seen :])
        if rows.lengths is not None:
            _check_padding(rows, layer)
        return layer.read(backbone, rows)


def _check_past(mask: Tensor, layer: StateLayer) -> None:
    """One clear line for a mask of columns read before that names other tokens than were read."""
    if layer.state is None:
        return
    named = (mask != 0).sum(1)
    if bool((named != layer.state.position).any()):
        row = int((named != layer.state.position).int().argmax())
        read = int(layer.state.position[row])
        raise HyenaError(
            f"attention_mask names {int(named[row])} tokens of row {row} among the columns read before, and {read} were read: "
            "pass the mask that they were read with, and go on with it"
        )


def _check_padding(rows: Rows, layer: StateLayer) -> None:
    """One clear line for padding after a row's tokens: what follows it would stand in its place."""
    assert rows.lengths is not None
    n, begin = rows.ids.shape[1], torch.zeros_like(rows.lengths) if rows.begin is None else rows.begin
    begun = torch.zeros_like(rows.lengths) if layer.state is None else layer.state.position
    late = (begin + rows.lengths < n) & (rows.lengths + begun > 0) | (begin > 0) & (begun > 0)
    if bool(late.any()):
        row = int(late.int().argmax())
        raise HyenaError(
            f"attention_mask has padding after the tokens of row {row}: a stream goes on from the last column, so pad on the "
            "left (tokenizer.padding_side = 'left')"
        )

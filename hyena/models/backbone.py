"""Embedding, blocks, final norm: from token ids to hidden states. The heads stand on it."""

from collections.abc import Callable
from typing import Any, TypeGuard, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from hyena.configs.model import ModelConfig
from hyena.errors import HyenaError
from hyena.models.block import Block
from hyena.models.state import Draft, ModelState, Places, fingerprint, hidden_beyond, places_of, versions
from hyena.models.token_block import plain_block
from hyena.modules import Hyena
from hyena.modules.filters import ImplicitFilter
from hyena.modules.hooks import peeked
from hyena.modules.layers import NORMS
from hyena.modules.mixer import check_lengths
from hyena.modules.precision import at_least_float32
from hyena.ops.decoding import Decoding, begin, engine
from hyena.ops.history import UNBOUNDED
from hyena.ops.lags import Lags


class Backbone(nn.Module):
    """ids (B, L) -> hidden states (B, L, D)."""

    def __init__(self, config: ModelConfig):
        """config: the model's."""
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.rows, config.width)
        self.positions = nn.Embedding(config.position_rows, config.width) if config.position_rows else None
        self.dropout = nn.Dropout(config.embed_dropout)
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(len(config.layers)))
        self.norm = NORMS[config.norm](config.width, config.norm_eps)
        self._lags: Lags | None = None
        self._places: Places = []
        self.recompute = False
        """Whether a gradient keeps the input of each block alone and runs the block again (gradient checkpointing)."""

    @property
    def layers(self) -> list[Block]:
        """The blocks, for the type checker."""
        return cast(list[Block], list(self.blocks))

    def forward(self, ids: Int[Tensor, "B L"]) -> Float[Tensor, "B L D"]:
        """ids (B, L) below the embedding's rows; L up to max_length, past it as `beyond` says."""
        self._check(ids)
        x = self.dropout(self._embedded(ids, None))
        if self.config.float32_residual:
            x = x.to(at_least_float32(x.dtype))
        for block in self.blocks:
            # The same numbers either way: the random state is put back before dropout is drawn again.
            x = checkpoint(block, x, use_reentrant=False) if self.recompute and torch.is_grad_enabled() else block(x)
        return self.norm(x)

    def _embedded(self, ids: Tensor, begin: Tensor | None) -> Tensor:
        """The embedding of ids (B, L), those of row b from position begin[b] on (from 0 where not given)."""
        x = self.embedding(ids if ids.dtype in (torch.int32, torch.int64) else ids.long())
        if self.positions is None:
            return x
        places = torch.arange(ids.shape[1], device=ids.device)
        # A position past the last row is that of padding: longer rows were refused.
        places = places if begin is None else (begin[:, None] + places).clamp(max=self.config.position_rows - 1)
        return x + self.positions(places)

    def init_state(self, batch_size: int, max_length: int | None = None, decoding: Decoding = "auto") -> ModelState:
        """The state of `batch_size` rows of which nothing was read; see `LanguageModel.init_state`."""
        if batch_size < 1 or (max_length is not None and max_length < 1):
            raise HyenaError(f"batch_size is {batch_size} and max_length {max_length}: use whole numbers of at least 1")
        self._check_length(max_length or 1)
        shared = [block.mixer for block in self.layers if _online(block.mixer)]
        parts = iter(begin(self._lags_of(shared), batch_size, max_length, decoding).parts() if shared else [])
        layers = [
            block.mixer.init_state(batch_size, max_length, decoding, next(parts))
            if _online(block.mixer)
            else block.mixer.init_state(batch_size, max_length, decoding)
            for block in self.layers
        ]
        position = torch.zeros(batch_size, dtype=torch.int64, device=self.embedding.weight.device)
        begun = {"max_length": max_length, "decoding": decoding}
        identity, plain = self._weights(anew=True), [plain_block(*each) for each in zip(self.layers, layers, strict=True)]
        return ModelState(position, layers, identity, begun, lambda: fingerprint(self, self.config.to_dict()), plain)

    def state_bytes(self, L: int, decoding: Decoding = "auto") -> int:
        """Bytes of the state of one sequence of L tokens: the mixers' and the position. Online convolutions share one clock."""
        clocks = 8 * max(0, sum(_online(block.mixer) for block in self.layers) - 1) if engine(decoding, L) != "cached" else 0
        return 8 + sum(block.mixer.state_bytes(L, decoding) for block in self.layers) - clocks

    def _lags_of(self, mixers: list[Hyena]) -> Lags:
        """The taps of all long filters for the online convolution, kept for as long as they are the same."""
        if self._lags is None or not self._lags.current():
            filters = [mixer.implicit for mixer in mixers]
            self._lags = Lags([f.lags_source() for f in filters], filters[0].reach, filters[0].max_length)
        return self._lags

    def _weights(self, anew: bool = False) -> tuple[tuple[int, int], ...]:
        """What tells whether a state is still of these weights; anew: look for the tensors again."""
        if anew or not self._places:
            self._places = places_of(self)
        return versions(self._places)

    def __getstate__(self) -> dict[str, object]:
        """A copied or pickled model computes its own taps and has its own tensors."""
        return {**vars(self), "_lags": None, "_places": []}

    @torch.no_grad()
    def peek(self, ids: Int[Tensor, "B L"], state: ModelState) -> tuple[Float[Tensor, "B L D"], Draft]:
        """Hidden states of ids that follow what the state has read, which is not changed, and what `commit` takes."""
        state.check()
        self._check_stream(ids, state)
        draft = Draft(state, [], ids.shape[1])
        return self.ahead(ids, state, lambda mixer, layer, new: draft.new.append(new)), draft

    @torch.no_grad()
    def ahead(self, ids: Tensor, state: ModelState, done: Callable[[Any, Any, Any], None]) -> Tensor:
        """Hidden states of ids; after each block done(mixer, its state, what it would add)."""
        x = self._entering(ids, state)
        for block, layer in zip(self.layers, state.layers, strict=True):
            x, new = peeked(block, x, layer)
            done(block.mixer, layer, new)
        return self.norm(x)

    @torch.no_grad()
    def commit(self, draft: Draft, lengths: Int[Tensor, "B"] | None = None) -> ModelState:
        """The state after the draft's tokens, of row b the first lengths[b]; consumes the one that it was made from."""
        check_lengths(lengths, draft.state.rows, draft.tokens)
        state = draft.state.taken()
        for block, layer, new in zip(self.layers, state.layers, draft.new, strict=True):
            block.mixer.commit(layer, new, lengths)
        state.position = state.position + (draft.tokens if lengths is None else lengths)
        return state

    @torch.no_grad()
    def extend(
        self, ids: Int[Tensor, "B L"], state: ModelState, lengths: Int[Tensor, "B"] | None = None
    ) -> tuple[Float[Tensor, "B L D"], ModelState]:
        """Hidden states of a chunk, and the state after it: `peek` and `commit` layer by layer."""
        if ids.ndim == 2:
            check_lengths(lengths, *ids.shape)
        self._check_stream(ids, state, lengths)
        moved = state.taken()
        if lengths is None and ids.shape[1] == 1 and any(moved.plain):
            x = self._single(ids, moved)
        else:
            x = self.ahead(ids, moved, lambda mixer, layer, new: mixer.commit(layer, new, lengths))
        moved.position = moved.position + (ids.shape[1] if lengths is None else lengths)
        return hidden_beyond(x, lengths), moved

    def _single(self, ids: Tensor, state: ModelState) -> Tensor:
        """`extend` of one token, by the short way where a block has one."""
        x = self._entering(ids, state)
        for block, layer, plain in zip(self.layers, state.layers, state.plain, strict=True):
            y = None if plain is None else plain.extend(x, layer)
            if y is None:
                y, new = peeked(block, x, layer)
                block.mixer.commit(layer, new, None)
            x = y
        return self.norm(x)

    def _entering(self, ids: Tensor, state: ModelState) -> Tensor:
        """The stream that enters the first block after what the state has read."""
        x = self._embedded(ids, state.position)
        return x.to(at_least_float32(x.dtype)) if self.config.float32_residual else x

    def _check_stream(self, ids: Tensor, state: ModelState, lengths: Tensor | None = None) -> None:
        """One clear line for tokens that cannot follow a state."""
        self._check(ids, bounded=False)
        if self.training and any((self.config.dropout, self.config.embed_dropout)):
            raise HyenaError("the model is in training mode and has dropout: call model.eval() before streaming")
        if len(ids) != state.rows:
            raise HyenaError(f"ids have {len(ids)} rows and the state {state.rows}: they go row by row")
        if state.weights != self._weights():
            raise HyenaError("the model's weights changed or moved since this state was begun: begin a new one (init_state)")
        longest = int((state.position + (ids.shape[1] if lengths is None else lengths)).max())
        if longest > state.read_up_to:
            self._check_length(longest)
            within = [self.config.max_length] if longest <= self.config.max_length else []
            state.read_up_to = min([*within, *self.limits().values()], default=UNBOUNDED)

    def _check_length(self, length: int) -> None:
        """One clear line for a stream of so many tokens, where that cannot be."""
        for name, limit in self.limits().items():
            if length > limit:
                raise HyenaError(
                    f"a stream of {length} tokens exceeds the model's {name} {limit}: use a model with another one"
                )
        for block in self.layers:
            block.mixer.check_length(length)

    def _check(self, ids: Tensor, bounded: bool = True) -> None:
        """One clear line for ids that cannot be looked up; the values are looked at where that costs no synchronisation."""
        if ids.ndim != 2 or ids.is_floating_point() or ids.dtype == torch.bool or 0 in ids.shape:
            raise HyenaError(f"ids must be whole numbers (B, L), got {ids.dtype} {tuple(ids.shape)}")
        if bounded and self.positions is not None and ids.shape[1] > self.config.position_rows:
            L, rows = ids.shape[1], self.config.position_rows
            raise HyenaError(f"the sequence has {L} tokens but the model has {rows} learned positions: shorten it")
        if ids.device.type == "cpu" and not torch.compiler.is_compiling():
            low, high = int(ids.min()), int(ids.max())
            if low < 0 or high >= self.config.rows:
                bad = low if low < 0 else high
                raise HyenaError(f"id {bad} is outside the vocabulary: the model has rows 0 .. {self.config.rows - 1}")

    def limits(self) -> dict[str, int]:
        """The options that bound the length of a sequence, with their values; empty where any length is read."""
        limits = {"position_rows": self.config.position_rows} if self.positions is not None else {}
        if any(block.mixer.bounded() for block in self.layers):
            limits["max_length"] = self.config.max_length
        return limits


def _online(mixer: nn.Module) -> TypeGuard[Hyena]:
    """Whether its long filters have no shorter memory than their inputs: they share one online convolution."""
    return isinstance(mixer, Hyena) and isinstance(mixer.filter, ImplicitFilter)

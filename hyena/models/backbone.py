"""Embedding, blocks, final norm: from token ids to hidden states. The heads stand on it."""

from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from hyena.configs.model import ModelConfig
from hyena.errors import HyenaError
from hyena.models.block import Block
from hyena.modules.layers import NORMS
from hyena.modules.precision import at_least_float32


class Backbone(nn.Module):
    """ids (B, L) -> hidden states (B, L, D)."""

    def __init__(self, config: ModelConfig):
        """config: the model's."""
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.rows, config.width)
        self.positions = nn.Embedding(config.position_rows, config.width) if config.position_rows else None
        self.dropout = nn.Dropout(config.embed_dropout)
        self.blocks = nn.ModuleList(Block(config, letter) for letter in config.layers)
        self.norm = NORMS[config.norm](config.width, config.norm_eps)
        self.recompute = False
        """Whether a gradient keeps the input of each block alone and runs the block again (gradient checkpointing)."""

    @property
    def layers(self) -> list[Block]:
        """The blocks, for the type checker."""
        return cast(list[Block], list(self.blocks))

    def forward(self, ids: Int[Tensor, "B L"]) -> Float[Tensor, "B L D"]:
        """ids (B, L) below the embedding's rows; L up to max_length, past it as `beyond` says."""
        self._check(ids)
        x = self.embedding(ids if ids.dtype in (torch.int32, torch.int64) else ids.long())
        if self.positions is not None:
            x = x + self.positions.weight[: ids.shape[1]]
        x = self.dropout(x)
        if self.config.float32_residual:
            x = x.to(at_least_float32(x.dtype))
        for block in self.blocks:
            # The same numbers either way: the random state is put back before dropout is drawn again.
            x = checkpoint(block, x, use_reentrant=False) if self.recompute and torch.is_grad_enabled() else block(x)
        return self.norm(x)

    def _check(self, ids: Tensor) -> None:
        """One clear line for ids that cannot be looked up; the values are looked at where that costs no synchronisation."""
        if ids.ndim != 2 or ids.is_floating_point() or ids.dtype == torch.bool or 0 in ids.shape:
            raise HyenaError(f"ids must be whole numbers (B, L), got {ids.dtype} {tuple(ids.shape)}")
        if self.positions is not None and ids.shape[1] > self.config.position_rows:
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

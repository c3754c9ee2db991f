"""The block, the same for every mixer: a mixer and an MLP, each before its own norm, each added to the stream."""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from hyena.configs.model import ModelConfig
from hyena.modules import build
from hyena.modules.hooks import peeked
from hyena.modules.layers import MLPS, NORMS


class Block(nn.Module):
    """x + mixer(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, config: ModelConfig, layer: int):
        """layer: its place in the pattern, from 0."""
        super().__init__()
        self.mixer_norm = NORMS[config.norm](config.width, config.norm_eps)
        self.mixer = build(config.mixer(config.layers[layer]), config.width, config.max_length, config.beyond)
        self.mlp_norm = NORMS[config.norm](config.width, config.norm_eps)
        self.mlp = MLPS[config.mlp](config.width, config.hidden, config.activation_at(layer))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Float[Tensor, "B L D"]) -> Float[Tensor, "B L D"]:
        """The residual stream x (B, L, D) through the block."""
        x = x + self.dropout(self.mixer(self.mixer_norm(x)))
        return x + self.dropout(self.mlp(self.mlp_norm(x)))

    def peek(self, x: Float[Tensor, "B L D"], state: Any) -> tuple[Float[Tensor, "B L D"], Any]:
        """`forward` of a chunk x after what the mixer's state has read, and what its `commit` takes. For inference."""
        y, new = peeked(self.mixer, self.mixer_norm(x), state)
        x = x + y
        return x + self.mlp(self.mlp_norm(x)), new

    def flops(self, L: int) -> int:
        """The mixer as it says, the MLP 2 operations a weight and token; norms and activations are left out."""
        return self.mixer.flops(L) + 2 * L * sum(p.numel() for p in self.mlp.parameters() if p.ndim == 2)

"""One token through a block around a gated convolution by one call of the compiled kernel.

    x = x + W_out step(W_in norm(x));  x = x + mlp(norm(x))

What the same is in PyTorch is the block's own `peek` and `commit`; tests hold the two against each other.
"""

from typing import Any, NamedTuple, Self

import torch
from jaxtyping import Float
from torch import Tensor

from hyena.ops.gated_step import StepState, Token
from hyena.ops.native import tokens

ROWS = 8
"""Rows at most: a library reads a weight once for all rows, and is the faster one from some twenty on (LOG.md)."""


class NormWeights(NamedTuple):
    """(x - mean) / sqrt(variance + eps) * weight + bias, or without a bias x / sqrt(mean square + eps) * weight.

    outside: eps is added to the root and not to what is under it.
    """

    weight: Float[Tensor, "D"]
    bias: Float[Tensor, "D"] | None
    eps: float
    outside: bool


class LinearWeights(NamedTuple):
    """W x + b."""

    weight: Float[Tensor, "E D"]
    bias: Float[Tensor, "E"] | None


class BlockWeights(NamedTuple):
    """What a token meets, beside what its convolution has (`Token`)."""

    mixer_norm: NormWeights
    in_proj: LinearWeights
    out_proj: LinearWeights
    mlp_norm: NormWeights
    gate: LinearWeights | None
    """None: the MLP is down(act(up x)); else it is down(act(gate x) * up x)."""
    up: LinearWeights
    down: LinearWeights
    activation: str
    """One of `tokens.ACTIVATIONS`."""


class TokenBlock:
    """A block's way to take single tokens. It holds on to the weights as they were: a state does not outlive them."""

    def __init__(self, weights: BlockWeights, token: Token):
        """Everything that the kernel could not read as it is must have been sorted out before, by `readable`."""
        self._token = token
        self._held = [t.detach() for t in _tensors(weights)]
        self._dtype = self._held[0].dtype
        absent = tokens.Linear(None, None)
        self._constant = (
            *(
                tokens.Norm(*tokens.addresses(norm[:2]), norm.eps, norm.outside)
                for norm in (weights.mixer_norm, weights.mlp_norm)
            ),
            *(
                absent if linear is None else tokens.Linear(*tokens.addresses(linear))
                for linear in (weights.in_proj, weights.out_proj, weights.gate, weights.up, weights.down)
            ),
            len(weights.up.weight),
            tokens.ACTIVATIONS[weights.activation],
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Of the same weights, where they are."""
        return self

    def extend(self, x: Float[Tensor, "B 1 D"], state: StepState) -> Float[Tensor, "B 1 D"] | None:
        """The stream after the block, and the state takes the token in; None, and nothing done, where that cannot be."""
        if len(x) > ROWS or x.dtype != self._dtype or torch.is_autocast_enabled("cpu"):
            return None
        step = self._token.within(x, state)
        if step is None:
            return None
        out = torch.empty_like(x)
        block = tokens.Block(step, *self._constant, x.data_ptr(), out.data_ptr())
        tokens.extend(block, self._dtype)
        return out


def readable(weights: BlockWeights) -> bool:
    """Whether the kernel reads all as it is: on the processor, contiguous, in one dtype, with an activation that it has."""
    first, *others = _tensors(weights)
    fits = first.device.type == "cpu" and first.dtype in (torch.float32, torch.float64)
    alike = all(t.dtype == first.dtype and t.device == first.device and t.is_contiguous() for t in (first, *others))
    return fits and alike and weights.activation in tokens.ACTIVATIONS


def _tensors(weights: BlockWeights) -> list[Tensor]:
    """Every tensor."""
    parts = [part for part in weights if isinstance(part, tuple)]
    return [t for part in parts for t in part if isinstance(t, Tensor)]

"""What every architecture has: norms, activations, MLPs. Norms compute in float32 or float64, never lower."""

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from hyena.configs.mixers import Activation
from hyena.modules.precision import at_least_float32
from hyena.ops.pointwise import gelu_tanh_


def _identity(x: Tensor) -> Tensor:
    """A named function, because a mixer that holds a lambda cannot be pickled."""
    return x


_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": _identity,
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "relu": F.relu,
    "silu": F.silu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
}


def activation(name: Activation) -> Callable[[Tensor], Tensor]:
    """The elementwise function of a name."""
    return _ACTIVATIONS[name]


def activate_(act: Callable[[Tensor], Tensor], x: Float[Tensor, "R D"], bias: Float[Tensor, "D"]) -> Float[Tensor, "R D"]:
    """act(x + bias); x is worked in. For inference: no gradient passes."""
    tanh_form = isinstance(act, partial) and act.func is F.gelu and act.keywords == {"approximate": "tanh"}
    return gelu_tanh_(x, bias) if tanh_form else act(x.add_(bias))


class LayerNorm(nn.Module):
    """(x - mean) / sqrt(variance + eps) * weight + bias over the last axis, in the weights' dtype when it is done."""

    def __init__(self, width: int, eps: float):
        """width: D."""
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.eps = eps

    def forward(self, x: Float[Tensor, "B L D"]) -> Float[Tensor, "B L D"]:
        """x (B, L, D), possibly a float32 residual stream before half-precision weights."""
        if x.dtype == self.weight.dtype == torch.float32:  # the same without its casts, which one token would feel
            return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)
        dtype = at_least_float32(torch.promote_types(x.dtype, self.weight.dtype))
        y = F.layer_norm(x.to(dtype), self.weight.shape, self.weight.to(dtype), self.bias.to(dtype), self.eps)
        return y.to(self.weight.dtype)


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps) * weight over the last axis (arXiv 1910.07467), in the weights' dtype when it is done."""

    def __init__(self, width: int, eps: float):
        """width: D."""
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Float[Tensor, "B L D"]) -> Float[Tensor, "B L D"]:
        """x (B, L, D)."""
        dtype = at_least_float32(torch.promote_types(x.dtype, self.weight.dtype))
        return F.rms_norm(x.to(dtype), self.weight.shape, self.weight.to(dtype), self.eps).to(self.weight.dtype)


class OutsideRMSNorm(RMSNorm):
    """x / (sqrt(mean(x^2)) + eps) * weight: StripedHyena's, whose epsilon stands outside the root."""

    def forward(self, x: Float[Tensor, "B L D"]) -> Float[Tensor, "B L D"]:
        """x (B, L, D)."""
        dtype = at_least_float32(torch.promote_types(x.dtype, self.weight.dtype))
        y = x.to(dtype)
        size = torch.linalg.vector_norm(y, dim=-1, keepdim=True) / math.sqrt(y.shape[-1])
        return (y / (size + self.eps) * self.weight.to(dtype)).to(self.weight.dtype)


NORMS: dict[str, type[LayerNorm] | type[RMSNorm]] = {"layer": LayerNorm, "rms": RMSNorm, "rms_outside": OutsideRMSNorm}


class MLP(nn.Module):
    """W2 act(W1 x + b1) + b2."""

    def __init__(self, width: int, hidden: int, act: Activation):
        """width: D; hidden: width between the two maps."""
        super().__init__()
        self.up_proj = nn.Linear(width, hidden)
        self.down_proj = nn.Linear(hidden, width)
        self.activation, self.act = act, activation(act)

    def forward(self, x: Float[Tensor, "B L D"]) -> Float[Tensor, "B L D"]:
        """x (B, L, D)."""
        return self.down_proj(self.act(self.up_proj(x)))


class GatedMLP(nn.Module):
    """W3 (act(W1 x) * W2 x), without biases (arXiv 2002.05202)."""

    def __init__(self, width: int, hidden: int, act: Activation):
        """width: D; hidden: width between the maps."""
        super().__init__()
        self.gate_proj = nn.Linear(width, hidden, bias=False)
        self.up_proj = nn.Linear(width, hidden, bias=False)
        self.down_proj = nn.Linear(hidden, width, bias=False)
        self.activation, self.act = act, activation(act)

    def forward(self, x: Float[Tensor, "B L D"]) -> Float[Tensor, "B L D"]:
        """x (B, L, D)."""
        return self.down_proj(self.act(self.gate_proj(x)) * self.up_proj(x))


MLPS: dict[str, type[MLP] | type[GatedMLP]] = {"plain": MLP, "gated": GatedMLP}

"""Rotary positions (arXiv 2104.09864): channels i and i + w/2 of a head turn by t * inv_freq_i, for the first w channels."""

import torch
from torch import Tensor

from hyena.modules.precision import Float32Module, at_least_float32


class Rotary(Float32Module):
    """The frequencies are a buffer that is saved and loaded, never recomputed; angles are float32 or float64."""

    inv_freq: Tensor

    def __init__(self, width: int, base: float, scale: float = 1.0):
        """width: w, the channels of a head that turn (even); scale: what positions are divided by (arXiv 2306.15595)."""
        super().__init__()
        self.scale = scale
        exponents = torch.arange(0, width, 2, dtype=torch.float64) / width
        self.register_buffer("inv_freq", (base**-exponents).float())

    def forward(self, x: Tensor, begin: Tensor | None = None) -> Tensor:
        """x (B, H, L, P) with P >= w, tokens begin[b] .. begin[b] + L - 1 (from 0 where not given); same shape and dtype."""
        width = 2 * self.inv_freq.shape[0]
        dtype = at_least_float32(torch.promote_types(x.dtype, self.inv_freq.dtype))
        with torch.autocast(x.device.type, enabled=False):
            times = torch.arange(x.shape[2], device=x.device)
            if begin is not None:
                times = begin[:, None, None] + times  # (B, 1, L)
            angles = (times.to(dtype) / self.scale)[..., None] * self.inv_freq.to(dtype)
            cos, sin = angles.cos(), angles.sin()
            a, b = x[..., :width].to(dtype).chunk(2, dim=-1)
            turned = torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1).to(x.dtype)
        return torch.cat([turned, x[..., width:]], dim=-1)

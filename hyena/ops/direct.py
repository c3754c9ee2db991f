"""The definition: y_t = sum over k <= t of h_k x_(t-k). Everything else in this room is tested against it.

Computed as a depthwise convolution, so it is also the fastest way for filters of a few taps. Works in the dtype it is given.
"""

import torch.nn.functional as F
from torch import Tensor
from torch.nn.grad import conv1d_weight

from hyena.ops.taps import Taps


def depthwise(x: Tensor, h: Tensor, bias: Tensor | None = None) -> Tensor:
    """Causal convolution of x (B, D, L) with h (D, K), plus bias (D,): one filter a channel, differentiable by PyTorch."""
    # conv1d is a cross-correlation, so the taps are turned round; padding on the left alone keeps it causal.
    return F.conv1d(F.pad(x, (h.shape[-1] - 1, 0)), h.flip(-1).unsqueeze(1), bias, groups=x.shape[1])


def transform(h: Tensor, L: int) -> Taps:
    """Nothing to prepare: the definition uses the taps as they are."""
    return Taps(h[:, :L])


def forward(x: Tensor, taps: Taps) -> Tensor:
    """Causal convolution of x (B, D, L) with taps (G, K), D % G == 0; returns (B, D, L)."""
    h = taps.h[:, : x.shape[-1]]
    return depthwise(x, h.repeat_interleave(x.shape[1] // h.shape[0], dim=0))


def backward(x: Tensor, taps: Taps, gy: Tensor, needs: tuple[bool, bool, bool]) -> tuple[Tensor | None, ...]:
    """y again, and the gradients for x (B, D, L) and the taps (G, K) given gy (B, D, L); None where not in `needs`.

    gx_t = sum_k h_k gy_(t+k): the convolution run backwards in time. gh_k = sum over batch, time and the channels of a
    group of gy_t x_(t-k).
    """
    (B, D, L), (G, K) = x.shape, taps.h.shape
    needs_y, needs_x, needs_h = needs
    y = forward(x, taps) if needs_y else None
    gx = forward(gy.flip(-1), taps).flip(-1) if needs_x else None
    gh = None
    if needs_h:
        used = min(K, L)
        padded = F.pad(x, (used - 1, 0)).reshape(1, B * D, L + used - 1)
        # Each (batch, channel) is a group of its own; the weight gradient then holds one correlation a row.
        rows = conv1d_weight(padded, (B * D, 1, used), gy.reshape(1, B * D, L), groups=B * D)
        gh = F.pad(rows.view(B, G, D // G, used).flip(-1).sum((0, 2)), (0, K - used))
    return y, gx, gh

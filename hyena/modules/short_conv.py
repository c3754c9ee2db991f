"""The depthwise causal convolution of a few taps that follows Hyena's input projection."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hyena.ops import long_conv
from hyena.ops.history import Window


class ShortConv(nn.Module):
    """y_t = sum_k taps_k x_(t-k) + bias, one filter a channel; `taps[:, 0]` multiplies the present token."""

    bias: nn.Parameter | None

    def __init__(self, channels: int, K: int, bias: bool = True):
        """channels: D; K: taps. Initialised as PyTorch initialises a depthwise convolution: U(+-1 / sqrt(K))."""
        super().__init__()
        bound = 1 / math.sqrt(K)
        self.taps = nn.Parameter(torch.empty(channels, K).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(channels).uniform_(-bound, bound)) if bias else None

    def forward(self, x: Float[Tensor, "B D L"]) -> Float[Tensor, "B D L"]:
        """x (B, D, L), any L."""
        return self._biased(long_conv(x, self.taps))

    def _biased(self, y: Tensor) -> Tensor:
        """y (B, D, L) plus the bias."""
        return y if self.bias is None else y + self.bias[:, None]

    def init_state(self, batch_size: int) -> Window:
        """Nothing read: zeros before the sequence."""
        return Window.begin(batch_size, len(self.taps), self.taps.shape[1] - 1, self.taps.detach())

    def peek(self, x: Float[Tensor, "B D L"], state: Window) -> Float[Tensor, "B D L"]:
        """The outputs of inputs x (B, D, L) that follow those of the state, which is not changed."""
        L = x.shape[-1]
        if L == 1 and x.dtype == self.taps.dtype in (torch.float32, torch.float64):
            return self._one(x, state)
        return self._biased(long_conv(state.followed_by(x), self.taps)[..., -L:])

    def _one(self, x: Tensor, state: Window) -> Tensor:
        """The same for one token (B, D, 1), tap by tap."""
        first, *taps = self.taps.unbind(1)
        y = x[..., 0] * first if self.bias is None else torch.addcmul(self.bias, x[..., 0], first)
        for tap, kept in zip(taps, reversed(state.inputs.unbind(2)), strict=True):
            y = y.addcmul_(kept, tap)
        return y[..., None]

    def state_bytes(self) -> int:
        """Bytes of one row's last inputs."""
        return len(self.taps) * (self.taps.shape[1] - 1) * self.taps.element_size()

    def flops(self, L: int) -> int:
        """2 K operations a channel and token."""
        return 2 * L * self.taps.numel()

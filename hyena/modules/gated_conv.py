"""The gated convolution of StripedHyena: one long convolution between two gates, its filter modal.

    q, k, v = split(short_conv(W_in u))
    y = W_out (q * (h conv (k * v) + d * k * v))

This is Hyena of order 2 over another filter, one that a recurrence of O(S) a token goes on with. (StripedHyena's
ParallelGatedConvBlock.)
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from hyena.configs.mixers import GatedConvConfig
from hyena.modules.fused import gated
from hyena.modules.mixer import Streamed
from hyena.modules.modal_filter import ModalFilter, ModalState
from hyena.modules.precision import at_least_float32
from hyena.modules.projection import channels_first, channels_last
from hyena.modules.short_conv import ShortConv
from hyena.ops.decoding import Decoding
from hyena.ops.gated_step import StepState, StepWeights, Token
from hyena.ops.history import Window
from hyena.ops.plan import conv_flops
from hyena.ops.tree import State


@dataclass
class GatedConvState(State):
    """What is remembered, the same at every length."""

    short: Window
    """The last inputs of the short convolution."""
    long: ModalState
    """Of the long one."""
    token: Token
    """What takes single tokens, of the weights when the state was begun."""

    @property
    def kept(self) -> StepState:
        """All of it."""
        return StepState(self.short.inputs, None if self.long.head is None else self.long.head.inputs, self.long.modes)


class _New(NamedTuple):
    """What a chunk adds: the streams (B, 3 D, n) before the short convolution, and the inputs (B, D, n) of the long one."""

    streams: Tensor
    u: Tensor


class GatedConv(Streamed, nn.Module):
    """The mixer of letter R."""

    def __init__(self, config: GatedConvConfig, width: int):
        """width: D."""
        super().__init__()
        self.config, self.width = config, width
        self.in_proj = nn.Linear(width, 3 * width, bias=config.in_bias)
        self.short_conv = ShortConv(3 * width, config.short_taps)
        self.filter = ModalFilter(config.filter, width)
        self.skip = nn.Parameter(torch.randn(width)) if config.skip else None
        self.out_proj = nn.Linear(width, width, bias=config.out_bias)

    def forward(self, x: Float[Tensor, "B L D"]) -> Float[Tensor, "B L D"]:
        """x (B, L, D) of any L."""
        return channels_last(self.out_proj, gated(x, self.in_proj, self.short_conv, self.filter, self.skip))

    def init_state(self, batch_size: int, max_length: int | None = None, decoding: Decoding = "auto") -> GatedConvState:
        """Nothing read. max_length and decoding are for other mixers: nothing here depends on them."""
        long, short = self.filter.init_state(batch_size, max_length, decoding), self.short_conv
        weights = StepWeights(short.taps, short.bias, *long.step, self.skip)
        return GatedConvState(short.init_state(batch_size), long, Token(weights))

    def peek(self, x: Float[Tensor, "B L D"], state: GatedConvState) -> tuple[Float[Tensor, "B L D"], _New]:
        """See `Mixer.peek`."""
        streams = channels_first(self.in_proj, x)
        if x.shape[1] == 1 and (one := state.token.peek(streams[..., 0], state.kept)) is not None:
            y, u = one
            return self.out_proj(y[:, None]), _New(streams, u[..., None])
        q, k, v = self.short_conv.peek(streams, state.short).to(at_least_float32(x.dtype)).chunk(3, dim=1)
        u = k * v
        y = self.filter.present(state.long, u)
        if self.skip is not None:
            y = torch.addcmul(y, u, self.skip.to(y.dtype)[:, None])
        return channels_last(self.out_proj, (q * y).to(streams.dtype)), _New(streams, u)

    def commit(self, state: GatedConvState, new: _New, lengths: Int[Tensor, "B"] | None = None) -> None:
        """See `Mixer.commit`."""
        x, u = new.streams, new.u
        if x.shape[2] == 1 and lengths is None and state.token.commit(x[..., 0], u[..., 0], state.kept):
            return
        state.short.append(new.streams, lengths)
        self.filter.commit(state.long, new.u, lengths)

    def flops(self, L: int) -> int:
        """Projections, short and long convolution, gates, and the filters once."""
        D, K = self.width, self.filter.used(L)
        projections = 2 * L * (self.in_proj.weight.numel() + self.out_proj.weight.numel())
        return projections + self.short_conv.flops(L) + conv_flops(1, D, L, K, D) + 2 * D * L + self.filter.flops(L)

    def state_bytes(self, L: int, decoding: Decoding = "auto") -> int:
        """The last inputs of the short convolution, the modes, and the last inputs before them: the same at every length."""
        return self.short_conv.state_bytes() + self.filter.state_bytes(L, decoding)

    def bounded(self) -> bool:
        """Any length is read."""
        return False

    def check_length(self, L: int) -> None:
        """Any length is read."""

    def resized(self, length: int) -> None:
        """Nothing is tied to max_length."""

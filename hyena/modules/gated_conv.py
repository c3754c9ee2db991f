"""The gated convolution of StripedHyena: one convolution between two gates. Its letters differ in the filter alone.

    q, k, v = split(short_conv(W_in u))
    y = W_out (q * (h conv (k * v) + d * k * v))

This is Hyena of order 2 over a filter whose state does not grow: complex modal (R, StripedHyena 1's ParallelGatedConvBlock),
explicit (S, M: SE and MR of StripedHyena 2's HyenaCascade; D, with 3 taps and no short convolution before it: the double-gated
short convolution of LFM2) or real modal (L: LI). (arXiv 2503.01868, section 2.)
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from hyena.configs.filters import ExplicitFilterConfig, ModalFilterConfig, RealModalFilterConfig
from hyena.configs.mixers import GatedConfig
from hyena.modules import modal_filter, real_modal
from hyena.modules.explicit_filter import ExplicitFilter
from hyena.modules.fused import gated
from hyena.modules.gated_state import GatedState
from hyena.modules.mixer import Streamed
from hyena.modules.modal_stream import ModalStream
from hyena.modules.precision import at_least_float32
from hyena.modules.projection import channels_first, channels_last
from hyena.modules.short_conv import ShortConv
from hyena.ops.decoding import Decoding
from hyena.ops.plan import conv_flops


class _New(NamedTuple):
    """What a chunk adds: the streams (B, 3 D, n) before the short convolution, and the inputs (B, D, n) of the long one."""

    streams: Tensor
    u: Tensor


class GatedConv(Streamed, nn.Module):
    """The mixer of letters R, S, M, L and D."""

    def __init__(self, config: GatedConfig, width: int):
        """width: D."""
        super().__init__()
        self.config, self.width = config, width
        self.in_proj = nn.Linear(width, 3 * width, bias=config.in_bias)
        self.short_conv = ShortConv(3 * width, config.short_taps, config.short_bias) if config.short_taps else None
        self.filter = filter_of(config.filter, width)
        self.skip = nn.Parameter(torch.randn(width)) if config.skip else None
        self.out_proj = nn.Linear(width, width, bias=config.out_bias)

    def forward(self, x: Float[Tensor, "B L D"]) -> Float[Tensor, "B L D"]:
        """x (B, L, D) of any L."""
        return channels_last(self.out_proj, gated(x, self.in_proj, self.short_conv, self.filter, self.skip))

    def init_state(self, batch_size: int, max_length: int | None = None, decoding: Decoding = "auto") -> GatedState:
        """Nothing read. max_length and decoding are for other mixers: nothing here depends on them."""
        long = self.filter.init_state(batch_size, max_length, decoding)
        return GatedState.begin(batch_size, self.short_conv, long, self.in_proj.weight, self.skip)

    def peek(self, x: Float[Tensor, "B L D"], state: GatedState) -> tuple[Float[Tensor, "B L D"], _New]:
        """See `Mixer.peek`."""
        streams = channels_first(self.in_proj, x)
        if (one := state.peek(streams)) is not None:
            y, u = one
            return self.out_proj(y[:, None]), _New(streams, u[..., None])
        wide = streams.to(at_least_float32(x.dtype))  # half precision is rounded where `forward` rounds it, and nowhere else
        shorts = wide if self.short_conv is None else self.short_conv.peek(wide, state.short)
        q, k, v = shorts.chunk(3, dim=1)
        u = k * v
        y = self.filter.present(state.long, u)
        if self.skip is not None:
            y = torch.addcmul(y, u, self.skip.to(y.dtype)[:, None])
        return channels_last(self.out_proj, (q * y).to(streams.dtype)), _New(streams, u)

    def commit(self, state: GatedState, new: _New, lengths: Int[Tensor, "B"] | None = None) -> None:
        """See `Mixer.commit`."""
        if state.commit(new.streams, new.u, lengths):
            return
        if self.short_conv is not None:
            state.short.append(new.streams, lengths)
        self.filter.commit(state.long, new.u, lengths)

    def flops(self, L: int) -> int:
        """Projections, short and long convolution, gates, and the filters once; explicit taps count one by one."""
        D, K, G = self.width, self.filter.used(L), self.filter.groups
        projections = 2 * L * (self.in_proj.weight.numel() + self.out_proj.weight.numel())
        short = 0 if self.short_conv is None else self.short_conv.flops(L)
        long = conv_flops(1, D, L, K, G) if isinstance(self.filter, ModalStream) else 2 * D * L * K
        return projections + short + long + 2 * D * L + self.filter.flops(L)

    def state_bytes(self, L: int, decoding: Decoding = "auto") -> int:
        """The last inputs of the short convolution, and what the filter keeps: the same at every length."""
        short = 0 if self.short_conv is None else self.short_conv.state_bytes()
        return short + self.filter.state_bytes(L, decoding)

    def bounded(self) -> bool:
        """Any length is read."""
        return False

    def check_length(self, L: int) -> None:
        """Any length is read."""

    def resized(self, length: int) -> None:
        """Nothing is tied to max_length."""


def filter_of(
    config: ModalFilterConfig | ExplicitFilterConfig | RealModalFilterConfig, width: int
) -> ExplicitFilter | ModalStream:
    """The filter of a configuration, for D channels."""
    if isinstance(config, ExplicitFilterConfig):
        return ExplicitFilter(config, width)
    if isinstance(config, RealModalFilterConfig):
        return real_modal.FORMS[config.form](config, width)
    return modal_filter.FORMS[config.form](config, width)

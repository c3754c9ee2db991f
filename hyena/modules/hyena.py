"""Hyena of order N: gates and long convolutions in turn (arXiv 2302.10866, definition 3.1, as the released code has it).

    x_0, ..., x_(N-1), v = split(short_conv(W_in u))
    for o in 0 .. N-2:    v = h_o conv (x_(N-1-o) * v) + d_o * (x_(N-1-o) * v)
    y = W_out act(x_0 * v)

Order 2 is y = W_out (x_0 * (h conv (x_1 * v) + d * x_1 * v)): one long convolution between two gates. HyenaDNA is this class.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from hyena.configs.mixers import Beyond, HyenaConfig
from hyena.modules.filters import ImplicitFilter
from hyena.modules.fused import gated
from hyena.modules.gated_state import GatedState
from hyena.modules.layers import activation
from hyena.modules.mixer import Streamed
from hyena.modules.modal_filter import FORMS, CartesianFilter, ModalFilter
from hyena.modules.projection import channels_first, channels_last
from hyena.modules.short_conv import ShortConv
from hyena.ops import long_conv
from hyena.ops.decoding import Decoding
from hyena.ops.plan import conv_flops


class Hyena(Streamed, nn.Module):
    """The mixer. The N - 1 long filters of D channels are rows o D + d of one `filter` and of `skip`."""

    def __init__(self, config: HyenaConfig, width: int, max_length: int, beyond: Beyond):
        """width: D; max_length and beyond: see `ModelConfig`."""
        super().__init__()
        self.config, self.width, self.convolutions = config, width, config.order - 1
        streams = (config.order + 1) * width
        self.in_proj = nn.Linear(width, streams)
        self.short_conv = ShortConv(streams, config.short_taps)
        groups, modal = self.convolutions * width, config.modal
        self.filter: ImplicitFilter | ModalFilter | CartesianFilter = (
            ImplicitFilter(config.filter, groups, max_length, beyond) if modal is None else FORMS[modal.form](modal, groups)
        )
        self.skip = nn.Parameter(torch.randn(self.convolutions * width)) if config.skip else None
        self.order_scale = nn.Parameter(torch.ones(self.convolutions)) if config.order_scale else None
        self.out_proj = nn.Linear(width, width)
        self.act = activation(config.activation)

    @property
    def implicit(self) -> ImplicitFilter:
        """The filter of a mixer that has implicit ones."""
        assert isinstance(self.filter, ImplicitFilter)
        return self.filter

    def forward(self, x: Float[Tensor, "B L D"]) -> Float[Tensor, "B L D"]:
        """x (B, L, D) of any L up to max_length, past it as `beyond` says."""
        plain = self.one_operator and not (self.training and self.config.dropout)
        y = gated(x, self.in_proj, self.short_conv, self.filter, self.skip) if plain else self._recurrence(x)
        return channels_last(self.out_proj, self.act(y))

    def streams(self, x: Float[Tensor, "B L D"]) -> Float[Tensor, "B E L"]:
        """The gates x_0 .. x_(N-1) and the value v, one after the other: the input projection after the short convolution."""
        return self.short_conv(channels_first(self.in_proj, x))

    @property
    def one_operator(self) -> bool:
        """Whether all between the projections and the activation is the one operator `hyena_conv`, where nothing is dropped."""
        return self.convolutions == 1 and self.order_scale is None

    def _recurrence(self, x: Tensor) -> Tensor:
        """Convolution by convolution: (B, L, D) -> (B, D, L)."""
        taps = self.filter.shared(x.shape[1]).unflatten(0, (self.convolutions, self.width))
        first_gate, *gates, v = self.streams(x).chunk(self.config.order + 1, dim=1)
        for o, gate in enumerate(reversed(gates)):
            v = self._convolve(v, gate, taps[o], o, post=first_gate if o == self.convolutions - 1 else None)
        return v

    def _convolve(self, v: Tensor, gate: Tensor, h: Tensor, o: int, post: Tensor | None) -> Tensor:
        """Convolution o of the recurrence on v (B, D, L), with the gate before it and, for the last, the one after it."""
        skip = None if self.skip is None else self.skip.unflatten(0, (self.convolutions, self.width))[o]
        pre: Tensor | None = self._gate(gate)
        if self.order_scale is not None:
            h = h * self.order_scale[o]
            skip = None if skip is None else skip * self.order_scale[o]
        if self.training and self.config.dropout:
            v, pre = F.dropout(v * self._gate(gate), self.config.dropout), None
        return long_conv(v, h, skip, pre=pre, post=post)

    def _gate(self, gate: Tensor) -> Tensor:
        """What multiplies before a convolution: the gate (B, D, L) itself."""
        return gate

    def init_state(
        self, batch_size: int, max_length: int | None = None, decoding: Decoding = "auto", long: Any = None
    ) -> GatedState:
        """See `Mixer.init_state`. long: this mixer's part of an online convolution that a model has for all of its mixers."""
        if long is None:
            long = self.filter.init_state(batch_size, max_length, decoding)
        if not self.one_operator:
            return GatedState(self.short_conv.init_state(batch_size), long, None)
        return GatedState.begin(batch_size, self.short_conv, long, self.in_proj.weight, self.skip)

    def peek(self, x: Float[Tensor, "B L D"], state: GatedState) -> tuple[Float[Tensor, "B L D"], tuple[Tensor, Tensor]]:
        """See `Mixer.peek`: the recurrence, each convolution split at the present chunk."""
        projected, n = channels_first(self.in_proj, x), x.shape[1]
        if (one := state.peek(projected)) is not None:
            y, u = one
            return self.out_proj(self.act(y[:, None])), (projected, u[..., None])
        first_gate, *gates, v = self.short_conv.peek(projected, state.short).chunk(self.config.order + 1, dim=1)
        past, taps = self.filter.past(state.long, n), self.filter.near(state.long, n)
        inputs: list[Tensor] = []
        for o, gate in enumerate(reversed(gates)):
            rows = slice(o * self.width, (o + 1) * self.width)
            u = v.to(taps.dtype) * self._gate(gate).to(taps.dtype)
            inputs.append(u)
            v = self._present(u, taps[rows], None if self.skip is None else self.skip[rows].to(taps.dtype))
            if past is not None:
                v = v.add_(past[:, rows])
            if self.order_scale is not None:
                v = v * self.order_scale[o]
        y = (v * first_gate).to(x.dtype)
        return channels_last(self.out_proj, self.act(y)), (projected, inputs[0] if len(inputs) == 1 else torch.cat(inputs, 1))

    def _present(self, u: Tensor, h: Tensor, skip: Tensor | None) -> Tensor:
        """The convolution of a chunk u (B, D, n) with itself."""
        if u.shape[-1] == 1:
            return u * (h[:, :1] if skip is None else h[:, :1] + skip[:, None])
        return long_conv(u, h, skip)

    def commit(self, state: GatedState, new: tuple[Tensor, Tensor], lengths: Tensor | None = None) -> None:
        """See `Mixer.commit`."""
        projected, u = new
        if state.commit(projected, u, lengths):
            return
        state.short.append(projected, lengths)
        self.filter.commit(state.long, u, lengths)

    def flops(self, L: int) -> int:
        """Projections, short and long convolutions, gates, and the filters once."""
        D, K = self.width, self.filter.used(L)
        projections = 2 * L * (self.in_proj.weight.numel() + self.out_proj.weight.numel())
        gates = self.config.order * D * L
        return (
            projections
            + self.short_conv.flops(L)
            + self.convolutions * conv_flops(1, D, L, K, D)
            + gates
            + self.filter.flops(L)
        )

    def state_bytes(self, L: int, decoding: Decoding = "auto") -> int:
        """The last inputs of the short convolution in the model's dtype, and what the long filters keep."""
        self.check_length(L)
        return self.short_conv.state_bytes() + self.filter.state_bytes(L, decoding)

    def bounded(self) -> bool:
        """Past max_length `beyond` decides."""
        return self.filter.bounded()

    def check_length(self, L: int) -> None:
        """Past max_length `beyond` decides."""
        self.filter.check_length(L)

    def resized(self, length: int) -> None:
        """Stretch the filters onto a grid of `length` tokens, in place."""
        self.filter.resized(length)


class OuterHyena(Hyena):
    """The variant whose gates before a convolution are their sums over the channels (safari's `outer_mixing`)."""

    @property
    def one_operator(self) -> bool:
        """Never: its gate is another one."""
        return False

    def _gate(self, gate: Tensor) -> Tensor:
        """sum over a of x[a], the same for all channels: the released outer product v x^T summed over x's channels."""
        return gate.sum(1, keepdim=True).expand_as(gate)

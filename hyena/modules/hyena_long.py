"""Hyena over sequences so long that its streams must not stand whole: some channels at a time, all of their tokens.

A long convolution mixes tokens and no channels, so channels can take turns: their projections, their taps, their convolution.
What is computed is `Hyena.forward` up to the output projection; the tests hold one against the other. For inference.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeGuard

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hyena.modules.filter_rows import FilterRows
from hyena.modules.filters import ImplicitFilter
from hyena.modules.hyena import Hyena, OuterHyena
from hyena.modules.projection import plain_linear
from hyena.ops import kernel, long_conv
from hyena.ops.cuts import pieces
from hyena.ops.hyena_conv import hyena_conv_into
from hyena.ops.native.calls import fresh

Read = Callable[[slice], Tensor]
"""Rows of the mixer's input (n, D), rows being the tokens of all sequences one after the other."""


@dataclass(frozen=True)
class Blocks:
    """How the work is cut."""

    channels: int
    """Channels at a time."""
    tokens: int
    """Rows projected at a time."""
    keep: bool
    """Whether the filter's last hidden layer is kept for all channels, or made again for each block."""


def by_channels(mixer: nn.Module) -> TypeGuard[Hyena]:
    """Whether a mixer is worked so: not where its filters are modal, whose state is small and goes on chunk by chunk."""
    return isinstance(mixer, Hyena) and isinstance(mixer.filter, ImplicitFilter)


def bytes_of(mixer: Hyena, B: int, L: int, blocks: Blocks) -> int:
    """What `mixed` holds beside its input and output, the convolution's own workspace left out."""
    size, wide = mixer.in_proj.weight.element_size(), mixer.implicit.t.element_size()
    K, streams = mixer.filter.used(L), mixer.config.order + 1
    whole = streams
    if not mixer.one_operator:
        whole += streams + 3  # the streams after the short convolution, and what two convolutions pass on
    if not kernel.available() or mixer.in_proj.weight.device.type not in ("cpu", "meta"):
        whole += 2 * streams + 2
    total = blocks.channels * (whole * B * L * size + (1 if mixer.order_scale is None else 2) * K * wide)
    total += K * mixer.implicit.config.width * wide if blocks.keep else 0
    if isinstance(mixer, OuterHyena):
        total += mixer.convolutions * B * L * size
    if mixer.implicit.config.channel_norm:
        total += 9 * K * wide
    return total


class Room:
    """Memory that block after block and layer after layer are worked in; it grows to the largest that was asked for."""

    def __init__(self) -> None:
        """Empty."""
        self._kept: dict[str, Tensor] = {}

    def take(self, name: str, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """A tensor of undefined content, in the dtype and on the device of `like`; the same memory for the same name."""
        count = 1
        for n in shape:
            count *= n
        flat = self._kept.get(name)
        if flat is None or flat.numel() < count or flat.dtype != like.dtype or flat.device != like.device:
            self._kept.pop(name, None)
            flat = self._kept[name] = fresh(like.new_empty(count))
        return flat[:count].view(shape)


@torch.no_grad()
def mixed(mixer: Hyena, read: Read, B: int, L: int, blocks: Blocks, room: Room, out: Float[Tensor, "D R"]) -> None:
    """Fill `out` (D, B L) with what `mixer` hands to its activation and output projection, for the input that `read` gives."""
    work = _Work(mixer, read, B, L, blocks, room)
    sums = work.gate_sums() if isinstance(mixer, OuterHyena) else None
    for some in pieces(mixer.width, blocks.channels):
        into = out[some].unflatten(1, (B, L)).transpose(0, 1)
        if mixer.one_operator:
            work.fused(some, into)
        else:
            into.copy_(work.recurrence(some, sums))


class _Work:
    """One mixer over one input, block by block."""

    def __init__(self, mixer: Hyena, read: Read, B: int, L: int, blocks: Blocks, room: Room):
        self.mixer, self.read, self.B, self.L, self.blocks, self.room = mixer, read, B, L, blocks, room
        width, like = mixer.implicit.config.width, mixer.implicit.t
        features = room.take("features", (mixer.filter.used(L), width), like) if blocks.keep else None
        self.filter = FilterRows(mixer.implicit, L, features)

    def fused(self, some: slice, into: Tensor) -> None:
        """Order 2: y of some channels, (B, c, L)."""
        rows, short = self._rows(some), self.mixer.short_conv
        streams, offset = self._streams(rows)
        skip = None if self.mixer.skip is None else self.mixer.skip[some]
        hyena_conv_into(into, streams, (short.taps[rows], self._bias(rows), offset), self._taps(some, 0), skip)

    def recurrence(self, some: slice, sums: Tensor | None) -> Tensor:
        """Any order: y of some channels, (B, c, L); sums: the gates' sums over all channels, where those multiply."""
        mixer, D, count = self.mixer, self.mixer.width, some.stop - some.start
        streams = self._after_short_conv(self._rows(some))
        first_gate, *gates, v = streams.split(count, dim=1)
        for o, gate in enumerate(reversed(gates)):
            h = self._taps(some, o)
            skip = None if mixer.skip is None else mixer.skip[o * D + some.start : o * D + some.stop]
            if mixer.order_scale is not None:
                h, skip = h * mixer.order_scale[o], None if skip is None else skip * mixer.order_scale[o]
            pre = gate if sums is None else sums[:, len(gates) - 1 - o, None].expand_as(gate)
            v = long_conv(v, h, skip, pre=pre, post=first_gate if o == mixer.convolutions - 1 else None)
        return v

    def gate_sums(self) -> Tensor:
        """The sums over the channels of x_1 .. x_(N-1), (B, N - 1, L)."""
        D, count = self.mixer.width, self.mixer.convolutions
        sums = self.mixer.in_proj.weight.new_zeros(self.B, count, self.L)
        for some in pieces(D, self.blocks.channels):
            rows = self._rows(some)[some.stop - some.start : -(some.stop - some.start)]
            sums += self._after_short_conv(rows).unflatten(1, (count, -1)).sum(2)
        return sums

    def _rows(self, some: slice) -> Tensor:
        """The rows of the input projection that serve some channels: of every stream one after the other."""
        D, device = self.mixer.width, self.mixer.in_proj.weight.device
        starts = torch.arange(self.mixer.config.order + 1, device=device)[:, None] * D
        return (starts + torch.arange(some.start, some.stop, device=device)).flatten()

    def _after_short_conv(self, rows: Tensor) -> Tensor:
        """Streams `rows` (B, E, L) after projection, bias and short convolution."""
        short = self.mixer.short_conv
        streams, offset = self._streams(rows)
        if offset is not None:
            streams += offset[:, None]
        return long_conv(streams, short.taps[rows]).add_(self._bias(rows)[:, None])

    def _bias(self, rows: Tensor) -> Tensor:
        """Of the short convolution."""
        bias = self.mixer.short_conv.bias
        assert bias is not None, "a Hyena's short convolution has one"
        return bias[rows]

    def _streams(self, rows: Tensor) -> tuple[Tensor, Tensor | None]:
        """Some of the projected streams (B, E, L), each channel a contiguous row, and the bias (E,) still to be added."""
        linear, total = self.mixer.in_proj, self.B * self.L
        flat = self.room.take("streams", (len(rows), total), linear.weight)
        plain = plain_linear(linear)
        weight = linear.weight[rows] if plain else None
        for tokens in pieces(total, self.blocks.tokens):
            x = self.read(tokens)
            if weight is not None:
                torch.mm(weight, x.T, out=flat[:, tokens])
            else:
                flat[:, tokens] = linear(x[None])[0, :, rows].T
        offset = linear.bias[rows] if plain and linear.bias is not None else None
        return flat.unflatten(1, (self.B, self.L)).transpose(0, 1), offset

    def _taps(self, some: slice, o: int) -> Tensor:
        """The taps (c, K) of convolution o."""
        start, count = o * self.mixer.width + some.start, some.stop - some.start
        room = self.room.take("taps", (count, self.filter.K), self.mixer.implicit.t)
        return self.filter.rows(slice(start, start + count), room)

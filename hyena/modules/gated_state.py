"""What a mixer remembers that is one long convolution between two gates, and its single tokens by the compiled kernel.

Hyena of order 2 and the gated convolutions are this, over long convolutions that keep different things. An online convolution
(`ops.online.Part`) passes for a filter with a head of one tap, 1, whose input kept is the sum over the past: what a token
leaves in its place is the token's own input, which the online convolution then takes.
"""

from dataclasses import dataclass
from typing import Any, Self

from torch import Tensor

from hyena.modules.short_conv import ShortConv
from hyena.ops.gated_step import FilterStep, StepState, StepWeights, Token
from hyena.ops.history import Window
from hyena.ops.hyena_conv import unbiased
from hyena.ops.online import Part
from hyena.ops.tree import State


@dataclass
class GatedState(State):
    """What goes on from chunk to chunk."""

    short: Window
    """The last inputs of the short convolution; none where there is no such convolution."""
    long: Any
    """Of the long one, as its filter keeps them."""
    token: Token | None
    """What takes single tokens, of the weights when the state was begun; None where the mixer is not this one operator."""

    @classmethod
    def begin(cls, rows: int, short_conv: ShortConv | None, long: Any, streams: Tensor, skip: Tensor | None) -> Self:
        """Nothing read. streams (C, D): the weight of the projection before; long: the long convolution's state."""
        if short_conv is None:  # it is one whose only tap is 1
            window, taps, bias = Window.begin(rows, len(streams), 0, streams.detach()), streams.new_ones(len(streams), 1), None
        else:
            window, taps, bias = short_conv.init_state(rows), short_conv.taps, short_conv.bias
        step: FilterStep = long.step
        weights = StepWeights(taps, unbiased(taps) if bias is None else bias, *step, skip)
        return cls(window, long, Token(weights))

    def before(self) -> StepState:
        """What a token meets, for the kernel."""
        return StepState(self.short.inputs, self.long.kept, self.long.modes)

    def after(self, state: StepState) -> None:
        """`state` is that of `before`, in which the kernel has taken the token in: an online convolution is to be told."""
        if isinstance(self.long, Part):
            assert state.kept is not None
            self.long.commit(state.kept)

    def peek(self, x: Tensor) -> tuple[Tensor, Tensor] | None:
        """(y, u), each (B, D), of streams x (B, C, n); None where that is not one token, or the kernel cannot read it."""
        return None if x.shape[2] > 1 or self.token is None else self.token.peek(x[..., 0], self.before())

    def commit(self, x: Tensor, u: Tensor, lengths: Tensor | None) -> bool:
        """Take in x (B, C, n) and u (B, D, n); False, and nothing done, where they are not what the kernel can take."""
        if x.shape[2] > 1 or lengths is not None or self.token is None or isinstance(self.long, Part):
            return False
        return self.token.commit(x[..., 0], u[..., 0], self.before())

"""The online convolution: inputs that become known one after the other, exact at every length, for all layers at once.

Two engines behind one interface: `Cached`, the reference, here, and `Tiled` in tiled.py. The inputs of every layer are offered
in turn and taken in together, after the last: so a tile of all layers is one transform, and the clock moves once a step.
"""

from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor

from hyena.errors import HyenaError
from hyena.ops.gated_step import FilterStep
from hyena.ops.history import History
from hyena.ops.lags import Lags
from hyena.ops.tree import State


@dataclass
class Online(State):
    """What both engines have: the taps, the inputs that still matter, and the inputs that wait for those of the other parts."""

    lags: Lags
    history: History
    """(B, C, t): the inputs in reach, of a tiled one without those of the current block."""
    waiting: list[list[Tensor]] = field(init=False)
    """For each part of the channels, the inputs offered and not yet taken in."""

    def __post_init__(self) -> None:
        """Nothing waits."""
        self.waiting = [[] for _ in self.lags.parts]

    def past(self, n: int, part: int) -> Tensor | None:
        """What the inputs so far contribute to the next n outputs (B, D, n) of one part of the channels; None: nothing."""
        raise NotImplementedError

    def advance(self, us: list[Tensor], lengths: Tensor | None) -> None:
        """Take in inputs (B, D, n), one tensor a part; of row b the first lengths[b] only."""
        raise NotImplementedError

    def parts(self) -> list["Part"]:
        """The views of the mixers, one a part of the channels."""
        return [Part(self, i) for i in range(len(self.lags.parts))]

    def offer(self, part: int, u: Tensor, lengths: Tensor | None) -> None:
        """Inputs (B, D, n) of one part. When all parts have offered theirs the clock moves, once."""
        self.waiting[part].append(u)
        if all(self.waiting):
            self.advance([each.pop() for each in self.waiting], lengths)

    @classmethod
    def _alike(cls, states: list[Self]) -> list[Self]:
        """Nothing to do, where they belong together."""
        if not all(states[0].lags is state.lags or states[0].lags.same(state.lags) for state in states):
            raise HyenaError("states of different models, or of one model's different weights, cannot be put together")
        return states


@dataclass
class Part(State):
    """One mixer's share of an online convolution."""

    owner: Online
    number: int

    def past(self, n: int) -> Tensor | None:
        """What the inputs so far contribute to the next n outputs (B, D, n); None: nothing."""
        return self.owner.past(n, self.number)

    def taps(self, n: int) -> Tensor:
        """The first n taps (D, n), or as many as there are: for what the next n inputs do among themselves."""
        self.owner.lags.need(n)
        return self.owner.lags.parts[self.number][:, :n]

    @property
    def step(self) -> FilterStep:
        """A token's weights, of a filter whose input kept is the past."""
        taps = self.owner.lags.parts[self.number]
        none = taps.new_zeros(len(taps), 0, 2, dtype=torch.float64)
        return FilterStep(none, none.flatten(1), taps[:, :1].contiguous(), taps.new_ones(len(taps), 1))

    @property
    def kept(self) -> Tensor:
        """The past of the next output (B, D, 1), a copy."""
        past, like = self.past(1), self.owner.history.inputs
        if past is None:
            return like.new_zeros(len(like), len(self.owner.lags.parts[self.number]), 1)
        return past.clone(memory_format=torch.contiguous_format)

    @property
    def modes(self) -> None:
        """None."""

    def commit(self, u: Tensor, lengths: Tensor | None = None) -> None:
        """Inputs (B, D, n), of row b the first lengths[b]; they count once all parts have theirs."""
        self.owner.offer(self.number, u, lengths)


@dataclass
class Cached(Online):
    """The definition: every output is a sum over all inputs in reach."""

    def past(self, n: int, part: int) -> Tensor | None:
        """A product with all inputs kept."""
        kept, place = self.history.kept, self.lags.places[part]
        if not kept:
            return None
        x = self.history.last(kept)[:, place]
        if n > 1:
            return self.lags.fill(x, 0, n, place.start)
        return (x.transpose(0, 1) @ self.lags.backwards(part, kept)).transpose(0, 1)

    def advance(self, us: list[Tensor], lengths: Tensor | None) -> None:
        """Keep them."""
        self.history.append(us, lengths)

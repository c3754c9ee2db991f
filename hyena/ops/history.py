"""The last inputs of every row, the newest of all rows in the same place: rows of different ages share one buffer.

Before the start of a row there are zeros. A row that is given fewer inputs than the others is moved, so that its newest input
stands where theirs do.
"""

from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from hyena.ops.cuts import power
from hyena.ops.tree import State

UNBOUNDED = 2**62
"""The reach of a history that keeps everything."""


@dataclass
class Window(State):
    """Exactly the last few inputs: for short filters."""

    inputs: Tensor
    """(B, C, r), the newest last."""

    @classmethod
    def begin(cls, rows: int, channels: int, reach: int, like: Tensor) -> Self:
        """Nothing read yet. like: its dtype and device are taken."""
        return cls(like.new_zeros(rows, channels, reach))

    def followed_by(self, x: Tensor) -> Tensor:
        """(B, C, r + n): the inputs kept, then x (B, C, n)."""
        return torch.cat([self.inputs, x], -1)

    def append(self, x: Tensor, lengths: Tensor | None = None) -> None:
        """Take in x (B, C, n), of row b the first lengths[b] only."""
        r = self.inputs.shape[-1]
        if lengths is None:
            n = x.shape[-1]
            # A copy in any case: a part would keep the whole chunk alive.
            self.inputs = (
                torch.cat([self.inputs[..., n:], x], -1)
                if n < r
                else x[..., n - r :].clone(memory_format=torch.contiguous_format)
            )
        elif r:
            whole = self.followed_by(x)
            self.inputs = torch.stack([row[:, n : n + r] for row, n in zip(whole, lengths.tolist(), strict=True)])


def room(length: int, reach: int) -> int:
    """Places that a history of `length` inputs needs where `reach` of them are kept: a quarter more than those, so that moving
    the kept ones to the front is rare."""
    return min(length, reach + max(64, reach // 4))


@dataclass
class History(State):
    """The last `reach` inputs or more, in a buffer that grows and is moved to its front where it is full."""

    inputs: Tensor
    """(B, C, places), or (B, H, places, P): time is the third axis."""
    end: int
    """Places filled; the newest input stands at end - 1."""
    reach: int
    """Inputs that are kept."""

    @classmethod
    def begin(cls, inputs: Tensor, reach: int) -> Self:
        """An empty history in a buffer of zeros, whose size is a beginning; reach: how many inputs are kept."""
        return cls(inputs, 0, reach)

    @property
    def kept(self) -> int:
        """Inputs of the oldest row that can be read."""
        return min(self.end, self.reach)

    def last(self, n: int, before: int = 0) -> Tensor:
        """n inputs (B, C, n), n <= kept, that are followed by `before` newer ones."""
        return self.inputs[:, :, self.end - before - n : self.end - before]

    def followed_by(self, x: Tensor) -> Tensor:
        """The inputs kept, then x, without taking it in: often a part of the buffer, good until the next call."""
        n, kept = x.shape[2], self.kept
        if kept + n > room(kept + n, self.reach):  # a chunk longer than what would be kept of it
            return torch.cat([self.last(kept), x], 2)
        self._make_room(kept, n)
        self.inputs[:, :, self.end : self.end + n] = x
        return self.inputs[:, :, self.end - kept : self.end + n]

    def append(self, parts: list[Tensor], lengths: Tensor | None = None) -> None:
        """Take in new inputs (B, C, n), given in parts along the second axis; of row b the first lengths[b] only."""
        n = parts[0].shape[2]
        if lengths is not None and int(lengths.min()) < n:
            self._append_unequal(parts, lengths)
            return
        taken = min(n, self.reach)
        self._make_room(min(self.end, self.reach - taken), taken)
        at = 0
        for part in parts:
            self.inputs[:, at : at + part.shape[1], self.end : self.end + taken] = part[:, :, n - taken :]
            at += part.shape[1]
        self.end += taken

    def _append_unequal(self, parts: list[Tensor], lengths: Tensor) -> None:
        """The same where rows take in different numbers of inputs: each row is moved to where its newest one belongs."""
        kept, n = self.kept, parts[0].shape[2]
        end = min(self.reach, kept + n)
        rows = []
        for row, count in enumerate(lengths.tolist()):
            new = torch.cat([part[row, :, :count] for part in parts])
            whole = torch.cat([self.last(kept)[row], new.to(self.inputs.dtype)], 1)
            rows.append(whole[:, max(0, whole.shape[1] - end) :])
        self._make_room(0, end)
        for row, values in enumerate(rows):
            self.inputs[row, :, : end - values.shape[1]] = 0
            self.inputs[row, :, end - values.shape[1] : end] = values
        self.end = end

    def _make_room(self, kept: int, n: int) -> None:
        """Places for n more inputs; where there are too few, the newest `kept` of the old ones are moved to the front."""
        places = self.inputs.shape[2]
        if self.end + n <= places and (kept or not self.end):
            return
        old, wanted = self.last(kept), kept + n
        if wanted > places:
            shape = list(self.inputs.shape)
            shape[2] = room(power(wanted), self.reach)
            grown = self.inputs.new_zeros(shape)
            grown[:, :, :kept] = old
            self.inputs = grown
        else:
            self.inputs[:, :, :kept] = old.clone()
        self.end = kept

    @classmethod
    def _alike(cls, states: list[Self]) -> list[Self]:
        """All with the end of the oldest and the places of the largest."""
        end = max(state.end for state in states)
        places = max(end, *(state.inputs.shape[2] for state in states))
        ready = []
        for state in states:
            shift, tail = end - state.end, [0, 0] * (state.inputs.ndim - 3)
            inputs = state.inputs[:, :, : state.end]
            ready.append(cls(F.pad(inputs, (*tail, shift, places - end)), end, state.reach))
        return ready

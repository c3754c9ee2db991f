"""The engine that computes ahead, in tiles (arXiv 2410.12982, Flash Inference; 2410.03766, FutureFill).

An epoch of H outputs begins with all that the inputs before it contribute to them. Within it, after l inputs, the last
U = lowbit(l) of them contribute, once, to the next U outputs: every pair of an input and a later output meets in exactly one
tile, that of the number with the largest power of two between them. Tiles lie at multiples of a block; within a block the few
inputs are multiplied one by one. When an epoch is over the next begins, as long as what was read so far and at most as the
filter. An epoch of a single block is the epoched FutureFill: more work for a long stream, and little memory beside its inputs.

The clock l is the epoch's and counts for all rows. A row that joins later (`cat`) brings what its own past contributes to the
rest of the epoch, and is left out of what tiles take from before. `past` changes nothing that can be seen, so that looking
ahead at drafts needs no copy.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from hyena.ops.cuts import power
from hyena.ops.online import Online


def lowbit(k: int) -> int:
    """The largest power of two that divides k."""
    return k & -k


@dataclass
class Tiled(Online):
    """State of the tiled and of the epoched engine; every length in inputs, every clock from the beginning of the epoch."""

    pending: Tensor
    """(B, C, >= H): what has been contributed so far to the outputs of the epoch."""
    ready: Tensor
    """(B, b, C): the same for the current block, time by time."""
    recent: Tensor
    """(B, b, C): the inputs of the current block, time by time."""
    joined: Tensor
    """(B,): the clock from which on the inputs of a row take part in tiles."""
    longest: int
    """The longest epoch, a power of two."""
    limit: int
    """Inputs that a row will read at most; 0: not known."""
    horizon: int = 0
    """H; 0 before the first epoch."""
    clock: int = 0
    """l: inputs read in this epoch."""
    total: int = 0
    """Inputs read by the oldest row, or more."""
    ahead: Tensor | None = None
    """(B, C): what all parts will ask for next, computed once."""

    @property
    def block(self) -> int:
        """b: inputs of a block."""
        return self.recent.shape[1]

    @property
    def inside(self) -> int:
        """Inputs of the current block."""
        return self.clock % self.block

    def past(self, n: int, part: int) -> Tensor | None:
        """What was computed ahead, what the current block adds, and what tiles between now and the n-th output would add."""
        if not self.total:
            return None
        place = self.lags.places[part]
        if n > self.longest:  # more outputs than an epoch has: nothing could be used again
            return self.lags.fill(self._inputs(self.clock - self.total, self.clock, place, before=True), 0, n, place.start)
        if self.clock + n > self.horizon:
            self._begin_epoch(n)
        if n == 1:
            self.ahead = self._next() if self.ahead is None else self.ahead
            return self.ahead[:, place, None]
        y = self.pending[:, place, self.clock : self.clock + n].clone()
        for first, start, count in self._missing(n):
            y[..., start : start + count] += self.lags.fill(self._inputs(first, self.clock, place), start, count, place.start)
        return y

    def _next(self) -> Tensor:
        """The contribution to the next output (B, C) of all parts, in a few operations."""
        r = self.inside
        y = self.ready[:, r]
        return y.clone() if not r else y + (self.recent[:, :r] * self.lags.near(self.block)[self.block - r :]).sum(1)

    def _missing(self, n: int) -> Iterator[tuple[int, int, int]]:
        """What `pending` lacks for the next n outputs: (first, start, count), inputs from `first` on, outputs from `start`.

        The tile of k takes the inputs from k - lowbit(k) on; before output j all k up to j will have been; so j lacks the
        inputs from the least of these on.
        """
        b, now = self.block, self.clock
        first, since = now - self.inside, 0
        for k in range(now - self.inside + b, now + n, b):
            if k - lowbit(k) < first:
                if first < now:
                    yield first, since, k - now - since
                first, since = k - lowbit(k), k - now
        if first < now:
            yield first, since, n - since

    def _inputs(self, first: int, stop: int, channels: slice, before: bool = False) -> Tensor:
        """Inputs first .. stop - 1 of the epoch (B, D, up to stop - first), as far back as they are kept.

        before: those before the epoch too. Otherwise there are zeros where a row had not joined.
        """
        begun = self.clock - self.inside
        end, first = min(stop, begun), max(first, begun - self.history.kept)
        parts = []
        if first < end:
            old = self.history.last(end - first, begun - end)[:, channels]
            if not before and first < int(self.joined.max()):
                times = torch.arange(first, end, device=old.device)
                old = old * (times >= self.joined[:, None]).to(old)[:, None]
            parts.append(old)
        if stop > begun:
            parts.append(self.recent[:, max(first - begun, 0) : stop - begun, channels].transpose(1, 2))
        return parts[0] if len(parts) == 1 else torch.cat([self.recent[:, :0, channels].transpose(1, 2), *parts], -1)

    def _begin_epoch(self, n: int) -> None:
        """A new epoch of at least n outputs: all that was read so far contributes to it."""
        self._fold()
        wanted = self.total if not self.limit else min(self.total, max(1, self.limit - self.total))
        self.horizon = max(self.block, power(max(n, min(wanted, self.longest))))
        history, C = self.history, self.lags.channels
        if self.pending.shape[-1] < self.horizon:
            self.pending = self.pending.new_empty(len(self.pending), C, self.horizon)
        step = max(1, 2**24 // (self.horizon * len(self.pending)))
        for c in range(0, C, step):  # piece by piece: the result is a buffer that stands already
            x = history.last(history.kept)[:, c : c + step]
            self.pending[:, c : c + step, : self.horizon] = self.lags.fill(x, 0, self.horizon, c)
        self._show_block()

    def _fold(self) -> None:
        """End the epoch: what the current block holds goes to the history."""
        if self.inside:
            self.history.append([self.recent[:, : self.inside].transpose(1, 2)])
        self.clock = self.horizon = 0
        self.joined = torch.zeros_like(self.joined)

    def _show_block(self) -> None:
        """Copy what is pending for the block that begins now."""
        b, begun = self.block, self.clock - self.inside
        self.ready.copy_(self.pending[:, :, begun : begun + b].transpose(1, 2))

    def advance(self, us: list[Tensor], lengths: Tensor | None) -> None:
        """Take inputs in, and let every tile contribute that has become complete."""
        n, self.ahead = us[0].shape[-1], None
        if lengths is not None:
            most, least = int(lengths.max()), int(lengths.min())
            if least < most:
                self._fold()
                self.history.append([u[..., :most] for u in us], lengths)
                self.total += most
                return
            us, n = [u[..., :most] for u in us], most
        self.total += n
        if self.clock + n > self.horizon:
            self._fold()
            self.history.append(us)
        elif self.inside + n < self.block:
            self._write(us, self.inside)
            self.clock += n
        else:
            self._complete(us, n)

    def _write(self, us: list[Tensor], at: int) -> None:
        """Put inputs into the current block."""
        n = us[0].shape[-1]
        self.recent[:, at : at + n] = (us[0] if len(us) == 1 else torch.cat(us, 1)).transpose(1, 2)

    def _complete(self, us: list[Tensor], n: int) -> None:
        """Inputs that complete one block or several: the tiles in between, as far as they reach outputs still to come."""
        begun, stop = self.clock - self.inside, self.clock + n
        new = stop - stop % self.block
        if self.inside:
            self.history.append([self.recent[:, : self.inside].transpose(1, 2)])
        done = new - self.clock
        self.history.append([u[..., :done] for u in us])
        self.clock = new
        if new < self.horizon:
            for k in range(begun + self.block, new + 1, self.block):
                U = lowbit(k)
                start, count = new - k, k + U - new
                if count > 0:
                    self._tile(k - U, k, start, count)
            self._show_block()
        if stop > new:
            self._write([u[..., done:] for u in us], 0)
        self.clock = stop

    def _tile(self, first: int, k: int, start: int, count: int) -> None:
        """Inputs first .. k - 1 contribute to `count` outputs from k + start on."""
        x = self._inputs(first, k, slice(0, self.lags.channels))
        self.pending[:, :, k + start : k + start + count] += self.lags.fill(x, start, count)

    @classmethod
    def _alike(cls, states: list[Self]) -> list[Self]:
        """All at the first one's clock: the others bring what their past contributes to the rest of its epoch."""
        first, *others = super()._alike(states)
        first = replace(first, total=max(state.total for state in states), ahead=None)
        return [first, *(state._at(first) for state in others)]

    def _at(self, other: Self) -> Self:
        """The same rows at another state's clock."""
        copy = self.clone()
        copy.ahead = None
        copy._fold()
        inside, begun = other.inside, other.clock - other.inside
        history = copy.history
        copy.recent = torch.zeros_like(copy.recent)[:, :1].expand(-1, other.block, -1).clone()
        copy.ready = copy.recent.clone()
        if inside:
            kept = min(inside, history.end)
            copy.recent[:, inside - kept : inside] = history.last(kept).transpose(1, 2)
            history.end -= kept
        rest = other.horizon - begun
        copy.pending = other.pending.new_zeros(len(copy.joined), *other.pending.shape[1:])
        if rest > 0:
            copy.pending[:, :, begun : other.horizon] = copy.lags.fill(history.last(history.kept), 0, rest)
        copy.joined = torch.full_like(copy.joined, begun)
        copy.clock, copy.horizon = other.clock, other.horizon
        copy.longest, copy.limit = max(other.longest, self.longest), other.limit
        if rest > 0:
            copy._show_block()
        return copy

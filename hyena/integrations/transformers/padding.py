"""Rows with padding on either side, as attention masks say it, into rows that begin at their first token, as our models read.

A padded row gives what it gives alone: the tokens are moved to the front, and the results back to where the tokens were.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hyena.errors import HyenaError


@dataclass(frozen=True)
class Rows:
    """Rows of tokens, then padding."""

    ids: Int[Tensor, "B L"]
    """Tokens first, then zeros."""
    lengths: Int[Tensor, "B"] | None = None
    """Tokens of each row; None: all L."""
    begin: Int[Tensor, "B"] | None = None
    """The column of each row's first token; None: 0 everywhere."""

    def back(self, x: Float[Tensor, "B L D"]) -> Float[Tensor, "B L D"]:
        """What was computed of `ids`, in the columns where the tokens were. What stands under padding means nothing."""
        return x if self.begin is None else x.gather(1, _turned(x, -self.begin)[..., None].expand_as(x))


def rows_of(ids: Int[Tensor, "B L"], mask: Tensor | None) -> Rows:
    """Rows without the padding that a mask (B, L) of zeros and ones names. `HyenaError` for holes in it, and other shapes."""
    if mask is None:
        return Rows(ids)
    if mask.shape != ids.shape:
        raise HyenaError(
            f"attention_mask is {tuple(mask.shape)} and the tokens are {tuple(ids.shape)}: give one number for each token"
        )
    here = mask != 0
    if bool(here.all()):
        return Rows(ids)
    lengths, begin = here.sum(1), here.int().argmax(1)
    places = torch.arange(ids.shape[1], device=ids.device)
    run = (places >= begin[:, None]) & (places < (begin + lengths)[:, None])
    if not bool((run == here).all()):
        row = int((run != here).any(1).int().argmax())
        raise HyenaError(f"attention_mask has a hole in row {row}: padding may stand before a row's tokens or after them")
    moved = ids.gather(1, _turned(ids, begin)) if bool(begin.any()) else ids
    moved = moved.masked_fill(places >= lengths[:, None], 0)  # the id of padding need not be in the vocabulary
    return Rows(moved, lengths, begin if bool(begin.any()) else None)


def rows_with_tokens(ids: Int[Tensor, "B L"], mask: Tensor | None) -> Rows:
    """The same of whole sequences: `HyenaError` for a row that is nothing but padding, too."""
    rows = rows_of(ids, mask)
    if rows.lengths is not None and not bool(rows.lengths.all()):
        row = int(rows.lengths.argmin())
        raise HyenaError(f"attention_mask has no token in row {row}: leave the row out, it has no result")
    return rows


def _turned(x: Tensor, by: Tensor) -> Tensor:
    """For each row b of x (B, L, ...) the columns by[b], by[b] + 1, ... of it, round and round: (B, L)."""
    L = x.shape[1]
    return (torch.arange(L, device=x.device) + by[:, None]) % L

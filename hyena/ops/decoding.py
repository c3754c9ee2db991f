"""Which engine carries an online convolution, how it begins, and what its state takes."""

from typing import Literal, get_args

import torch

from hyena.errors import HyenaError
from hyena.ops.cuts import power
from hyena.ops.history import UNBOUNDED, History, room
from hyena.ops.lags import Lags
from hyena.ops.online import Cached, Online
from hyena.ops.tiled import Tiled

Decoding = Literal["auto", "cached", "tiled", "epoched"]
"""cached: all inputs are multiplied for every output. tiled: contributions are computed ahead, in time near to linear. epoched:
the same in epochs of one block, with little memory beside the inputs. auto chooses by the length."""
BLOCK = 32
"""Inputs of a block: a power of two. Its products cost as much as its share of a tile."""
_EPOCH = 1024
"""Outputs of an epoch where memory matters."""
_FEW = 256
"""Tokens of a stream for which computing ahead does not pay."""


def engine(decoding: Decoding, max_length: int | None) -> Decoding:
    """The engine that "auto" means for streams of so many tokens; any other name is itself."""
    if decoding not in get_args(Decoding):
        raise HyenaError(f"unknown decoding {decoding!r}: use {', '.join(map(repr, get_args(Decoding)))}")
    if decoding != "auto":
        return decoding
    return "cached" if max_length is not None and max_length <= _FEW else "tiled"


def begin(lags: Lags, rows: int, max_length: int | None = None, decoding: Decoding = "auto") -> Online:
    """The state of no inputs. max_length: inputs that a row will read at most; none given: buffers grow as they must."""
    decoding = engine(decoding, max_length)
    places = _places(lags.reach, max_length)
    kept = UNBOUNDED if lags.reach is None else lags.reach - 1
    history = History.begin(lags.like.new_zeros(rows, lags.channels, places), kept)
    if decoding == "cached":
        return Cached(lags, history)
    longest = _longest(lags.reach, max_length, decoding)
    pending = lags.like.new_zeros(rows, lags.channels, longest if max_length is not None else 0)
    few = lags.like.new_zeros(rows, BLOCK if decoding == "tiled" else longest, lags.channels)
    joined = torch.zeros(rows, dtype=torch.int64, device=few.device)
    return Tiled(lags, history, pending, few, few.clone(), joined, longest, max_length or 0)


def online_bytes(channels: int, size: int, reach: int | None, length: int, decoding: Decoding = "auto") -> int:
    """Bytes of one row's state, begun with max_length = length; size: bytes of a number."""
    decoding = engine(decoding, length)
    places = _places(reach, length)
    if decoding == "cached":
        return places * channels * size
    longest = _longest(reach, length, decoding)
    block = BLOCK if decoding == "tiled" else longest
    return (places + longest + 2 * block) * channels * size + 8


def _places(reach: int | None, max_length: int | None) -> int:
    """Places of the history to begin with."""
    if max_length is None:
        return 0
    return max_length if reach is None else room(max_length, reach - 1)


def _longest(reach: int | None, max_length: int | None, decoding: Decoding) -> int:
    """The longest epoch: a power of two."""
    ends = [end for end in (reach, max_length, _EPOCH if decoding == "epoched" else None) if end is not None]
    return max(BLOCK, power(min(ends))) if ends else UNBOUNDED

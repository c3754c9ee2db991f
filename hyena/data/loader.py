"""Cuts windows of tokens for training and for evaluation.

A window of `length` predictions is length + 1 tokens: inputs are window[:-1], targets window[1:]. Both functions are
without state, so a run that stops and goes on sees the batches it would have seen; no workers, no prefetching.
"""

from collections.abc import Iterator

import numpy as np

from hyena.data.tokens import TokenArray
from hyena.errors import HyenaError


def training_batch(
    tokens: TokenArray,
    length: int,
    batch_size: int,
    seed: int,
    step: int,
    *,
    rank: int = 0,
    ranks: int = 1,
    complement: np.ndarray | None = None,
) -> np.ndarray:
    """Windows at random places of tokens (L,): int64 of shape (batch_size / ranks, length + 1).

    The result depends on the arguments alone: step 1000 can be had without the 999 before it. Windows may overlap. Of a batch
    that `ranks` processes share, rank r reads rows r, r + ranks, ... complement: the complement of each id (V,), as
    `DNATokenizer.complement`; each window is then read from the other strand with probability 1/2, at the same place.
    HyenaError for fewer than length + 1 tokens, sizes that are not positive and a batch that the ranks cannot share evenly.
    """
    _check_positive(length, batch_size)
    if len(tokens) < length + 1:
        raise HyenaError(
            f"{len(tokens)} tokens are too few for length {length}, which takes {length + 1}; "
            "give a smaller length or more data"
        )
    _check_rank(batch_size, rank, ranks)
    random = generator(seed, step)
    starts = random.integers(0, len(tokens) - length, size=batch_size)
    rows = [tokens[start : start + length + 1] for start in starts[rank::ranks].tolist()]
    if complement is not None:
        # Drawn after the starts, for the whole batch: neither the option nor the ranks change what is drawn.
        flipped = (random.random(batch_size) < 0.5)[rank::ranks]
        rows = [complement[row][::-1] if flip else row for row, flip in zip(rows, flipped, strict=True)]
    return np.stack([row.astype(np.int64) for row in rows])


def generator(seed: int, step: int, stream: int = 0) -> np.random.Generator:
    """The random numbers of a step: every (seed, step) is a stream of its own, costs nothing to start, and has further
    streams that never meet. HyenaError for a seed or step outside of 64 bits.
    """
    for name, value in (("seed", seed), ("step", step)):
        if not 0 <= value < 2**64:
            raise HyenaError(f"{name} is {value}; pass a whole number from 0 to 2**64 - 1")
    # Counter-based. The highest word of the counter, which no run of draws ever reaches, is the stream.
    counter = np.array([0, 0, 0, stream], np.uint64)
    return np.random.Generator(np.random.Philox(key=np.array([seed, step], np.uint64), counter=counter))


def evaluation_windows(tokens: TokenArray, length: int, batch_size: int) -> Iterator[np.ndarray]:
    """Consecutive windows of tokens (L,) in batches: int64 of shape (b, l + 1).

    Every token but the first is predicted exactly once, for neighbours share one token: the last target of a window is
    the first input of the next. b is at most batch_size; l is length, except for a last window that is shorter and
    comes alone. HyenaError, before the first batch, for fewer than 2 tokens and for sizes that are not positive.
    """
    _check_positive(length, batch_size)
    if len(tokens) < 2:
        raise HyenaError(f"{len(tokens)} tokens are too few to predict any; give at least 2")
    return _windows(tokens, length, batch_size)


def _windows(tokens: TokenArray, length: int, batch_size: int) -> Iterator[np.ndarray]:
    whole, rest = divmod(len(tokens) - 1, length)
    for first in range(0, whole, batch_size):
        starts = range(first * length, min(first + batch_size, whole) * length, length)
        yield np.stack([tokens[start : start + length + 1] for start in starts]).astype(np.int64)
    if rest:
        yield tokens[whole * length :].astype(np.int64)[None]


def _check_positive(length: int, batch_size: int) -> None:
    for name, value in (("length", length), ("batch_size", batch_size)):
        if value < 1:
            raise HyenaError(f"{name} is {value}; pass at least 1")


def _check_rank(batch_size: int, rank: int, ranks: int) -> None:
    if not 0 <= rank < ranks:
        raise HyenaError(f"rank is {rank} of {ranks} ranks; pass a rank from 0 to ranks - 1")
    if batch_size % ranks:
        raise HyenaError(f"batch_size is {batch_size}, which {ranks} ranks cannot share evenly; use a multiple of {ranks}")

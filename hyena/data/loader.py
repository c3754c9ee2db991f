"""Cuts windows of tokens for training and for evaluation.

A window of `length` predictions is length + 1 tokens: inputs are window[:-1], targets window[1:]. Both functions are
without state, so a run that stops and goes on sees the batches it would have seen; no workers, no prefetching.
"""

from collections.abc import Iterator

import numpy as np

from hyena.errors import HyenaError


def training_batch(tokens: np.ndarray, length: int, batch_size: int, seed: int, step: int) -> np.ndarray:
    """Windows at random places of tokens (L,): int64 of shape (batch_size, length + 1).

    The result depends on the arguments alone: step 1000 can be had without the 999 before it. Windows may overlap.
    HyenaError for fewer than length + 1 tokens and for sizes that are not positive.
    """
    _check_positive(length, batch_size)
    if len(tokens) < length + 1:
        raise HyenaError(
            f"{len(tokens)} tokens are too few for length {length}, which takes {length + 1}; "
            "give a smaller length or more data"
        )
    for name, value in (("seed", seed), ("step", step)):
        if not 0 <= value < 2**64:
            raise HyenaError(f"{name} is {value}; pass a whole number from 0 to 2**64 - 1")
    # A counter-based generator: every key (seed, step) is a stream of its own, and costs nothing to start.
    random = np.random.Generator(np.random.Philox(key=np.array([seed, step], np.uint64)))
    starts = random.integers(0, len(tokens) - length, size=batch_size)
    return np.stack([tokens[start : start + length + 1] for start in starts]).astype(np.int64)


def evaluation_windows(tokens: np.ndarray, length: int, batch_size: int) -> Iterator[np.ndarray]:
    """Consecutive windows of tokens (L,) in batches: int64 of shape (b, l + 1).

    Every token but the first is predicted exactly once, for neighbours share one token: the last target of a window is
    the first input of the next. b is at most batch_size; l is length, except for a last window that is shorter and
    comes alone. HyenaError, before the first batch, for fewer than 2 tokens and for sizes that are not positive.
    """
    _check_positive(length, batch_size)
    if len(tokens) < 2:
        raise HyenaError(f"{len(tokens)} tokens are too few to predict any; give at least 2")
    return _windows(tokens, length, batch_size)


def _windows(tokens: np.ndarray, length: int, batch_size: int) -> Iterator[np.ndarray]:
    whole, rest = divmod(len(tokens) - 1, length)
    for first in range(0, whole, batch_size):
        starts = range(first * length, min(first + batch_size, whole) * length, length)
        yield np.stack([tokens[start : start + length + 1] for start in starts]).astype(np.int64)
    if rest:
        yield tokens[None, whole * length :].astype(np.int64)


def _check_positive(length: int, batch_size: int) -> None:
    for name, value in (("length", length), ("batch_size", batch_size)):
        if value < 1:
            raise HyenaError(f"{name} is {value}; pass at least 1")

"""How a long record is cut into windows so that every token but its first is scored once, each with context before it."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hyena.errors import HyenaError
from hyena.inference.score import per_token_scores
from hyena.models import LanguageModel

WINDOW = 65_536
"""Tokens read at a time where nothing else is said."""


class Window(NamedTuple):
    """Tokens read .. stop - 1 are read, and first .. stop - 1 of them scored."""

    read: int
    first: int
    stop: int


def sizes(limit: int | None, window: int | None, context: int | None) -> tuple[int, int]:
    """(tokens of a window, those of them that are context) as asked for, or by default; a window of 0: records as a whole.

    limit: tokens that the model reads at most, None for any number.
    """
    size = min(WINDOW, limit or WINDOW) if window is None else window
    before = size // 8 if context is None else context
    if size < 0 or (size and not 0 <= before < size):
        raise HyenaError(f"window is {size} and context {before}: a window holds its context and at least one token more")
    if limit is not None and size > limit:
        raise HyenaError(f"window is {size} and the model reads {limit} tokens at most: use a window of up to {limit}")
    return size, before


def windows(length: int, size: int, context: int) -> Iterator[Window]:
    """The windows of a record of `length` tokens, in order; one that scores nothing where it has less than two tokens."""
    first = size if 0 < size < length else length
    yield Window(0, min(1, first), first)
    while first < length:
        stop = min(length, first + size - context)
        yield Window(first - context, first, stop)
        first = stop


class Job(NamedTuple):
    """A window of a record and its tokens."""

    record: int
    name: str
    tokens: int
    """Those of the whole record."""
    ids: np.ndarray
    """What is read, a BOS included; the first of it is not scored."""
    scored: int
    """How many at the end are scored."""


def jobs_of(record: int, name: str, ids: np.ndarray, size: int, context: int, bos: int | None) -> Iterator[Job]:
    """A record's windows. bos: an id in front of the record, so that its first token is scored too."""
    for window in windows(len(ids), size, context):
        some, scored = ids[window.read : window.stop], window.stop - window.first
        if bos is not None and window.read == 0 and len(some):
            some, scored = np.concatenate([[bos], some]), len(some)
        yield Job(record, name, len(ids), some, scored)


def batched(jobs: Iterable[Job], tokens: int) -> Iterator[list[Job]]:
    """Neighbours together while they have up to `tokens`, padding included: the same batches whenever it starts."""
    batch: list[Job] = []
    for job in jobs:
        if batch and (len(batch) + 1) * max(len(job.ids), *(len(each.ids) for each in batch)) > tokens:
            yield batch
            batch = []
        batch.append(job)
    if batch:
        yield batch


def score_jobs(
    model: LanguageModel, batch: list[Job], max_memory: int | None, report: Callable[[int, int], None] | None = None
) -> list[Tensor]:
    """log p of the scored tokens of each job; report(layers done, layers in all)."""
    longest = max(len(job.ids) for job in batch)
    limit = min(model.backbone.limits().values(), default=longest)
    if longest - 1 > limit:
        name = next(job.name for job in batch if len(job.ids) == longest)
        raise HyenaError(f"record {name!r} has {longest} tokens and the model reads {limit}: score it in windows (--window)")
    dtype = torch.promote_types(model.backbone.embedding.weight.dtype, torch.float32)
    if longest < 2:
        return [torch.empty(0, dtype=dtype) for _ in batch]
    ids = torch.zeros(len(batch), longest, dtype=torch.int64)
    for row, job in zip(ids, batch, strict=True):
        row[: len(job.ids)] = torch.from_numpy(job.ids.astype(np.int64))
    found = per_token_scores(model, ids.to(model.device), max_memory, report)
    return [
        row[len(job.ids) - 1 - job.scored : max(0, len(job.ids) - 1)] if job.scored else row[:0]
        for row, job in zip(found, batch, strict=True)
    ]

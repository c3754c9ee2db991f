"""`score`: how likely a language model finds sequences, of any length, in bounded memory."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from hyena.errors import HyenaError
from hyena.inference.sequences import Progress, Sequences, as_rows, batch_tokens, batches, check_readable, within
from hyena.models import LanguageModel
from hyena.models.budget import DEFAULT_MEMORY
from hyena.models.layerwise import stream_of
from hyena.models.logprobs import predicted
from hyena.models.modes import evaluating


@dataclass(frozen=True, eq=False)
class Score:
    """The log-probability of one sequence, in nats."""

    total: float
    """Sum of log p(x_t | x_<t) over the scored tokens, in float64."""
    mean: float
    """total / count; NaN where nothing is scored."""
    count: int
    """Scored tokens: all but the first, and the first too behind a BOS."""
    per_token: Tensor
    """(count,): log p of each scored token, in float32, or float64 for a float64 model; on the CPU."""

    @classmethod
    def of(cls, per_token: Tensor) -> Self:
        """Add up."""
        count, total = len(per_token), float(per_token.double().sum())
        return cls(total, total / count if count else math.nan, count, per_token)


def score(
    model: LanguageModel,
    sequences: Sequences,
    bos: int | None = None,
    *,
    max_memory: int | None = DEFAULT_MEMORY,
    progress: Progress | None = None,
) -> list[Score]:
    """The log-probability of each sequence: total = sum over t >= 1 of log p(x_t | x_<t), the softmax over all V rows.

    sequences: strings (read by the model's tokenizer), id tensors (L,), or one tensor (B, L). The first token is read and not
    scored, so a sequence of up to one token has count 0, total 0 and mean NaN. bos: an id to put in front of each sequence, so
    that its first token is scored too; none unless asked. A sequence's score does not depend on the others, to rounding.
    max_memory: bytes beyond the weights to work in, None for any number. progress(done, total): called as the work goes on.

    Raises `HyenaError` for what the model cannot read, and where max_memory is too little, naming what would do.
    """
    if not isinstance(model, LanguageModel):
        raise HyenaError(f"{type(model).__name__} does not score: load a language model")
    rows = as_rows(model, sequences)
    if bos is not None:
        if not 0 <= bos < model.config.rows:
            raise HyenaError(f"bos is {bos}: an id from 0 to {model.config.rows - 1} is needed")
        rows = [torch.cat([row.new_tensor([bos]), row]) if len(row) else row for row in rows]
    # The last token is predicted and never read.
    read = [max(0, len(row) - 1) for row in rows]
    check_readable(model, read)
    tokens = batch_tokens(model, max(read, default=0), max_memory)
    wide = torch.promote_types(model.backbone.embedding.weight.dtype, torch.float32)
    found = [Score.of(torch.empty(0, dtype=wide)) for _ in rows]
    done, total = 0, sum(len(row) for row in rows)
    with evaluating(model):
        for batch in batches([row if len(row) > 1 else row[:0] for row in rows], tokens):
            size = sum(len(rows[i]) for i in batch.places)
            ids = batch.ids.to(model.device)
            per_token = per_token_scores(model, ids, max_memory, within(progress, done, size, total))
            for i, each in zip(batch.places, per_token, strict=True):
                found[i] = Score.of(each[: len(rows[i]) - 1].clone())
            done += size
    if progress is not None:
        progress(total, total)
    return found


@torch.no_grad()
def per_token_scores(
    model: LanguageModel, ids: Tensor, max_memory: int | None = None, report: Callable[[int, int], None] | None = None
) -> Tensor:
    """log p(x_t | x_<t) for t = 1 .. L - 1 of ids (B, L), L > 1, as (B, L - 1) on the CPU; the model in evaluation mode."""
    x = stream_of(model.backbone, ids[:, :-1], max_memory=max_memory, report=report)
    found = predicted(model, x.flatten(0, 1), ids[:, 1:].flatten(), stream=True)
    return found.log_probabilities.view(len(ids), -1).cpu()

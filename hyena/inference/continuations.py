"""`continuations`: how likely a model finds what follows a context, and whether it would have written it itself."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hyena.errors import HyenaError
from hyena.inference.sequences import Batch, Progress, as_rows, batch_tokens, batches, check_readable, within
from hyena.models import LanguageModel
from hyena.models.budget import DEFAULT_MEMORY
from hyena.models.layerwise import stream_of
from hyena.models.logprobs import Predicted, predicted
from hyena.models.modes import evaluating


@dataclass(frozen=True, eq=False)
class Continuation:
    """One continuation given its context, in nats."""

    total: float
    """Sum of log p over its tokens, in float64; 0 where there is none."""
    greedy: bool
    """Whether every token of it is the likeliest of all V rows."""
    per_token: Tensor
    """(K,): log p of each token, in float32, or float64 for a float64 model; on the CPU."""


def continuations(
    model: LanguageModel,
    contexts: Sequence[Tensor],
    following: Sequence[Tensor],
    *,
    max_memory: int | None = DEFAULT_MEMORY,
    progress: Progress | None = None,
) -> list[Continuation]:
    """log p(following | context) of each pair of ids (C,), C >= 1, and (K,), the softmax over all V rows.

    Context and continuation are read in one pass, batches as those of `score`; the head is applied to the continuation alone.
    A pair does not depend on the others, to rounding. max_memory, progress: as in `score`.

    Raises `HyenaError` for what the model cannot read, before any work is done, and for an empty context.
    """
    if not isinstance(model, LanguageModel):
        raise HyenaError(f"{type(model).__name__} does not score: load a language model")
    before, after = as_rows(model, contexts), as_rows(model, following)
    for i, context in enumerate(before):
        if not len(context):
            raise HyenaError(f"context {i} is empty: give at least one token, such as the one that begins every document")
    # The last token is predicted and never read.
    rows = [torch.cat(pair)[:-1] if len(pair[1]) else pair[1] for pair in zip(before, after, strict=True)]
    check_readable(model, [len(row) for row in rows])
    limit = batch_tokens(model, max(map(len, rows), default=0), max_memory)
    found: list[Continuation | None] = [None] * len(rows)
    done, total = 0, sum(map(len, rows))
    with evaluating(model):
        for batch in batches(rows, limit):
            size = sum(len(rows[i]) for i in batch.places)
            spans = [slice(len(before[i]) - 1, len(rows[i])) for i in batch.places]
            targets = [after[i] for i in batch.places]
            each = _predicted(model, batch, spans, targets, max_memory, within(progress, done, size, total))
            for i, values in zip(batch.places, each, strict=True):
                found[i] = _of(values)
            done += size
    if progress is not None:
        progress(total, total)
    wide = torch.promote_types(model.backbone.embedding.weight.dtype, torch.float32)
    return [Continuation(0.0, True, torch.empty(0, dtype=wide)) if each is None else each for each in found]


@torch.no_grad()
def _predicted(
    model: LanguageModel,
    batch: Batch,
    spans: list[slice],
    targets: list[Tensor],
    max_memory: int | None,
    report: Progress | None,
) -> list[Predicted]:
    """What the model says of each row's targets from its hidden states at `spans`, on the CPU."""
    x = stream_of(model.backbone, batch.ids.to(model.device), max_memory=max_memory, report=report)
    rows = torch.cat([row[span] for row, span in zip(x, spans, strict=True)])
    found = predicted(model, rows, torch.cat(targets).to(rows.device), stream=True)
    sizes = [len(each) for each in targets]
    parts = zip(found.log_probabilities.cpu().split(sizes), found.right.cpu().split(sizes), strict=True)
    return [Predicted(*part) for part in parts]


def _of(values: Predicted) -> Continuation:
    """Added up."""
    total, greedy = float(values.log_probabilities.double().sum()), bool(values.right.all())
    return Continuation(total, greedy, values.log_probabilities.clone())

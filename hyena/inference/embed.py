"""`embed`: hidden states of a layer, pooled over each sequence, of any length, in bounded memory."""

from typing import Literal

import torch
from torch import Tensor

from hyena.errors import HyenaError
from hyena.inference.sequences import Progress, Sequences, as_rows, batch_tokens, batches, check_readable, within
from hyena.models import Classifier, LanguageModel
from hyena.models.budget import DEFAULT_MEMORY
from hyena.models.layerwise import normed, stream_of
from hyena.models.modes import evaluating
from hyena.ops.cuts import pieces

Pool = Literal["mean", "last", "first", "sum"]
POOLS: tuple[str, ...] = ("mean", "last", "first", "sum")
_ROWS = 4096
"""Tokens pooled at a time."""


@torch.no_grad()
def embed(
    model: LanguageModel | Classifier,
    sequences: Sequences,
    layer: int | None = None,
    pool: Pool | None = "mean",
    *,
    max_memory: int | None = DEFAULT_MEMORY,
    progress: Progress | None = None,
) -> Tensor | list[Tensor]:
    """Hidden states (n, D) of n sequences, pooled over each one's own tokens; with pool None a list of (L, D).

    sequences: as `score` takes them, each of at least one token. layer: the residual stream that leaves this block (from 0;
    negative: from the last), where the work stops; none given: after all blocks and the final norm, as the heads see it.
    pool: mean, last, first or sum over the tokens, in float64. The results are in the model's dtype, at least float32, on the
    CPU. max_memory and progress: as in `score`.
    """
    layers = _layers(model, layer)
    if pool is not None and pool not in POOLS:
        raise HyenaError(f"pool is {pool!r}: use {', '.join(POOLS)}, or None for the state of every token")
    rows = as_rows(model, sequences)
    empty = next((i for i, row in enumerate(rows) if not len(row)), None)
    if empty is not None:
        raise HyenaError(f"sequence {empty} is empty: a sequence of at least one token has hidden states")
    lengths = [len(row) for row in rows]
    check_readable(model, lengths)
    tokens = batch_tokens(model, max(lengths, default=0), max_memory)
    found: list[Tensor] = [torch.empty(0)] * len(rows)
    done, total = 0, sum(lengths)
    with evaluating(model):
        for batch in batches(rows, tokens):
            size = sum(len(rows[i]) for i in batch.places)
            report = within(progress, done, size, total)
            x = stream_of(model.backbone, batch.ids.to(model.device), layers, max_memory, report)
            norm = model.backbone.norm if layer is None else None
            for i, row in zip(batch.places, x, strict=True):
                found[i] = _pooled(row[: len(rows[i])], norm, pool)
            done += size
    if progress is not None:
        progress(total, total)
    return found if pool is None else torch.stack(found) if found else torch.empty(0, model.config.width)


def _layers(model: LanguageModel | Classifier, layer: int | None) -> int | None:
    """How many blocks are run."""
    if not isinstance(model, LanguageModel | Classifier):
        raise HyenaError(f"{type(model).__name__} has no hidden states: load a model")
    count = len(model.backbone.layers)
    if layer is None:
        return None
    if not -count <= layer < count:
        raise HyenaError(f"layer is {layer} and the model has {count}: use 0 .. {count - 1}, or -1 for the last")
    return layer % count + 1


def _pooled(x: Tensor, norm: torch.nn.Module | None, pool: str | None) -> Tensor:
    """Rows x (L, D) of one sequence as (D,), or all of them."""
    x = x[-1:] if pool == "last" else x[:1] if pool == "first" else x
    dtype = torch.promote_types(x.dtype, torch.float32)
    if pool not in ("mean", "sum"):
        whole = torch.empty(x.shape, dtype=dtype)
        for some in pieces(len(x), _ROWS):
            whole[some] = x[some] if norm is None else normed(norm, x[some])
        return whole if pool is None else whole[0]
    total = torch.zeros(x.shape[1], dtype=torch.float64, device=x.device)
    for some in pieces(len(x), _ROWS):
        total += (x[some] if norm is None else normed(norm, x[some])).double().sum(0)
    return (total / len(x) if pool == "mean" else total).to(dtype).cpu()

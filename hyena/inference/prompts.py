"""What users hand over as prompts: one tensor, or rows of unequal length. Checked before any work is done."""

from collections.abc import Sequence
from typing import cast

import torch
from jaxtyping import Int
from torch import Tensor

from hyena.errors import HyenaError
from hyena.models import LanguageModel

Row = Tensor | Sequence[int]
Prompts = Int[Tensor, "B L"] | Sequence[Tensor] | Sequence[Sequence[int]]
"""One tensor (B, L), or a list of tensors (L,) or of lists of ids."""
Lengths = Int[Tensor, "B"] | Sequence[int] | None
"""The tokens of each row of a tensor that is padded on the right."""


def as_prompts(model: LanguageModel, ids: Prompts, lengths: Lengths = None) -> list[Tensor]:
    """Each prompt as ids (L,), L >= 1, on the model's device; `HyenaError` for what is none."""
    if isinstance(ids, Tensor):
        rows = _rows_of(ids, lengths)
    elif lengths is not None:
        raise HyenaError(
            "lengths are given with a list of prompts: they belong to one tensor (B, L) that is padded on the right"
        )
    elif isinstance(ids, str) or not len(ids) or isinstance(ids[0], str | int):
        found = "a text" if isinstance(ids, str) or (len(ids) and isinstance(ids[0], str)) else f"{ids!r}"
        raise HyenaError(f"ids is {found}: whole numbers (B, L) or a list of rows of ids are needed (texts: `stream_text`)")
    else:
        rows = [_row(cast(Row, each), i) for i, each in enumerate(ids)]
    most, low, high = model.config.rows - 1, min(int(row.min()) for row in rows), max(int(row.max()) for row in rows)
    if low < 0 or high > most:
        bad = low if low < 0 else high
        place = next(i for i, row in enumerate(rows) if bad in row)
        raise HyenaError(f"prompt {place}: id {bad} is outside the vocabulary: the model has rows 0 .. {most}")
    return [row.to(model.device) for row in rows]


def _rows_of(ids: Tensor, lengths: Lengths) -> list[Tensor]:
    """The rows of one tensor without their padding."""
    if ids.ndim != 2 or ids.is_floating_point() or ids.dtype == torch.bool or 0 in ids.shape:
        raise HyenaError(f"ids must be whole numbers (B, L) with at least one token, got {ids.dtype} {tuple(ids.shape)}")
    B, L = ids.shape
    counts = [L] * B if lengths is None else lengths.tolist() if isinstance(lengths, Tensor) else list(lengths)
    if len(counts) != B or not all(isinstance(n, int) and 1 <= n <= L for n in counts):
        raise HyenaError(f"lengths is {counts}: {B} whole numbers from 1 to {L} are needed, one a row")
    return [row[:n] for row, n in zip(ids.long(), counts, strict=True)]


def _row(prompt: Row, i: int) -> Tensor:
    """One prompt of a list."""
    try:
        row = prompt if isinstance(prompt, Tensor) else torch.tensor(prompt)
    except (TypeError, ValueError, RuntimeError):
        raise HyenaError(f"prompt {i} is {prompt!r}: a row of whole numbers is needed") from None
    if row.ndim != 1 or row.is_floating_point() or row.dtype == torch.bool or not len(row):
        raise HyenaError(f"prompt {i} is {row.dtype} {tuple(row.shape)}: whole numbers (L,) are needed, at least one token")
    return row.detach().long()


def check_room(model: LanguageModel, longest: int, count: int) -> None:
    """`HyenaError` where the longest prompt and `count` tokens after it are more than the model reads."""
    if count < 0:
        raise HyenaError(f"max_new_tokens is {count}: use 0 or more")
    for name, limit in model.backbone.limits().items():
        if longest + count - 1 > limit:  # the last token drawn is never read
            raise HyenaError(
                f"a prompt of {longest} tokens and {count} new ones exceed the model's {name} {limit}: ask for at most "
                f"{max(0, limit - longest + 1)}, shorten the prompt, or use a model with another {name} or `beyond`"
            )
    for block in model.backbone.layers:
        block.mixer.check_length(longest + count - 1)

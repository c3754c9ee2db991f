"""What users hand over as sequences (strings, ids, one tensor) as rows of ids, and batches of rows of similar length."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from hyena.data.tokenizers import ByteTokenizer, DNATokenizer, Tokenizer, load_tokenizer
from hyena.errors import HyenaError
from hyena.models import Classifier, LanguageModel
from hyena.models.budget import most_rows

Sequences = Sequence[str | Tensor] | Tensor
"""A list of strings or of id tensors (L,), or one tensor (B, L)."""
Progress = Callable[[int, int], None]
"""Called with tokens done and tokens in all; a sequence in work counts for the layers that are done."""
BATCH_TOKENS = 2**17
"""Tokens of a batch of several sequences, padding included."""


def tokenizer_of(model: LanguageModel | Classifier) -> Tokenizer:
    """The tokenizer that a model names; 256 symbols and none named: bytes. `HyenaError` where there is none."""
    spec, size = model.config.tokenizer, model.config.vocab_size
    if spec is None and size != 256:
        raise HyenaError(
            f"the model names no tokenizer for its {size} symbols: pass ids instead of strings, or build it with "
            "tokenizer='bytes', 'dna' or 'file:NAME'"
        )
    if spec is not None and spec.startswith("file:") and model.tokenizer_file is not None:
        return load_tokenizer(f"file:{model.tokenizer_file.name}", model.tokenizer_file.parent)
    return load_tokenizer(spec or "bytes")


def drawable(model: LanguageModel | Classifier, text: bool = False) -> range:
    """The ids that may be drawn where nothing is said: those of the vocabulary that the tokenizer, where one is named, has.

    text: whether the tokenizer is needed anyway; one in a file is not read for this alone.
    """
    size = model.config.vocab_size
    if text or model.config.tokenizer in (ByteTokenizer.spec, DNATokenizer.spec):
        size = min(size, tokenizer_of(model).vocab_size)
    return range(size)


def as_rows(model: LanguageModel | Classifier, sequences: Sequences) -> list[Tensor]:
    """Each sequence as ids (L,), int64, on the CPU; `HyenaError` for what is none, naming its place."""
    if isinstance(sequences, str):
        raise HyenaError("sequences is one string: pass a list of strings, [text] for a single one")
    if isinstance(sequences, Tensor) and sequences.ndim != 2:
        raise HyenaError(f"sequences is a tensor {tuple(sequences.shape)}: (B, L) is needed, or a list of tensors (L,)")
    tokenizer = tokenizer_of(model) if any(isinstance(s, str) for s in sequences) else None
    return [_row(model, s, i, tokenizer) for i, s in enumerate(sequences)]


def _row(model: LanguageModel | Classifier, sequence: str | Tensor, i: int, tokenizer: Tokenizer | None) -> Tensor:
    """One sequence."""
    if isinstance(sequence, str):
        assert tokenizer is not None
        try:
            return torch.from_numpy(tokenizer.encode(sequence))
        except HyenaError as error:
            raise HyenaError(f"sequence {i}: {error}") from None
    if not isinstance(sequence, Tensor) or sequence.ndim != 1 or sequence.is_floating_point() or sequence.dtype == torch.bool:
        found = f"{sequence.dtype} {tuple(sequence.shape)}" if isinstance(sequence, Tensor) else type(sequence).__name__
        raise HyenaError(f"sequence {i} is {found}: a string, or a tensor of whole numbers (L,), is needed")
    row = sequence.detach().to("cpu", torch.int64)
    if len(row) and not 0 <= int(row.min()) <= int(row.max()) < model.config.rows:
        bad = int(row.min()) if int(row.min()) < 0 else int(row.max())
        raise HyenaError(f"sequence {i}: id {bad} is outside the vocabulary: the model has rows 0 .. {model.config.rows - 1}")
    return row


def check_readable(model: LanguageModel | Classifier, lengths: Sequence[int]) -> None:
    """`HyenaError` where a sequence is longer than the model reads, before any work is done."""
    if not lengths or not max(lengths):
        return
    longest = max(lengths)
    for name, limit in model.backbone.limits().items():
        if longest > limit:
            raise HyenaError(
                f"sequence {lengths.index(longest)} has {longest} tokens and the model's {name} is {limit}: cut it into "
                f"windows (hyena score does), or use a model with another {name} or `beyond`"
            )
    for block in model.backbone.layers:
        block.mixer.check_length(longest)


class Batch(NamedTuple):
    """Sequences worked at once."""

    places: list[int]
    """Which sequences they are."""
    ids: Tensor
    """(B, L), padded on the right: causal models never look there."""


def within(progress: Progress | None, before: int, size: int, total: int) -> Callable[[int, int], None] | None:
    """A report of layers as tokens of the whole."""
    return None if progress is None else lambda layer, layers: progress(before + size * layer // layers, total)


def batch_tokens(model: LanguageModel | Classifier, longest: int, max_memory: int | None) -> int:
    """Tokens of a batch that fit `max_memory`; `HyenaError` where not even the longest sequence does."""
    longest = max(1, longest)
    return longest * most_rows(model.backbone, max(1, BATCH_TOKENS // longest), longest, max_memory)


def batches(rows: list[Tensor], tokens: int = BATCH_TOKENS) -> Iterator[Batch]:
    """Rows that are not empty in batches of up to `tokens` (a longer one alone), the longest first, half as long at least."""
    order = sorted((i for i, row in enumerate(rows) if len(row)), key=lambda i: -len(rows[i]))
    while order:
        longest = len(rows[order[0]])
        most = max(1, tokens // longest)
        taken = [i for i in order[:most] if 2 * len(rows[i]) >= longest]
        order = order[len(taken) :]
        ids = torch.zeros(len(taken), longest, dtype=torch.int64)
        for place, i in enumerate(taken):
            ids[place, : len(rows[i])] = rows[i]
        yield Batch(taken, ids)

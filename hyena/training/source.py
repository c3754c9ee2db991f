"""Where a run's batches come from and what it is validated on: `CorpusSource` here, the recall task in `recall.py`."""

from typing import Protocol

import torch
from torch import Tensor

from hyena.configs.training import RunConfig
from hyena.data import Corpus, DNATokenizer, Tokenizer, evaluation_windows, training_batch
from hyena.data.tokens import Tokens, cut
from hyena.models import LanguageModel
from hyena.training.evaluate import Evaluation, evaluate

IGNORED = -100
"""The target of a place where nothing is asked."""


class Source(Protocol):
    """What the loop asks for. A batch is a function of its number alone, so a resumed run sees the batches it would have."""

    notes: tuple[str, ...]
    """What was changed or left out when the data was read."""
    digests: dict[str, str]
    """Name of a part of the data -> digest of its tokens."""

    def batch(self, number: int, rows: int, length: int) -> tuple[Tensor, Tensor]:
        """Ids and targets, each int64 (rows, length)."""
        ...

    def validate(self, model: LanguageModel) -> Evaluation:
        """How well the model does on what is held out."""
        ...


class CorpusSource:
    """Windows at random places of the training part; consecutive windows of the held-out part."""

    def __init__(self, training: Corpus, held_out: Corpus, tokenizer: Tokenizer, config: RunConfig):
        """Raises `HyenaError` here for what would fail at the first batch or validation."""
        t = config.training
        limit = len(held_out) if t.valid_tokens is None else min(t.valid_tokens, len(held_out))
        self.training, self.held_out = training.tokens, cut(held_out.tokens, 0, limit)
        self.tokenizer, self.config = tokenizer, config
        parts = {"training": self.training, "held-out": held_out.tokens}
        self.digests = {name: tokens.digest for name, tokens in parts.items() if isinstance(tokens, Tokens)}
        self.complement = None
        if config.data.reverse_complement and isinstance(tokenizer, DNATokenizer):
            self.complement = tokenizer.complement
        self.notes = tuple(dict.fromkeys(training.notes + held_out.notes))
        self.batch(0, 1, config.length)
        evaluation_windows(self.held_out, config.length, t.batch_size)

    def batch(self, number: int, rows: int, length: int) -> tuple[Tensor, Tensor]:
        """Windows of length + 1 tokens: the first `length` and, as targets, the last."""
        seed = self.config.training.seed
        windows = torch.from_numpy(training_batch(self.training, length, rows, seed, number, complement=self.complement))
        return windows[:, :-1], windows[:, 1:]

    def validate(self, model: LanguageModel) -> Evaluation:
        """Every held-out token but the first, in windows of the training length."""
        return evaluate(model, self.held_out, self.tokenizer, self.config.length, self.config.training.batch_size)

"""How well a language model predicts a text: every token but the first, once."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from hyena.data import Tokenizer, evaluation_windows
from hyena.models import LanguageModel


@dataclass(frozen=True)
class Evaluation:
    """Averages over the predicted tokens."""

    nats_per_token: float
    """Mean of -ln p(token | the tokens before it in its window)."""
    perplexity: float
    """exp(nats_per_token)."""
    bits_per_byte: float
    """The same text's cost per byte of text (per base for DNA); comparable across tokenizers."""
    tokens: int
    """Predicted tokens."""
    accuracy: float = math.nan
    """Share of tokens for which the likeliest is the true one."""


def evaluate(
    model: LanguageModel,
    tokens: np.ndarray,
    tokenizer: Tokenizer,
    length: int | None = None,
    batch_size: int = 16,
    report: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Predict tokens (L,) in consecutive windows of `length` (the model's max_length where not given).

    A window knows nothing of the one before it, as published evaluations have it. The log-softmax runs over all V rows, the
    sum is float64. report(done, total) is called after each batch.
    """
    length = model.config.max_length if length is None else length
    total, count = 0.0, 0
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            for window in evaluation_windows(tokens, length, batch_size):
                ids = torch.from_numpy(window).to(model.device)
                logits = model(ids[:, :-1]).flatten(0, 1)
                logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
                nats = F.cross_entropy(logits, ids[:, 1:].flatten(), reduction="none")
                total += nats.sum(dtype=torch.float64).item()
                count += nats.numel()
                if report is not None:
                    report(count, len(tokens) - 1)
    finally:
        model.train(training)
    mean = total / count
    size = tokenizer.byte_length(tokens[1:])
    perplexity = math.exp(mean) if mean < 700 else math.inf
    return Evaluation(mean, perplexity, total / math.log(2) / size if size else math.nan, count)

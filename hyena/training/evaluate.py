"""How well a language model predicts a text: every token but the first, once; on the whole, and at each position."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from hyena.data import Tokenizer, evaluation_windows
from hyena.data.tokens import TokenArray
from hyena.models import LanguageModel
from hyena.models.budget import DEFAULT_MEMORY, most_rows
from hyena.models.layerwise import stream_of
from hyena.models.logprobs import predicted
from hyena.models.modes import evaluating

Report = Callable[[int, int], None]
_CHUNK, _OVERLAP = 2**20, 16
"""Tokens whose bytes are counted at a time, and tokens before them that are decoded again."""
_LONG = 2**15
"""Tokens of a batch that is worked layer by layer, in bounded memory."""
_BINS = 48
"""Bins of the positions of a window."""


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


@dataclass(frozen=True)
class Bin:
    """Neighbouring positions taken together."""

    first: int
    """Positions first .. last, from 0."""
    last: int
    nats: float
    """Mean over all tokens at these positions."""
    standard_error: float
    """Of that mean, from the differences between windows; NaN for a single window."""


@dataclass(frozen=True, eq=False)
class Positions:
    """The loss at each position of a window of l tokens: position p is predicted from p + 1 tokens of context."""

    nats: np.ndarray
    """(l,) mean nats at each position, float64."""
    counts: np.ndarray
    """(l,) tokens behind each mean: whole windows, and the shorter last one where it reaches."""
    edges: np.ndarray
    """(bins + 1,): bin b has the positions edges[b] .. edges[b + 1] - 1; they grow geometrically."""
    moments: np.ndarray
    """(4, bins): over windows, the number of those that reach the bin, and the sums of S^2, S n and n^2, where n is how many
    tokens a window has in the bin and S the sum of their nats."""

    @property
    def windows(self) -> int:
        """Windows, the last shorter one included."""
        return int(self.counts.max())

    @property
    def mean(self) -> float:
        """Over all tokens: `Evaluation.nats_per_token`."""
        return float(self.nats @ self.counts / self.counts.sum())

    def bins(self) -> list[Bin]:
        """Means and standard errors of the bins.

        The mean is a ratio, sum S / sum n, whose variance over W windows is W / (W - 1) sum (S - mean n)^2 / (sum n)^2:
        tokens of one window are not independent, windows nearly are.
        """
        n = np.add.reduceat(self.counts, self.edges[:-1])
        mean = np.add.reduceat(self.nats * self.counts, self.edges[:-1]) / n
        windows, squares, products, sizes = self.moments
        residual = np.maximum(squares - 2 * mean * products + mean**2 * sizes, 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            error = np.where(windows > 1, np.sqrt(windows / (windows - 1) * residual) / n, np.nan)
        borders = zip(self.edges[:-1].tolist(), (self.edges[1:] - 1).tolist(), strict=True)
        return [Bin(*b, m, e) for b, m, e in zip(borders, mean.tolist(), error.tolist(), strict=True)]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; a standard error that does not exist is None."""
        bins = [{key: None if value != value else value for key, value in asdict(b).items()} for b in self.bins()]
        return {"windows": self.windows, "bins": bins, "nats": self.nats.tolist(), "counts": self.counts.tolist()}


def evaluate(
    model: LanguageModel,
    tokens: TokenArray,
    tokenizer: Tokenizer,
    length: int | None = None,
    batch_size: int = 16,
    report: Report | None = None,
    max_memory: int | None = DEFAULT_MEMORY,
) -> Evaluation:
    """Predict tokens (L,) in consecutive windows of `length` (the model's max_length where not given).

    A window knows nothing of the one before it, as published evaluations have it. The log-softmax runs over all V rows, the
    sum is float64. report(done, total) is called after each batch. max_memory: bytes beyond the weights that long windows are
    worked in, of which fewer are taken at a time where so many do not fit; None for any number.
    """
    return evaluate_positions(model, tokens, tokenizer, length, batch_size, report, max_memory)[0]


def evaluate_positions(
    model: LanguageModel,
    tokens: TokenArray,
    tokenizer: Tokenizer,
    length: int | None = None,
    batch_size: int = 16,
    report: Report | None = None,
    max_memory: int | None = DEFAULT_MEMORY,
) -> tuple[Evaluation, Positions]:
    """The same, and in the same pass the loss at each position of the window."""
    length = model.config.max_length if length is None else length
    windows = evaluation_windows(tokens, length, batch_size)
    sums = _Sums(min(length, len(tokens) - 1))
    with evaluating(model), torch.no_grad():
        for window in windows:
            ids = torch.from_numpy(window).to(model.device)
            for some in ids.split(_at_once(model, ids, max_memory)):
                nats, right = _nats(model, some, max_memory)
                sums.add(nats.double().cpu().numpy(), right)
            if report is not None:
                report(int(sums.counts.sum()), len(tokens) - 1)
    total, count = float(sums.nats.sum()), int(sums.counts.sum())
    mean, size = total / count, byte_length(tokens, tokenizer)
    perplexity = math.exp(mean) if mean < 700 else math.inf
    bits_per_byte = total / math.log(2) / size if size else math.nan
    found = Evaluation(mean, perplexity, bits_per_byte, count, sums.correct / count)
    return found, Positions(sums.nats / sums.counts, sums.counts, sums.edges, sums.moments)


def _at_once(model: LanguageModel, ids: torch.Tensor, max_memory: int | None) -> int:
    """Windows at a time."""
    B, L = ids.shape
    return B if B * L < _LONG else most_rows(model.backbone, B, L, max_memory)


def _nats(model: LanguageModel, ids: torch.Tensor, max_memory: int | None) -> tuple[torch.Tensor, int]:
    """Nats (B, L - 1) of tokens 1 .. of windows ids (B, L), and how many are the likeliest; long ones layer by layer."""
    read, targets, long = ids[:, :-1], ids[:, 1:].flatten(), ids.numel() >= _LONG
    hidden = stream_of(model.backbone, read, max_memory=max_memory) if long else model.backbone(read)
    found = predicted(model, hidden.flatten(0, 1), targets, stream=long)
    return -found.log_probabilities.view(len(ids), -1), int(found.right.sum())


def byte_length(tokens: TokenArray, tokenizer: Tokenizer) -> int:
    """Bytes of text that tokens 1 .. stand for, counted a million tokens at a time.

    A piece is decoded behind the last tokens of the one before it, and their bytes are taken off again: so a character cut by
    the border, or a space that a decoder drops at the start of a text, is counted as in the whole. Exact for every tokenizer
    whose decoder looks no further than 16 tokens.
    """
    size = 0
    for start in range(1, len(tokens), _CHUNK):
        before = max(1, start - _OVERLAP)
        size += tokenizer.byte_length(tokens[before : start + _CHUNK])
        if before < start:
            size -= tokenizer.byte_length(tokens[before:start])
    return size


class _Sums:
    """What is added up over windows of up to `length` positions, in float64."""

    def __init__(self, length: int):
        self.correct = 0
        self.nats, self.counts = np.zeros(length), np.zeros(length, np.int64)
        self.edges = np.unique(np.geomspace(1, length + 1, _BINS + 1).round().astype(np.int64)) - 1
        self.moments = np.zeros((4, len(self.edges) - 1))

    def add(self, nats: np.ndarray, correct: int) -> None:
        """A batch of windows (b, l), l up to the length, and how many tokens were guessed right."""
        windows, length = nats.shape
        self.correct += correct
        self.nats[:length] += nats.sum(0)
        self.counts[:length] += windows
        reached = int(np.searchsorted(self.edges[:-1], length))
        sizes = np.minimum(self.edges[1 : reached + 1], length) - self.edges[:reached]
        S = np.add.reduceat(nats, self.edges[:reached], axis=1)
        terms = np.full(reached, windows), (S**2).sum(0), S.sum(0) * sizes, windows * sizes**2
        self.moments[:, :reached] += np.stack(terms)

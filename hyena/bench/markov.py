"""The Markov baseline: what a table of counts predicts, the figure that a trained model has to beat.

Order k predicts a token from the k tokens before it. With n counting in the training part, c the context, x the token and A
the symbols that occur in the data:

    smoothed    p_k(x | c) = (n(c x) + a) / (n(c) + a A)                      a = 1: Laplace's rule
    mixture     q_k(x | c) = (n(c x) + s q_(k-1)(x | c')) / (n(c) + s)        c' = c without its oldest token, q_(-1) = 1 / A

The mixture backs off: each order's estimate is the prior of the next, a Dirichlet prior worth s observations (MacKay and Peto,
"A hierarchical Dirichlet language model", 1995). For each order s is the power of two that predicts the last tenth of the
training part best from the tokens before it; the held-out part is never looked at.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hyena.data import Corpus
from hyena.errors import HyenaError

CONCENTRATIONS = tuple(2.0**i for i in range(-1, 11))
"""Values of s that are tried."""
_TABLE = 2**27
"""Cells of a table that numbers what occurs (one byte and four each); past it the numbering sorts."""


@dataclass(frozen=True)
class Order:
    """What one order comes to on the held-out part; bits are nats / ln 2."""

    order: int
    """k: tokens of context."""
    contexts: int
    """Different contexts in the training part."""
    nats_per_token: float
    """Mean of -ln p_k."""
    bits_per_token: float
    """The same in bits."""
    mix_nats_per_token: float | None = None
    """Mean of -ln q_k, the mixture of orders 0 .. k; None where it was not asked for."""
    mix_bits_per_token: float | None = None
    """The same in bits."""
    concentration: float | None = None
    """s of the mixture."""


@dataclass(frozen=True)
class Baseline:
    """Markov models of a corpus."""

    trained_tokens: int
    """Tokens counted."""
    tokens: int
    """Predicted tokens: the held-out part but its first, as `hyena evaluate` predicts it."""
    symbols: int
    """A: the different tokens that occur in the data."""
    smoothing: float
    """a."""
    orders: tuple[Order, ...]
    """In the order asked for."""


def markov(
    corpus: Corpus,
    orders: Sequence[int],
    valid_fraction: float = 0.1,
    smoothing: float = 1.0,
    mix: bool = False,
    report: Callable[[int, int], None] | None = None,
) -> Baseline:
    """Count the training part of `corpus.split(valid_fraction)`, predict the held-out part with each order.

    A context may reach back into the training part, so every held-out token but the first is predicted, whatever the order.
    Memory: a few numbers a token, whatever the order. report(done, total) is called after each order counted.
    Raises `HyenaError` for orders and fractions that cannot be.
    """
    training, held_out = corpus.split(valid_fraction)
    border, stop = len(training), len(corpus)
    _check(orders, smoothing, border)
    alphabet, x = np.unique(corpus.tokens[:], return_inverse=True)
    x = x.astype(np.int32)
    inner = border - max(1, border // 10)  # the mixture's s is chosen on what follows this place
    tuned = np.full((len(CONCENTRATIONS), border - inner), 1 / len(alphabet)) if mix else None
    mixed = np.full((len(CONCENTRATIONS), len(held_out) - 1), 1 / len(alphabet)) if mix else None
    found: dict[int, Order] = {}
    for k, context, gram in grams(x, len(alphabet), max(orders)):
        before, both = _counts(context, gram, k, border, border + 1, stop)
        if tuned is not None and mixed is not None:
            _back_off(mixed, before, both)
            _back_off(tuned, *_counts(context, gram, k, inner, inner, border))
        if k in orders:
            contexts = int(np.count_nonzero(np.bincount(context[: border - k])))
            nats = -float(np.log((both + smoothing) / (before + smoothing * len(alphabet))).mean())
            found[k] = Order(k, contexts, nats, nats / math.log(2), *_best(tuned, mixed))
        if report is not None:
            report(k + 1, max(orders) + 1)
    return Baseline(border, len(held_out) - 1, len(alphabet), smoothing, tuple(found[k] for k in orders))


def grams(x: np.ndarray, symbols: int, order: int) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """For k = 0 .. order: (k, the number of the context, the number of context and token) of every token k .. L - 1.

    x: tokens (L,) as 0 .. symbols - 1. Numbers run from 0 over what occurs: a context with its token is, one token later, a
    context of the next order, so each order costs one numbering and no number exceeds L.
    """
    ids = np.zeros(len(x) + 1, np.int32)  # of the context of length 0, before every token and after the last
    for k in range(order + 1):
        context = ids[:-1]
        ids = number(context.astype(np.int64) * symbols + x[k:])
        yield k, context, ids


def number(codes: np.ndarray) -> np.ndarray:
    """Codes (L,) >= 0 as int32 0, 1, .. in the codes' order, equal ones alike: by a table of what occurs where it fits."""
    cells = int(codes.max()) + 1
    if cells > _TABLE:
        return np.unique(codes, return_inverse=True)[1].astype(np.int32)
    occurs = np.zeros(cells, bool)
    occurs[codes] = True
    return (np.cumsum(occurs, dtype=np.int32) - 1)[codes]


def _counts(
    context: np.ndarray, gram: np.ndarray, k: int, trained: int, start: int, stop: int
) -> tuple[np.ndarray, np.ndarray]:
    """n(c) and n(c x) among the tokens before `trained`, for each of the tokens start .. stop - 1, as float64.

    The arrays begin at token k, so tokens before k are neither counted nor, where start < k, predicted by more than 0.
    """
    skipped = max(0, k - start)
    found = []
    for ids in (context, gram):
        counted = np.bincount(ids[: max(0, trained - k)], minlength=int(ids.max()) + 1)
        found.append(np.concatenate([np.zeros(min(skipped, stop - start)), counted[ids[max(0, start - k) : stop - k]]]))
    return found[0], found[1]


def _back_off(q: np.ndarray, before: np.ndarray, both: np.ndarray) -> None:
    """q_(k-1) to q_k, in place; q (concentrations, tokens)."""
    for row, s in zip(q, CONCENTRATIONS, strict=True):
        row *= s
        row += both
        row /= before + s


def _best(tuned: np.ndarray | None, mixed: np.ndarray | None) -> tuple[float | None, float | None, float | None]:
    """Nats and bits of the mixture with the concentration that suits the end of the training part best, and that."""
    if tuned is None or mixed is None:
        return None, None, None
    best = int(np.argmax([np.log(row).mean() for row in tuned]))
    nats = -float(np.log(mixed[best]).mean())
    return nats, nats / math.log(2), CONCENTRATIONS[best]


def _check(orders: Sequence[int], smoothing: float, border: int) -> None:
    """Orders that can be counted, a smoothing that leaves no token without probability."""
    if not orders:
        raise HyenaError("no order given; name at least one, such as 5")
    for k in orders:
        if not 0 <= k < border:
            raise HyenaError(f"order {k} cannot be counted in {border} training tokens; use 0 .. {border - 1}")
    if not 0 < smoothing < math.inf:
        raise HyenaError(f"smoothing is {smoothing}; use a number above 0, such as 1")

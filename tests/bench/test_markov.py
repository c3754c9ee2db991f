"""The Markov baseline against counting one window at a time, and on a source whose entropy is known."""

import math
from collections import Counter

import numpy as np
import pytest

from hyena.bench import markov as module
from hyena.bench.markov import CONCENTRATIONS, Baseline, grams, markov, number
from hyena.data import ByteTokenizer, Corpus
from tests.helpers import refused

TEXT = b"abracadabra, the quick brown fox abracadabra and the lazy dog; abracadabra"


def corpus(tokens: bytes | np.ndarray) -> Corpus:
    """A corpus of bytes."""
    return Corpus(np.frombuffer(tokens, np.uint8) if isinstance(tokens, bytes) else tokens, ByteTokenizer(), "here")


def counted(text: bytes, order: int, trained: int) -> tuple[Counter[bytes], Counter[bytes]]:
    """How often each context, and each context with its token, occurs among the tokens before `trained`."""
    both = Counter(text[t - order : t + 1] for t in range(order, trained))
    before = Counter(text[t - order : t] for t in range(order, trained))
    return before, both


def smoothed(text: bytes, order: int, border: int, a: float) -> float:
    """Nats of the held-out part but its first token, written out."""
    (before, both), A = counted(text, order, border), len(set(text))
    p = [(both[text[t - order : t + 1]] + a) / (before[text[t - order : t]] + a * A) for t in range(border + 1, len(text))]
    return -sum(map(math.log, p)) / len(p)


def mixed(text: bytes, order: int, trained: int, places: range, s: float) -> float:
    """The same for the mixture; a context that would begin before the text leaves the estimate as it is."""
    total = 0.0
    for t in places:
        q = 1 / len(set(text))
        for k in range(min(order, t) + 1):
            before, both = counted(text, k, trained)
            q = (both[text[t - k : t + 1]] + s * q) / (before[text[t - k : t]] + s)
        total -= math.log(q)
    return total / len(places)


@pytest.mark.parametrize("smoothing", [1.0, 0.1])
@pytest.mark.parametrize("fraction", [0.1, 0.3])
def test_it_is_counting(fraction: float, smoothing: float):
    found = markov(corpus(TEXT), range(7), fraction, smoothing)
    border = len(TEXT) - round(len(TEXT) * fraction)
    assert (found.trained_tokens, found.tokens) == (border, len(TEXT) - border - 1)
    assert (found.symbols, found.smoothing) == (len(set(TEXT)), smoothing)
    for k, row in enumerate(found.orders):
        assert (row.order, row.contexts) == (k, len(counted(TEXT, k, border)[0]))
        assert row.nats_per_token == pytest.approx(smoothed(TEXT, k, border, smoothing), abs=1e-12)
        assert row.bits_per_token == pytest.approx(row.nats_per_token / math.log(2), abs=1e-12)
        assert row.mix_nats_per_token is row.mix_bits_per_token is row.concentration is None


def test_the_mixture_is_backing_off_with_the_concentration_that_suits_the_end_of_the_training_part():
    found = markov(corpus(TEXT), [0, 2, 5], 0.2, mix=True)
    border = found.trained_tokens
    inner = border - border // 10
    for row in found.orders:
        suits = [mixed(TEXT, row.order, inner, range(inner, border), s) for s in CONCENTRATIONS]
        assert row.concentration == CONCENTRATIONS[int(np.argmin(suits))]
        expected = mixed(TEXT, row.order, border, range(border + 1, len(TEXT)), row.concentration)
        assert row.mix_nats_per_token == pytest.approx(expected, abs=1e-12)
        assert row.mix_bits_per_token == pytest.approx(expected / math.log(2), abs=1e-12)


def test_orders_longer_than_where_the_concentration_is_chosen():
    """The first tokens of that part have no context of the order: they keep the estimate of the order below."""
    found = markov(corpus(TEXT), [64], 0.1, mix=True)
    border = found.trained_tokens
    assert border - border // 10 <= 64 < border
    (row,) = found.orders
    expected = mixed(TEXT, 64, border, range(border + 1, len(TEXT)), row.concentration)
    assert row.mix_nats_per_token == pytest.approx(expected, abs=1e-12)


def test_a_source_of_known_entropy():
    """Of two symbols the next repeats the last with 0.9, else it changes: ln 2 at order 0, H(0.9) nats at order 1."""
    flips = np.random.default_rng(0).random(200_000) < 0.1
    source = (np.cumsum(flips) % 2).astype(np.uint8)
    entropy = -0.9 * math.log(0.9) - 0.1 * math.log(0.1)
    zero, one, three = markov(corpus(source), [0, 1, 3], mix=True).orders
    # The standard deviation of -ln p is 0.66 nats; over 20,000 tokens 0.005.
    assert zero.nats_per_token == pytest.approx(math.log(2), abs=0.01)
    assert one.nats_per_token == pytest.approx(entropy, abs=0.015)
    assert three.mix_nats_per_token == pytest.approx(one.nats_per_token, abs=0.001)


def test_symbols_that_only_the_held_out_part_has_are_improbable_and_not_impossible():
    found = markov(corpus(b"ab" * 20 + b"abc!"), [0, 2], 0.1, mix=True)
    assert found.symbols == 4
    assert all(0 < row.nats_per_token < math.inf and 0 < row.mix_nats_per_token < math.inf for row in found.orders)


def test_the_order_of_the_orders_and_progress():
    seen: list[tuple[int, int]] = []
    found = markov(corpus(TEXT), [3, 0], report=lambda done, total: seen.append((done, total)))
    assert [row.order for row in found.orders] == [3, 0]
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert isinstance(found, Baseline)


def test_numbers_of_contexts():
    x = np.array([0, 1, 0, 1, 1, 0, 1])
    for k, context, gram in grams(x, 2, 3):
        assert len(context) == len(gram) == len(x) - k
        for ids, size in ((context, k), (gram, k + 1)):
            words = [tuple(x[t : t + size]) for t in range(len(x) - k)]
            assert len(set(zip(words, ids.tolist(), strict=True))) == len(set(words)) == len(set(ids.tolist()))


def test_numbering_by_table_and_by_sorting_is_the_same(monkeypatch: pytest.MonkeyPatch):
    codes = np.random.default_rng(0).integers(0, 1000, 300)
    by_table = number(codes)
    monkeypatch.setattr(module, "_TABLE", 10)
    assert (number(codes) == by_table).all()
    assert by_table.dtype == np.int32
    assert by_table.max() + 1 == len(np.unique(codes))


def test_what_cannot_be_counted_is_refused():
    with refused("no order given", "such as 5"):
        markov(corpus(TEXT), [])
    with refused("order -1", "0 .. "):
        markov(corpus(TEXT), [-1])
    with refused(f"order {len(TEXT)}", "training tokens"):
        markov(corpus(TEXT), [len(TEXT)])
    with refused("smoothing is 0", "above 0"):
        markov(corpus(TEXT), [1], smoothing=0)
    with refused("fraction", "1.5", "0.1"):
        markov(corpus(TEXT), [1], 1.5)

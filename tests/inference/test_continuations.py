"""Continuations against the plain forward, whatever the batch."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from hyena.inference import continuations, generate, score
from tests import tolerances
from tests.helpers import refused
from tests.models.small import classifier, language_model


def row(L: int) -> Tensor:
    """Ids (L,)."""
    return torch.randint(0, 10, (L,))


@pytest.mark.parametrize("pattern", ["HAW", "RSL"])
def test_it_is_the_sum_of_log_probabilities_of_a_full_forward(pattern: str):
    m = language_model(pattern, vocab_multiple=8)
    pairs = [(row(C), row(K)) for C, K in ((5, 3), (1, 1), (30, 30), (17, 2), (1, 40), (5, 3))]
    found = continuations(m, *zip(*pairs, strict=True))
    for (context, following), each in zip(pairs, found, strict=True):
        ids = torch.cat([context, following])
        with torch.no_grad():
            logits = m(ids[None])[0, len(context) - 1 : -1].log_softmax(-1)
        wanted = logits.gather(1, following[:, None])[:, 0]
        assert_close(each.per_token, wanted, **tolerances.FLOAT64)
        assert each.total == pytest.approx(float(wanted.sum()), abs=1e-11)
        assert each.greedy == bool((logits.argmax(-1) == following).all())


def test_it_is_what_score_says():
    m, context, following = language_model(), row(1), row(20)
    (found,), (whole,) = continuations(m, [context], [following]), score(m, [torch.cat([context, following])])
    assert_close(found.per_token, whole.per_token, **tolerances.FLOAT64)


def test_what_the_model_writes_is_greedy_and_nothing_else():
    m, prompt = language_model("RA"), row(6)
    written = generate(m, prompt[None], 8, temperature=0.0)[0, 6:]
    other = written.clone()
    other[-1] = (other[-1] + 1) % 10
    first, second = continuations(m, [prompt, prompt], [written, other])
    assert (first.greedy, second.greedy) == (True, False)
    assert first.total > second.total


def test_an_empty_continuation_is_certain():
    (found, more) = continuations(language_model(), [row(3), row(2)], [row(0), row(4)])
    assert (found.total, found.greedy, len(found.per_token)) == (0.0, True, 0)
    assert len(more.per_token) == 4
    assert continuations(language_model(), [], []) == []


def test_what_cannot_be_read_is_refused():
    m = language_model()
    with refused("context 1 is empty"):
        continuations(m, [row(3), row(0)], [row(3), row(3)])
    with refused("sequence 1", "65 tokens", "max_length", "64"):
        continuations(m, [row(3), row(33)], [row(3), row(33)])
    assert len(continuations(m, [row(32)], [row(33)])) == 1, "the last token is never read"
    with refused("Classifier"):
        continuations(classifier("H"), [row(3)], [row(3)])
    with refused("--max-memory"):
        continuations(m, [row(30)], [row(30)], max_memory=1000)


def test_progress_ends_at_the_total():
    seen: list[tuple[int, int]] = []
    m = language_model()
    continuations(m, [row(10), row(40)], [row(4), row(4)], progress=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1] == (56, 56)

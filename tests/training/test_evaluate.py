"""Validation against the same sum written out token by token; bits per byte for each tokenizer."""

import math

import numpy as np
import pytest
import torch

from hyena.data import ByteTokenizer, DNATokenizer
from hyena.models import LanguageModel
from hyena.training import evaluate
from tests.helpers import refused
from tests.tolerances import FLOAT32, FLOAT64
from tests.training.runs import MODEL, SMALL

BYTES, DNA = ByteTokenizer(), DNATokenizer()


def loud_model(**changes: object) -> LanguageModel:
    """A tiny model whose predictions are far from uniform."""
    return LanguageModel(MODEL.replace(init_std=0.4, **changes)).eval()


def letters(count: int) -> np.ndarray:
    """Random bytes."""
    return np.random.default_rng(0).integers(0, 256, count).astype(np.uint8)


@torch.no_grad()
def written_out(model: LanguageModel, tokens: np.ndarray, length: int) -> float:
    """Nats of tokens 1 .., each predicted alone from its window's tokens before it, in float64."""
    total = 0.0
    for t in range(1, len(tokens)):
        start = (t - 1) // length * length
        before = torch.tensor(tokens[start:t].astype(np.int64))[None]
        scores = model(before)[0, -1].double().numpy()
        highest = scores.max()
        total += highest + math.log(np.exp(scores - highest).sum()) - scores[tokens[t]]
    return total


@pytest.mark.parametrize(("count", "length", "batch_size"), [(2, 32, 16), (33, 32, 1), (34, 32, 16), (50, 7, 3), (41, 8, 2)])
def test_it_is_the_sum_over_every_token_but_the_first(count: int, length: int, batch_size: int):
    model, tokens = loud_model().double(), letters(count)
    result = evaluate(model, tokens, BYTES, length, batch_size)
    expected = written_out(model, tokens, length)
    assert result.tokens == count - 1
    assert result.nats_per_token == pytest.approx(expected / (count - 1), abs=FLOAT64["atol"])
    assert result.perplexity == pytest.approx(math.exp(result.nats_per_token))
    assert result.bits_per_byte == pytest.approx(result.nats_per_token / math.log(2))


def test_float32_models_agree_to_rounding():
    model, tokens = loud_model(), letters(50)
    result = evaluate(model, tokens, BYTES)
    assert result.nats_per_token == pytest.approx(written_out(model, tokens, 32) / 49, abs=FLOAT32["atol"])


def test_the_window_is_max_length_where_none_is_given():
    model, tokens = loud_model(), letters(80)
    assert evaluate(model, tokens, BYTES) == evaluate(model, tokens, BYTES, length=32)
    assert evaluate(model, tokens, BYTES) != evaluate(model, tokens, BYTES, length=16)


def test_a_model_that_knows_nothing_costs_the_logarithm_of_its_rows():
    model = LanguageModel(MODEL.replace(vocab_size=12, vocab_multiple=8, tokenizer="dna"))
    model.backbone.embedding.weight.data.zero_()
    result = evaluate(model, np.array([7, 8, 9, 10] * 20), DNA)
    assert result.nats_per_token == pytest.approx(math.log(16))
    assert result.perplexity == pytest.approx(16)
    assert result.bits_per_byte == pytest.approx(4)


def test_bits_per_base_leave_out_what_is_no_base():
    model = loud_model(vocab_size=12, tokenizer="dna")
    tokens = np.array([7, 1, 8, 1, 9, 10])
    result = evaluate(model, tokens, DNA)
    assert result.tokens == 5
    assert result.bits_per_byte == pytest.approx(5 * result.nats_per_token / math.log(2) / 3)


def test_bits_per_byte_count_the_bytes_behind_longer_tokens():
    class Pairs(ByteTokenizer):
        """A vocabulary whose ids from 128 on stand for two bytes."""

        def byte_length(self, ids: np.ndarray) -> int:
            return int((1 + (np.asarray(ids) >= 128)).sum())

    model, tokens = loud_model(), np.array([200, 200, 5, 200], np.uint8)
    result = evaluate(model, tokens, Pairs())
    # The first token is not predicted, so its bytes do not count.
    assert result.bits_per_byte == pytest.approx(3 * result.nats_per_token / math.log(2) / 5)


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_as_it_was(training: bool):
    model = loud_model(dropout=0.5, embed_dropout=0.5).train(training)
    tokens = letters(40)
    one, two = evaluate(model, tokens, BYTES), evaluate(model, tokens, BYTES)
    assert one == two, "dropout was on"
    assert model.training is training
    assert all(parameter.grad is None for parameter in model.parameters())
    with refused("id 300"):
        evaluate(model, np.array([1, 300, 2]), BYTES)
    assert model.training is training


def test_progress_ends_at_the_total():
    seen: list[tuple[int, int]] = []
    evaluate(loud_model(), letters(100), BYTES, 16, 2, report=lambda done, total: seen.append((done, total)))
    assert seen == [(32, 99), (64, 99), (96, 99), (99, 99)]


def test_a_hopeless_model_has_infinite_perplexity():
    model = loud_model(tied=False)
    assert model.lm_head is not None
    model.lm_head.weight.data *= 1e4
    result = evaluate(model, letters(20), BYTES)
    assert 700 < result.nats_per_token < math.inf
    assert result.perplexity == math.inf


def test_what_cannot_be_evaluated_is_refused():
    model = loud_model()
    with refused("1 tokens are too few"):
        evaluate(model, letters(1), BYTES)
    with refused("batch_size is 0"):
        evaluate(model, letters(50), BYTES, batch_size=0)
    with refused("33 tokens", "max_length 32", "truncate"):
        evaluate(model, letters(50), BYTES, length=33)


def test_a_length_of_zero_is_no_length():
    with refused("length is 0"):
        evaluate(loud_model(), letters(50), BYTES, length=0)


def test_the_window_may_be_longer_than_the_grid_where_the_model_says_so():
    model, tokens = loud_model(beyond="truncate", mixers=SMALL).double(), letters(60)
    expected = written_out(model, tokens, 50)
    assert evaluate(model, tokens, BYTES, length=50).nats_per_token == pytest.approx(expected / 59, abs=FLOAT64["atol"])

"""Validation against the same sum written out token by token; bits per byte for each tokenizer."""

import json
import math
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch

from hyena.data import ByteTokenizer, DNATokenizer, FileTokenizer
from hyena.models import LanguageModel
from hyena.training import evaluate, evaluate_positions
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


@torch.no_grad()
def losses(model: LanguageModel, tokens: np.ndarray, length: int) -> list[np.ndarray]:
    """Nats of every token, window by window."""
    found = []
    for start in range(0, len(tokens) - 1, length):
        window = torch.tensor(tokens[start : start + length + 1].astype(np.int64))
        scores = model(window[None, :-1])[0].double().log_softmax(-1)
        found.append(-scores[torch.arange(len(window) - 1), window[1:]].numpy())
    return found


@pytest.mark.parametrize(("count", "length", "batch_size"), [(2, 32, 16), (60, 32, 16), (101, 20, 3), (95, 20, 2), (9, 1, 4)])
def test_the_loss_at_each_position(count: int, length: int, batch_size: int):
    model, tokens = loud_model().double(), letters(count)
    result, positions = evaluate_positions(model, tokens, BYTES, length, batch_size)
    windows = losses(model, tokens, length)
    assert positions.windows == len(windows)
    assert len(positions.nats) == len(positions.counts) == len(windows[0])
    for p, (nats, n) in enumerate(zip(positions.nats, positions.counts, strict=True)):
        at = [window[p] for window in windows if len(window) > p]
        assert n == len(at)
        assert nats == pytest.approx(np.mean(at), abs=FLOAT64["atol"])
    assert positions.mean == pytest.approx(result.nats_per_token, abs=FLOAT64["atol"])
    assert result == evaluate(model, tokens, BYTES, length, batch_size)


@pytest.mark.parametrize("count", [161, 150])
def test_bins_are_means_with_the_error_of_independent_windows(count: int):
    model, tokens = loud_model().double(), letters(count)
    _, positions = evaluate_positions(model, tokens, BYTES, 32, 2)
    windows, bins = losses(model, tokens, 32), positions.bins()
    assert [b.first for b in bins] == [0, *(b.last + 1 for b in bins[:-1])]
    assert bins[-1].last == 31
    for b in bins:
        parts = [window[b.first : b.last + 1] for window in windows if len(window) > b.first]
        mean = np.concatenate(parts).mean()
        residuals = [part.sum() - mean * len(part) for part in parts]
        error = math.sqrt(len(parts) / (len(parts) - 1) * np.square(residuals).sum()) / sum(map(len, parts))
        assert b.nats == pytest.approx(mean, abs=FLOAT64["atol"])
        assert b.standard_error == pytest.approx(error, rel=1e-6)


def test_a_single_window_has_no_standard_error_and_json_says_null():
    _, positions = evaluate_positions(loud_model(), letters(20), BYTES)
    assert all(math.isnan(b.standard_error) for b in positions.bins())
    values = json.loads(json.dumps(positions.to_dict(), allow_nan=False))
    assert list(values) == ["windows", "bins", "nats", "counts"]
    assert values["bins"][0]["standard_error"] is None
    assert values["counts"] == [1] * 19


def test_long_windows_have_few_bins():
    _, positions = evaluate_positions(loud_model(beyond="truncate"), letters(4000), BYTES, 1000, 1)
    assert 20 < len(positions.bins()) <= 48
    assert (np.diff(positions.edges) > 0).all()


@torch.no_grad()
def test_accuracy_is_the_share_of_right_guesses():
    model, tokens = loud_model(), letters(60)
    with_copies = np.concatenate([[5], *[[t, t] for t in tokens]])
    guesses = [
        int(model(torch.tensor(with_copies[start:t][None]))[0, -1].argmax())
        for t in range(1, len(with_copies))
        for start in [(t - 1) // 32 * 32]
    ]
    right = float(np.mean(np.array(guesses) == with_copies[1:]))
    assert evaluate(model, with_copies, BYTES).accuracy == pytest.approx(right, abs=1e-12)
    assert 0 < right < 1


class Sliced:
    """A sequence that has a length and slices, as a corpus on disk may be, and nothing else."""

    def __init__(self, tokens: np.ndarray):
        self._tokens = tokens

    def __len__(self) -> int:
        return len(self._tokens)

    def __getitem__(self, places: slice) -> np.ndarray:
        assert isinstance(places, slice)
        assert places.step is None
        return self._tokens[places]


@pytest.mark.parametrize("chunk", [1, 3, 7, 1000])
def test_bytes_are_counted_in_pieces(chunk: int, monkeypatch: pytest.MonkeyPatch):
    module = import_module("hyena.training.evaluate")
    monkeypatch.setattr(module, "_CHUNK", chunk)
    assert module.byte_length(Sliced(letters(50)), BYTES) == 49
    assert module.byte_length(Sliced(np.array([7, 1, 8, 1, 9, 10])), DNA) == 3
    assert module.byte_length(letters(1), BYTES) == 0


@pytest.mark.parametrize("chunk", [1, 2, 3, 5, 8, 21, 10**6])
def test_characters_cut_by_a_border_are_counted_once(chunk: int, bpe_file: Path, monkeypatch: pytest.MonkeyPatch):
    module = import_module("hyena.training.evaluate")
    monkeypatch.setattr(module, "_CHUNK", chunk)
    tokenizer = FileTokenizer(str(bpe_file))
    tokens = tokenizer.encode(3 * "the café, 日本語 and 🦎🦎🦎 naïve 𝔘𝔫𝔦 brown fox ")
    assert len(tokens) > 100
    assert module.byte_length(Sliced(tokens), tokenizer) == tokenizer.byte_length(tokens[1:])


@pytest.mark.parametrize("memory", [None, 2**24])
def test_long_windows_are_worked_layer_by_layer_to_the_same_numbers(memory: int | None, monkeypatch: pytest.MonkeyPatch):
    module = import_module("hyena.training.evaluate")
    model, tokens = loud_model().double(), letters(200)
    wanted, _ = evaluate_positions(model, tokens, BYTES, 30, 4)
    monkeypatch.setattr(module, "_LONG", 1)
    found, _ = evaluate_positions(model, tokens, BYTES, 30, 4, max_memory=memory)
    assert found.nats_per_token == pytest.approx(wanted.nats_per_token, abs=FLOAT64["atol"])
    assert (found.accuracy, found.tokens) == (wanted.accuracy, wanted.tokens)
    with refused("--max-memory"):
        evaluate(model, tokens, BYTES, 30, 4, max_memory=100)

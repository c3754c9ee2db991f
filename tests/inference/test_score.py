"""Scores and embeddings against the plain forward, whatever the batch."""

import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from hyena.configs.mixers import HyenaConfig, ImplicitFilterConfig, Mixers
from hyena.inference import embed, score, sequences
from hyena.models import trace
from tests import tolerances
from tests.helpers import refused
from tests.models.small import classifier, language_model

MIXERS = Mixers(H=HyenaConfig(filter=ImplicitFilterConfig(features=5, width=8)))


def model(**options: object) -> torch.nn.Module:
    """Two layers of Hyena over 10 symbols in 16 rows, float64."""
    return language_model("HH", mixers=MIXERS, vocab_multiple=8, **options)


def row(L: int) -> Tensor:
    """Ids (L,)."""
    return torch.randint(0, 10, (L,))


@torch.no_grad()
def written_out(m: torch.nn.Module, ids: Tensor) -> Tensor:
    """log p of tokens 1 .. by the plain forward."""
    logits = m(ids[None])[0].log_softmax(-1)
    return logits[:-1].gather(1, ids[1:, None])[:, 0]


def test_it_is_the_sum_of_log_probabilities():
    m, ids = model(), row(30)
    (found,) = score(m, [ids])
    wanted = written_out(m, ids)
    assert_close(found.per_token, wanted, **tolerances.FLOAT64)
    assert found.total == pytest.approx(float(wanted.sum()), abs=1e-11)
    assert (found.count, found.mean) == (29, found.total / 29)
    assert isinstance(found.total, float)


@torch.no_grad()
def test_a_head_with_more_rows_than_bytes_is_scored_over_all_of_them():
    m = language_model("HH", mixers=MIXERS, vocab_size=256, vocab_multiple=512, tokenizer="bytes")
    text = "ACGTTGCA"
    ids = torch.tensor(list(text.encode()))
    padding = torch.tensor([65, 300, 511])  # ids that no text has, and the rows still
    logits = m(ids[None])
    assert logits.shape[2] == 512
    assert not torch.allclose(logits.log_softmax(-1)[..., :256], logits[..., :256].log_softmax(-1))
    same, found, padded = score(m, [text])[0], score(m, [ids])[0], score(m, [padding], bos=0)[0]
    assert torch.equal(same.per_token, found.per_token)
    assert_close(found.per_token, written_out(m, ids), **tolerances.FLOAT64)
    assert_close(padded.per_token, written_out(m, torch.cat([torch.tensor([0]), padding])), **tolerances.FLOAT64)
    with refused("id 512", "0 .. 511"):
        score(m, [torch.tensor([65, 512])])


def test_short_sequences_have_no_score():
    nothing, one, two = score(model(), [row(0), row(1), row(2)])
    for empty in (nothing, one):
        assert (empty.total, empty.count, len(empty.per_token)) == (0.0, 0, 0)
        assert math.isnan(empty.mean)
    assert two.count == 1
    assert score(model(), []) == []


def test_a_bos_is_read_and_scores_the_first_token():
    m, ids = model(), row(12)
    nothing, one, found = score(m, [row(0), ids[:1], ids], bos=3)
    assert (nothing.count, one.count, found.count) == (0, 1, 12)
    assert_close(found.per_token, written_out(m, torch.cat([torch.tensor([3]), ids])), **tolerances.FLOAT64)
    assert score(m, [ids])[0].count == 11, "none unless asked"
    with refused("bos is 16", "0 to 15"):
        score(m, [ids], bos=16)


def test_a_score_does_not_depend_on_the_batch():
    m = model()
    rows = [row(L) for L in (5, 64, 1, 33, 32, 0, 7, 64)]
    together = score(m, rows)
    for ids, found in zip(rows, together, strict=True):
        assert_close(found.per_token, score(m, [ids])[0].per_token, **tolerances.FLOAT64)


def test_one_tensor_is_a_batch_of_rows():
    m, ids = model(), torch.stack([row(20), row(20)])
    for found, wanted in zip(score(m, ids), score(m, list(ids)), strict=True):
        assert torch.equal(found.per_token, wanted.per_token)


def test_the_softmax_runs_over_all_rows():
    m = model()
    m.backbone.embedding.weight.data.zero_()
    assert score(m, [row(9)])[0].mean == pytest.approx(-math.log(16))


def test_strings_are_read_by_the_models_tokenizer():
    m = language_model("HH", mixers=MIXERS, vocab_size=12, tokenizer="dna")
    (text,), (ids,) = score(m, ["ACGTN"]), score(m, [torch.tensor([7, 8, 9, 10, 11])])
    assert text.total == ids.total
    plain = language_model("HH", mixers=MIXERS, vocab_size=256)
    assert score(plain, ["héllo"])[0].count == 5
    with refused("names no tokenizer", "10 symbols", "dna"):
        score(model(), ["ACGT"])
    with refused("sequence 1", "'X' at position 2"):
        score(m, ["ACGT", "ACX"])
    with refused("one string", "list"):
        score(m, "ACGT")


def test_the_model_is_left_as_it_was():
    m = language_model("HH", mixers=MIXERS, dropout=0.5).train()
    ids = row(20)
    assert score(m, [ids])[0].total == score(m, [ids])[0].total
    assert m.training
    assert all(parameter.grad is None for parameter in m.parameters())


def test_what_is_no_sequence_is_refused():
    m = model()
    for bad, message in ((torch.zeros(3), "float32"), (torch.zeros(2, 2).long(), "(2, 2)"), ([1, 2], "list")):
        with refused("sequence 0", message):
            score(m, [bad])
    with refused("(3,)", "(B, L)"):
        score(m, row(3))
    with refused("sequence 1", "id 16"):
        score(m, [row(3), torch.tensor([16])])
    with refused("sequence 0", "65", "max_length", "64"):
        score(m, [row(66)])
    with refused("Classifier"):
        score(classifier("H"), [row(3)])
    with refused("--max-memory"):
        score(m, [row(60)], max_memory=1000)


def test_the_last_token_is_never_read():
    assert score(model(), [row(65)])[0].count == 64


def test_progress_ends_at_the_total():
    seen: list[tuple[int, int]] = []
    score(model(), [row(10), row(60)], progress=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1] == (70, 70)
    assert len(seen) > 4


def test_batches_hold_rows_of_similar_length():
    rows = [row(L) for L in (3, 100, 60, 0, 40, 99, 2)]
    found = [(batch.places, tuple(batch.ids.shape)) for batch in sequences.batches(rows, 200)]
    assert found == [([1, 5], (2, 100)), ([2, 4], (2, 60)), ([0, 6], (2, 3))]


@pytest.mark.parametrize("pool", ["mean", "sum", "first", "last", None])
@pytest.mark.parametrize("layer", [None, 0, 1, -1, -2])
def test_embeddings(pool: str | None, layer: int | None):
    m, rows = model(), [row(12), row(1), row(64)]
    found = embed(m, rows, layer, pool)
    for ids, each in zip(rows, found, strict=True):
        record = trace(m, ids[None])
        hidden = record.hidden if layer is None else record.streams[1:][layer]
        assert hidden is not None
        wanted = {
            "mean": hidden[0].mean(0),
            "sum": hidden[0].sum(0),
            "first": hidden[0, 0],
            "last": hidden[0, -1],
            None: hidden[0],
        }
        assert_close(each, wanted[pool], **tolerances.FLOAT64)
    assert isinstance(found, list if pool is None else Tensor)


def test_embeddings_of_a_classifier_and_of_strings():
    assert embed(classifier("H", pool="last"), torch.randint(0, 10, (2, 9))).shape == (2, 16)
    m = language_model("HH", torch.float32, mixers=MIXERS, vocab_size=12, tokenizer="dna")
    assert embed(m, ["ACGT", "AC"]).dtype == torch.float32
    assert embed(m, []).shape == (0, 16)


def test_embeddings_that_do_not_exist_are_refused():
    m = model()
    with refused("layer is 2", "0 .. 1"):
        embed(m, [row(3)], layer=2)
    with refused("pool is 'max'", "mean"):
        embed(m, [row(3)], pool="max")
    with refused("sequence 1 is empty"):
        embed(m, [row(3), row(0)])

"""Layer by layer in bounded memory against the plain forward."""

import copy
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from hyena.configs.mixers import HyenaConfig, ImplicitFilterConfig, Mixers
from hyena.models import layerwise
from hyena.models.budget import plan_blocks, readable
from hyena.models.layerwise import normed, stream_of
from hyena.models.logprobs import predicted
from tests import tolerances
from tests.helpers import refused
from tests.models.small import HYBRIDS, STRIPED, ids, language_model

PLAIN = Mixers(H=HyenaConfig(filter=ImplicitFilterConfig(features=5, width=8)))
OPTIONS = {
    "defaults": {"mixers": PLAIN},
    "order 3": {},
    "gated": {"mixers": PLAIN, "mlp": "gated", "norm": "rms", "activation": "silu"},
    "exact gelu": {"mixers": PLAIN, "activation": "gelu", "tied": False},
    "positions": {"mixers": PLAIN, "position_rows": 64},
}


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize(("B", "L"), [(1, 1), (2, 20), (3, 64)])
@torch.no_grad()
def test_the_stream_is_the_backbones(name: str, B: int, L: int):
    model, tokens = language_model("HH", **OPTIONS[name]), ids(B, L)
    x = stream_of(model.backbone, tokens)
    assert_close(model.backbone.norm(x), model.backbone(tokens), **tolerances.FLOAT64)


@pytest.mark.parametrize("pattern", ["HAW", "WHA", "SMLA SMLD", "RHL"])
@pytest.mark.parametrize("rows", [1, 7, 1000])
@torch.no_grad()
def test_mixers_that_read_chunk_by_chunk(pattern: str, rows: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("hyena.models.budget._tokens", lambda _: rows)
    model, tokens = language_model(pattern), ids(2, 40)
    x = stream_of(model.backbone, tokens)
    assert_close(model.backbone.norm(x), model.backbone(tokens), **tolerances.FLOAT64)


@pytest.mark.parametrize("pattern", HYBRIDS)
@pytest.mark.parametrize("piece", [1, 9, 8192])
@torch.no_grad()
def test_hybrids_as_they_are_published(pattern: str, piece: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("hyena.models.budget.PIECES", (piece,))
    model, tokens = language_model(pattern, mixers=replace(STRIPED, H=PLAIN.H)), ids(2, 40)
    x = stream_of(model.backbone, tokens)
    assert_close(model.backbone.norm(x), model.backbone(tokens), **tolerances.FLOAT64)


@torch.no_grad()
def test_it_stops_after_the_layer_asked_for():
    model, tokens = language_model("HHH", mixers=PLAIN), ids()
    whole = stream_of(model.backbone, tokens, 2)
    for parameter in model.backbone.layers[2].parameters():
        parameter.fill_(torch.nan)
    assert torch.equal(stream_of(model.backbone, tokens, 2), whole)
    assert_close(stream_of(model.backbone, tokens, 0), model.backbone.embedding(tokens), **tolerances.FLOAT64)


@torch.no_grad()
def test_float32_and_half_precision():
    double, tokens = language_model("HH", mixers=PLAIN), ids()
    single = copy.deepcopy(double).float()
    half = copy.deepcopy(single).bfloat16()
    wanted = stream_of(double.backbone, tokens)
    found = stream_of(single.backbone, tokens)
    assert (found - wanted).norm() <= tolerances.FLOAT32_MODEL * wanted.norm()
    low = stream_of(half.backbone, tokens)
    assert low.dtype == torch.float32, "the residual stream stays in float32"
    assert (low - wanted).norm() <= tolerances.BFLOAT16_MODEL * wanted.norm()


def test_layers_are_reported():
    seen = []
    stream_of(language_model("HH", mixers=PLAIN).backbone, ids(), report=lambda done, total: seen.append((done, total)))
    assert seen == [(0, 2), (1, 2), (2, 2)]


def test_what_cannot_be_read_is_refused():
    model = language_model("H")
    with refused("65 tokens", "max_length 64"):
        stream_of(model.backbone, ids(1, 65))
    with refused("id 10"):
        stream_of(model.backbone, torch.full((1, 3), 10))


def test_memory_that_does_not_suffice_is_refused_with_the_number_that_does():
    model = language_model("H", width=64)
    with refused("a sequence of 50 tokens needs", "beyond the weights", "--max-memory", "100B"):
        stream_of(model.backbone, ids(1, 50), max_memory=100)
    lean = next(size for size in range(10**5, 10**7, 10**4) if _fits(model, size))
    tokens = ids(1, 50)
    assert plan_blocks(model.backbone, 1, 50, lean).total <= lean
    found = stream_of(model.backbone, tokens, max_memory=lean)
    assert_close(found, stream_of(model.backbone, tokens), **tolerances.FLOAT64)


def _fits(model: torch.nn.Module, size: int) -> bool:
    try:
        plan_blocks(model.backbone, 1, 50, size)
    except ValueError:
        return False
    return True


def test_less_memory_means_fewer_channels():
    model = language_model("H", width=64)
    total = plan_blocks(model.backbone, 1, 64).total
    assert plan_blocks(model.backbone, 1, 64).blocks.channels == 64
    assert plan_blocks(model.backbone, 1, 64, total - 1).blocks.channels < 64


def test_bytes_are_readable_and_never_rounded_down():
    assert [readable(n) for n in (5, 1024, 2**20 + 1, 2 * 2**30, 2792000000)] == ["5B", "1KiB", "1.01MiB", "2GiB", "2.61GiB"]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("chunk", [1, 100, 10**6])
@torch.no_grad()
def test_log_probabilities_of_the_targets(stream: bool, chunk: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("hyena.models.logprobs._CHUNK", chunk)
    model, tokens = language_model("H", vocab_multiple=8), ids(1, 40)[0]
    rows = torch.randn(40, 16, dtype=torch.float64)
    logits = model.logits((normed(model.backbone.norm, rows) if stream else rows)[None])[0]
    found = predicted(model, rows, tokens, stream)
    assert_close(found.log_probabilities, logits.log_softmax(-1)[torch.arange(40), tokens], **tolerances.FLOAT64)
    assert torch.equal(found.right, logits.argmax(-1) == tokens)


def test_pieces_cover_everything_once():
    assert [list(range(10))[some] for some in layerwise.pieces(10, 4)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert list(layerwise.pieces(0, 4)) == []

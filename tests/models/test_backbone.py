"""The backbone: embedding, stream and norm; its precision; what it refuses."""

import pytest
import torch
from torch.testing import assert_close

from hyena.models import trace
from hyena.models.backbone import Backbone
from tests import tolerances
from tests.helpers import refused, right_or_refused
from tests.models.small import ids, language_model, small


def test_it_is_embedding_blocks_and_norm():
    backbone, tokens = Backbone(small("HA", position_rows=30)).double().eval(), ids()
    x = backbone.embedding.weight[tokens] + backbone.positions.weight[:20]
    for block in backbone.blocks:
        x = block(x)
    assert_close(backbone(tokens), backbone.norm(x), **tolerances.FLOAT64)


def test_the_embedding_has_the_padded_rows():
    backbone = Backbone(small(vocab_size=10, vocab_multiple=8))
    assert backbone.embedding.weight.shape == (16, 16)
    assert backbone(torch.full((1, 3), 15)).shape == (1, 3, 16)


@pytest.mark.parametrize("wide", [True, False])
def test_the_stream_of_a_half_precision_model(wide: bool):
    model = language_model(dtype=torch.bfloat16, float32_residual=wide)
    record = trace(model, ids())
    assert {stream.dtype for stream in record.streams} == {torch.float32 if wide else torch.bfloat16}
    assert {x.dtype for x in record.mixer_inputs + record.mixer_outputs} == {torch.bfloat16}
    assert record.hidden.dtype == record.output.dtype == torch.bfloat16


def test_a_float32_stream_loses_less():
    exact, tokens = language_model(12 * "H", torch.float32), ids(4, 60)
    errors = []
    for wide in (True, False):
        half = language_model(12 * "H", torch.float32, float32_residual=wide)
        half.load_state_dict(exact.state_dict())
        streams = [trace(model, tokens).streams[-1].double() for model in (half.bfloat16(), exact)]
        errors.append(float((streams[0] - streams[1]).norm() / streams[1].norm()))
    assert errors[0] < 0.8 * errors[1]
    assert errors[1] < tolerances.BFLOAT16_MODEL


@pytest.mark.parametrize("wide", [True, False])
def test_a_float64_model_has_a_float64_stream(wide: bool):
    record = trace(language_model(float32_residual=wide), ids())
    assert {stream.dtype for stream in record.streams} == {torch.float64}


def test_embedding_dropout_is_for_training():
    backbone, tokens = Backbone(small("A", embed_dropout=0.5)), ids()
    first = []
    backbone.blocks[0].register_forward_pre_hook(lambda _, args: first.append(args[0]))
    for training in (False, True):
        backbone.train(training)(tokens)
    assert torch.equal(first[0], backbone.embedding(tokens))
    assert 0.3 < float((first[1] == 0).double().mean()) < 0.7


BAD_IDS = {
    "one axis": (torch.zeros(3, dtype=torch.long), ["(B, L)", "(3,)"]),
    "fractions": (torch.zeros(1, 3), ["whole numbers", "torch.float32"]),
    "truth values": (torch.zeros(1, 3, dtype=torch.bool), ["whole numbers", "torch.bool"]),
    "no sequence": (torch.zeros(0, 3, dtype=torch.long), ["(0, 3)"]),
    "no token": (torch.zeros(1, 0, dtype=torch.long), ["(1, 0)"]),
    "above the vocabulary": (torch.tensor([[0, 10, 3]]), ["id 10", "0 .. 9"]),
    "below it": (torch.tensor([[0, -1, 3]]), ["id -1", "0 .. 9"]),
    "too many for the filters": (torch.zeros(1, 65, dtype=torch.long), ["65 tokens", "max_length 64", "resized"]),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_IDS)
def test_ids_that_cannot_be_looked_up_are_refused(case: str):
    bad, parts = BAD_IDS[case]
    with refused(*parts):
        language_model()(bad)


@pytest.mark.parametrize(
    ("pattern", "options", "limits"),
    [
        ("AH", {}, {"max_length": 64}),
        ("AH", {"beyond": "truncate"}, {}),
        ("AW", {}, {}),
        ("AH", {"position_rows": 30, "beyond": "extend"}, {"position_rows": 30}),
        ("AH", {"position_rows": 30}, {"position_rows": 30, "max_length": 64}),
    ],
    ids=["filters", "filters that end", "attention", "positions", "both"],
)
def test_what_bounds_the_length_is_known(pattern: str, options: dict[str, object], limits: dict[str, int]):
    model = language_model(pattern, **options)
    assert model.backbone.limits() == limits
    longest = min(limits.values(), default=200)
    assert model(ids(1, longest)).shape == (1, longest, 10)
    if limits:
        with refused(f"{longest + 1} tokens"):
            model(ids(1, longest + 1))


def test_learned_positions_end():
    model = language_model("A", position_rows=8)
    assert model(ids(1, 8)).shape == (1, 8, 10)
    with refused("9 tokens", "8 learned positions"):
        model(ids(1, 9))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32], ids=str)
def test_ids_of_every_whole_dtype_work_or_are_refused(dtype: torch.dtype):
    model, tokens = language_model(), ids()
    with right_or_refused(dtype):
        assert torch.equal(model(tokens.to(dtype)), model(tokens))

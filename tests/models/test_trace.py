"""`trace`: what it records is what flowed, and it leaves nothing behind."""

import pytest
import torch
from torch.testing import assert_close

from hyena.errors import HyenaError
from hyena.models import LanguageModel, trace
from tests import tolerances
from tests.models.small import classifier, ids, language_model


def hooks(model: LanguageModel) -> int:
    """How many hooks a model has."""
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def test_every_block_is_in_every_list():
    record = trace(language_model("HAWH"), ids())
    assert [len(x) for x in (record.streams, record.norms)] == [5, 5]
    assert [len(x) for x in (record.mixer_inputs, record.mixer_outputs, record.filters)] == [4, 4, 4]
    assert [taps is not None for taps in record.filters] == [True, False, False, True]


def test_the_streams_are_those_between_the_blocks():
    model, tokens = language_model("HAWH"), ids()
    record = trace(model, tokens)
    assert_close(record.streams[0], model.backbone.embedding(tokens).detach())
    for i, block in enumerate(model.backbone.blocks):
        assert_close(record.streams[i + 1], block(record.streams[i]).detach(), **tolerances.FLOAT64)
        assert_close(record.mixer_inputs[i], block.mixer_norm(record.streams[i]).detach(), **tolerances.FLOAT64)
        assert_close(record.mixer_outputs[i], block.mixer(record.mixer_inputs[i]).detach(), **tolerances.FLOAT64)
    assert_close(record.hidden, model.backbone.norm(record.streams[-1]).detach(), **tolerances.FLOAT64)
    assert_close(record.output, model(tokens).detach(), **tolerances.FLOAT64)


def test_the_filters_are_those_of_the_length():
    model, tokens = language_model("HA"), ids(1, 13)
    (taps, none) = trace(model, tokens).filters
    assert none is None
    assert taps.shape == (2 * 16, 13)
    assert_close(taps, model.backbone.blocks[0].mixer.filter(13).detach(), **tolerances.FLOAT64)


def test_filters_of_gated_convolutions_too():
    model, tokens = language_model("SMLRD"), ids(1, 5)
    for block, taps in zip(model.backbone.blocks, trace(model, tokens).filters, strict=True):
        assert_close(taps, block.mixer.filter(5).detach(), **tolerances.FLOAT64)


def test_the_norms_are_root_mean_squares():
    record = trace(language_model(), ids())
    for norm, stream in zip(record.norms, record.streams, strict=True):
        assert abs(norm - stream.square().mean().sqrt()) < 1e-12


def test_nothing_asks_for_gradients():
    model = language_model()
    record = trace(model, ids())
    tensors = [*record.streams, *record.mixer_inputs, *record.mixer_outputs, *(t for t in record.filters if t is not None)]
    assert not any(t.requires_grad for t in [*tensors, record.hidden, record.output])


def test_the_model_is_as_it_was():
    model, tokens = language_model(), ids()
    y = model(tokens)
    trace(model, tokens)
    assert hooks(model) == 0
    assert torch.equal(model(tokens), y)


def test_the_hooks_go_even_where_the_model_fails():
    model = language_model()
    with pytest.raises(HyenaError):
        trace(model, ids(1, 65))
    assert hooks(model) == 0


def test_a_record_may_be_changed_without_changing_the_model():
    model, tokens = language_model("H"), ids()
    with torch.no_grad():
        y = model(tokens)
        record = trace(model, tokens)
        for tensor in (
            *record.streams,
            *record.mixer_inputs,
            *record.mixer_outputs,
            *record.filters,
            record.hidden,
            record.output,
        ):
            tensor.zero_()
        assert torch.equal(model(tokens), y)


def test_a_classifier_can_be_traced():
    model, tokens = classifier("HA"), ids()
    record = trace(model, tokens)
    assert_close(record.output, model(tokens).detach(), **tolerances.FLOAT64)
    assert len(record.streams) == 3

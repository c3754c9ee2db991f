"""A distilled model is an ordinary model with a bounded state, and its report says how close it is."""

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import hyena
from hyena.bench.filters import measure
from hyena.bench.inspect import inspect
from hyena.configs.mixers import HyenaConfig, ImplicitFilterConfig, Mixers, ModalFilterConfig
from hyena.errors import HyenaError
from hyena.inference.distillation import layers
from hyena.inference.distillation.compare import compare
from hyena.inference.distillation.report import DISTILLED, HEAD_ALONE
from hyena.modules.filters import ImplicitFilter
from hyena.modules.hyena import Hyena
from tests.models.small import ids, language_model, small

FILTER = ImplicitFilterConfig(features=5, width=8, frequency=3.0, fast_decay=0.3, init_std=0.5)
MIXERS = Mixers(H=HyenaConfig(order=2, filter=FILTER))


def model(dtype: torch.dtype = torch.float64, pattern: str = "HAH", **options: object) -> hyena.LanguageModel:
    """Two layers of long filters over 64 lags, loud enough to matter."""
    torch.manual_seed(0)
    return language_model(pattern, dtype, **{"mixers": MIXERS, "beyond": "truncate"} | options)


def test_with_many_poles_it_is_the_same_model_within_its_grid():
    original, tokens = model(), ids(3, 64)
    new, report = hyena.distill(original, order=33, ids=tokens)
    torch.testing.assert_close(new(tokens), original(tokens), rtol=0, atol=1e-6)
    assert report.predictions.divergence < 1e-12
    assert max(layer.error.maximum for layer in report.layers) < 1e-6


@pytest.mark.parametrize("head", [0, 4, 80])
def test_the_error_is_that_of_the_model_that_is_made(head: int):
    original = model(torch.float32)
    new, report = hyena.distill(original, order=2, head=head)
    for layer in report.layers:
        before, after = (m.backbone.layers[layer.index].mixer.filter(64).detach().double() for m in (original, new))
        error = (before - after).norm(dim=1) / before.norm(dim=1)
        assert layer.error.maximum == pytest.approx(float(error.max()), abs=1e-5)
        torch.testing.assert_close(after[:, :head], before[:, :head], rtol=0, atol=1e-5)
        tail = before[:, head:].norm(dim=1) / before.norm(dim=1)
        assert layer.head_alone.maximum == pytest.approx(float(tail.max()), abs=1e-5)
        assert layer.filters == len(before)
    if head == 80:
        assert report.layers[0].error.maximum < 1e-6


def test_it_is_an_ordinary_model(tmp_path):
    original, tokens = model(torch.float32), ids(2, 40)
    before = copy.deepcopy(original.state_dict())
    new, report = hyena.distill(original, order=4, head=3)
    assert all(torch.equal(value, original.state_dict()[name]) for name, value in before.items())
    assert replace(MIXERS.H, modal=ModalFilterConfig(order=4, head=3)) == new.config.mixers.H
    new.save(tmp_path / "m")
    again = hyena.load(tmp_path / "m")
    with torch.no_grad():
        torch.testing.assert_close(again(tokens), new(tokens))
        state = again.init_state(2)
        steps = []
        for t in range(40):
            logits, state = again.extend(tokens[:, t : t + 1], state)
            steps.append(logits)
        torch.testing.assert_close(torch.cat(steps, dim=1), new(tokens), rtol=0, atol=1e-4)
    modal = [block.mixer for block in again.backbone.layers if isinstance(block.mixer, Hyena)]
    assert all(mixer.state_bytes(1) == mixer.state_bytes(10**6) for mixer in modal)
    assert report.state_bytes == new.state_bytes(64)


def test_order_three_scales_and_half_precision():
    mixers = Mixers(H=replace(MIXERS.H, order=3, order_scale=True))
    original, tokens = model(pattern="HH", mixers=mixers), ids(2, 64)
    with torch.no_grad():
        for block in original.backbone.layers:
            block.mixer.order_scale.copy_(torch.tensor([0.5, 2.0]))
    torch.testing.assert_close(hyena.distill(original, order=33).model(tokens), original(tokens), rtol=0, atol=1e-6)
    half = hyena.distill(original.bfloat16(), order=4).model
    assert half.backbone.embedding.weight.dtype == torch.bfloat16
    assert half.backbone.layers[0].mixer.filter.residues.dtype == torch.float32


def test_a_classifier_is_distilled_and_not_compared():
    torch.manual_seed(0)
    original, tokens = hyena.Classifier(small("HH", mixers=MIXERS)).double().eval(), ids(2, 30)
    new, report = hyena.distill(original, order=33)
    torch.testing.assert_close(new(tokens), original(tokens), rtol=0, atol=1e-6)
    assert report.predictions is None
    assert any("not measured" in sentence for sentence in report.sentences())
    with pytest.raises(HyenaError, match="classifier predicts no tokens"):
        hyena.distill(original, order=3, ids=tokens)


def test_the_smallest_order_that_meets_a_tolerance():
    original = model()
    new, report = hyena.distill(original, tolerance=0.05)
    assert report.order == max(layer.smallest_order for layer in report.layers) == new.config.mixers.H.modal.order
    assert max(layer.error.maximum for layer in report.layers) <= 0.05
    fewer = hyena.distill(original, order=report.order - 1).report
    assert max(layer.error.maximum for layer in fewer.layers) > 0.05


def test_a_tolerance_that_no_order_meets(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("hyena.inference.distillation.distil.LARGEST_ORDER", 2)
    with pytest.raises(HyenaError, match="2 poles are not enough"):
        hyena.distill(model(), tolerance=1e-6)


def test_comparison_against_its_definition():
    original, tokens = model(), ids(3, 50)
    new, report = hyena.distill(original, order=1, head=5, ids=tokens, source="test")
    silent = copy.deepcopy(new)
    for block in silent.backbone.layers:
        if isinstance(block.mixer, Hyena):
            block.mixer.filter.residues.data.zero_()
    with torch.no_grad():
        p, q, r = (m(tokens[:, :-1]).log_softmax(-1) for m in (original, new, silent))
    targets = tokens[:, 1:, None]
    for found, first in ((report.predictions, 0), (report.past_head, 5)):
        here = slice(first, None)
        loss = [-x.gather(2, targets)[:, here].mean() for x in (p, q, r)]
        kl = [(p.exp() * (p - x)).sum(2)[:, here].mean() for x in (q, r)]
        wanted = [loss[0], loss[1] - loss[0], kl[0], loss[2] - loss[0], kl[1]]
        names = ("loss", "change", "divergence", "head_alone_change", "head_alone_divergence")
        assert [getattr(found, name) for name in names] == pytest.approx([float(x) for x in wanted], abs=1e-9)
        assert found.positions == 49 - first
    assert report.predictions.head_alone_divergence > report.predictions.divergence > 0
    assert (report.windows, report.source) == (3, "test")
    assert np.array(report.bins[DISTILLED])[:3].max() < 1e-12, "within the head nothing differs"


def test_chunks_of_the_comparison_change_nothing(monkeypatch: pytest.MonkeyPatch):
    original, tokens = model(), ids(5, 40)
    others = {HEAD_ALONE: model(pattern="HAA")}
    whole = compare(original, others, tokens)
    monkeypatch.setattr("hyena.inference.distillation.compare._ROOM", 16)
    parts = compare(original, others, tokens)
    np.testing.assert_allclose(parts.divergences[HEAD_ALONE], whole.divergences[HEAD_ALONE], rtol=0, atol=1e-12)
    np.testing.assert_allclose(parts.loss, whole.loss, rtol=0, atol=1e-12)


def test_some_filters_at_a_time_change_nothing(monkeypatch: pytest.MonkeyPatch):
    filter = model().backbone.layers[0].mixer.filter
    _, whole = layers.distil_layer(filter, 2, 3)
    monkeypatch.setattr(layers, "_ROOM", 5 * 64)
    done = []
    _, parts = layers.distil_layer(filter, 2, 3, report=lambda *at: done.append(at))
    np.testing.assert_allclose(parts.error, whole.error, rtol=1e-6)
    assert done[-1] == (16, 16)


def test_reach_is_that_of_inspect():
    original = model(torch.float32)
    new, report = hyena.distill(original, order=8, head=2)
    for found, inside in ((report.layers[0].reach.original, original), (report.layers[0].reach.distilled, new)):
        assert found == inspect(inside, ids(1, 8)).layers[0].filters.reach.median
    filter = original.backbone.layers[0].mixer.filter
    assert np.array_equal(layers.reach(filter(64).double()), measure(filter).reach)
    measured = layers.distil_layer(filter, 1, 2)[1]
    assert measured.shorter.sum() == (measured.distilled_reach < measured.reach).sum()


def test_what_lies_past_the_grid_is_told():
    filter = ImplicitFilter(replace(FILTER, window="none"), 16, 64, "truncate").double()
    new, measured = layers.distil_layer(filter, 3, 0)
    far = new.double()(20000)[:, 64:].norm(dim=1).detach().numpy()
    np.testing.assert_allclose(measured.past, far, rtol=1e-4)
    assert new.exponents()[..., 0].max() < 0


def test_filters_of_zeros_stay_zero():
    original = model()
    with torch.no_grad():
        original.backbone.layers[0].mixer.filter.out.weight[3] = 0
    new, report = hyena.distill(original, order=3, head=2)
    assert (new.backbone.layers[0].mixer.filter(64)[3] == 0).all()
    assert np.isfinite(report.layers[0].error.maximum)
    json.dumps(report.to_dict(), allow_nan=False)


def test_progress_ends_at_the_end():
    seen: dict[str, tuple[int, int]] = {}
    hyena.distill(model(), tolerance=0.3, ids=ids(3, 20), report=lambda what, *at: seen.update({what: at}))
    assert seen == {"layer searched": (2, 2), "filter": (32, 32), "window": (3, 3)}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "order or a tolerance"),
        ({"order": 4, "tolerance": 0.1}, "not both"),
        ({"order": 0}, "order is 0"),
        ({"order": 4, "head": -1}, "head is -1"),
        ({"tolerance": 1.5}, "tolerance is 1.5"),
        ({"order": 4, "ids": ids(2, 1)}, "at least 2 tokens"),
    ],
)
def test_options_that_cannot_be_met(options: dict, said: str):
    with pytest.raises(HyenaError, match=said):
        hyena.distill(model(), **options)


def test_there_must_be_something_to_distil():
    with pytest.raises(HyenaError, match="no layer of its pattern is a Hyena"):
        hyena.distill(model(pattern="AA"), order=4)
    with pytest.raises(HyenaError, match="modal filters already"):
        hyena.distill(hyena.distill(model(), order=2).model, order=2)

"""Norms against what `trace` keeps, and that nothing stays behind."""

import math

import pytest
import torch

from hyena.bench.signals import Meter, norms
from hyena.errors import HyenaError
from hyena.models import trace
from tests.models.small import classifier, ids, language_model
from tests.models.test_trace import hooks


def rms(x: torch.Tensor) -> float:
    """Root mean square."""
    return float(x.double().square().mean().sqrt())


def test_the_norms_are_those_of_what_flows():
    model, tokens = language_model("HAWH"), ids(3, 20)
    record = trace(model, tokens)
    found = norms(model, tokens)
    assert len(found) == 4
    for i, n in enumerate(found):
        assert n.stream == pytest.approx(rms(record.streams[i]), rel=1e-12)
        assert n.out == pytest.approx(rms(record.streams[i + 1]), rel=1e-12)
        assert n.largest == pytest.approx(float(record.streams[i + 1].abs().max()), rel=1e-12)
        assert n.mixer == pytest.approx(rms(record.mixer_outputs[i]), rel=1e-12)
        after = record.streams[i] + record.mixer_outputs[i]
        assert n.mlp == pytest.approx(rms(record.streams[i + 1] - after), rel=1e-9)


def test_the_gates_are_the_parts_of_the_short_convolution():
    model, tokens = language_model("HA"), ids(2, 20)
    mixer = model.backbone.layers[0].mixer
    streams = mixer.short_conv(mixer.in_proj(trace(model, tokens).mixer_inputs[0]).transpose(1, 2)).detach()
    hyena, attention = norms(model, tokens)
    assert list(hyena.gates) == ["x0", "x1", "x2", "v"]  # order 3
    for part, value in zip(streams.split(16, dim=1), hyena.gates.values(), strict=True):
        assert value == pytest.approx(rms(part), rel=1e-12)
    assert attention.gates == {}


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_as_it_was(training: bool):
    model = language_model("HA", dropout=0.5).train(training)
    tokens = ids()
    assert norms(model, tokens) == norms(model, tokens), "dropout was on"
    assert model.training is training
    assert hooks(model) == 0
    with pytest.raises(HyenaError):
        norms(model, ids(1, 65))
    assert model.training is training
    assert hooks(model) == 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_any_dtype_and_head(dtype: torch.dtype):
    model, tokens = classifier("HA", dtype), ids(2, 20)
    wanted = norms(model.double(), tokens)
    for n, w in zip(norms(model.to(dtype), tokens), wanted, strict=True):
        assert n.out == pytest.approx(w.out, rel=0.02)


def test_progress_counts_windows():
    seen: list[tuple[int, int]] = []
    norms(language_model("H"), ids(3, 5), lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_a_meter_adds_up():
    meter, parts = Meter(), [torch.randn(3, 4), 5 * torch.randn(2).double(), torch.randn(6).bfloat16()]
    for part in parts:
        meter.add(part)
    together = torch.cat([part.double().flatten() for part in parts])
    assert meter.rms == pytest.approx(rms(together), rel=1e-12)
    assert meter.largest == float(together.abs().max())


def test_a_meter_never_forgets_what_is_not_finite():
    meter = Meter()
    for value in (1.0, math.nan, 1.0):
        meter.add(torch.tensor([value]))
    assert math.isnan(meter.rms)
    assert math.isnan(meter.largest)
    meter = Meter()
    meter.add(torch.tensor([math.inf]))
    assert meter.largest == meter.rms == math.inf

"""The moving average: its formula, that it is what is validated and saved, and that the run itself is not disturbed."""

from pathlib import Path

import pytest
import torch

import hyena
from hyena.data import ByteTokenizer, load_corpus
from hyena.models import LanguageModel
from hyena.training import evaluate, train
from hyena.training.average import Average
from tests.tolerances import FLOAT32
from tests.training.runs import MODEL, tiny, weights

pytestmark = pytest.mark.usefixtures("undrawn")


def test_the_average_by_hand():
    model = LanguageModel(MODEL)
    average = Average(model, 0.25)
    name, parameter = next(iter(model.named_parameters()))
    expected = parameter.detach().clone()
    for step in range(1, 5):
        parameter.data += 1.0
        average.update(model, step)
        decay = min(0.25, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * parameter.detach()
    torch.testing.assert_close(average.weights[name], expected, **FLOAT32)
    now = parameter.detach().clone()
    with average.applied(model):
        assert torch.equal(parameter, average.weights[name])
    assert torch.equal(parameter, now)


def test_the_average_is_saved_and_validated_and_the_run_is_the_same(text: Path, tmp_path: Path):
    losses: dict[float, list[float]] = {}
    for ema in (0.0, 0.9):
        losses[ema] = []
        result = train(tiny(tmp_path / str(ema), text, ema=ema), report=lambda p, ema=ema: losses[ema].append(p.loss))
    assert losses[0.0] == losses[0.9]
    plain, averaged = weights(tmp_path / "0.0"), weights(tmp_path / "0.9")
    assert any(not torch.equal(plain[name], averaged[name]) for name in plain)
    held_out = load_corpus(text, ByteTokenizer()).split(0.1)[1].tokens
    assert result.valid == evaluate(hyena.load(tmp_path / "0.9"), held_out, ByteTokenizer(), 32, 2)

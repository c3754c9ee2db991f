"""TensorBoard sees every number of metrics.jsonl at its step."""

import sys
from pathlib import Path

import pytest

from hyena.training import record, train
from hyena.training.tensorboard import export
from tests.helpers import refused
from tests.training.runs import tiny

pytestmark = pytest.mark.usefixtures("undrawn")


def test_every_number_at_its_step(text: Path, tmp_path: Path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(tiny(tmp_path / "run", text))
    for _ in range(2):  # again, in place of the first
        directory, count = export(tmp_path / "run")
    events = EventAccumulator(str(directory))
    events.Reload()
    tags = events.Tags()["scalars"]
    lines = record.read_metrics(tmp_path / "run")
    loss = [(event.step, event.value) for event in events.Scalars("training/loss")]
    assert loss == [(line["step"], pytest.approx(line["loss"])) for line in lines]
    valid = [event.step for event in events.Scalars("held out/nats_per_token")]
    assert valid == [3, 6]
    assert "timing/seconds" in tags
    assert count == sum(len(events.Scalars(tag)) for tag in tags)


def test_what_is_no_run_or_no_place_for_events_is_refused(text: Path, tmp_path: Path):
    with refused("nowhere", "no run"):
        export(tmp_path / "nowhere")
    pytest.importorskip("tensorboard")
    train(tiny(tmp_path / "run", text, steps=1))
    with refused(str(tmp_path), "other files", "another directory"):
        export(tmp_path / "run", tmp_path)
    assert text.exists()


def test_without_the_package_the_extra_is_named(text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    train(tiny(tmp_path / "run", text, steps=1))
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with refused("tensorboard", "hyena[tensorboard]"):
        export(tmp_path / "run")

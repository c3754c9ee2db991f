"""Every example is a configuration that trains."""

from dataclasses import replace
from pathlib import Path

import pytest

import hyena
from hyena.cli.train import configuration
from hyena.configs.runs import demo
from hyena.training import loop, train
from tests.house.sources import ROOT

EXAMPLES = sorted((ROOT / "examples").glob("*.toml"))


def test_there_are_examples_of_text_and_of_dna(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    assert {configuration(str(path), []).spec for path in EXAMPLES} >= {"bytes", "dna"}


def test_there_are_examples_of_recall_and_of_growing_lengths(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    configs = [configuration(str(path), []) for path in EXAMPLES]
    assert any(config.data.recall is not None for config in configs)
    assert any(config.training.start_length is not None and config.training.gradient_checkpointing for config in configs)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_trains(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As it stands, but narrower, shorter, and validated on less."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(loop, "draw_curve", lambda _: None)
    config = configuration(str(path), [])
    assert config.data.recall is not None or config.data.files
    assert all((ROOT / file).is_file() for file in config.data.files + config.data.valid_files)
    small = {"--training.steps": 2, "--training.batch-size": 2, "--model.width": 16, "--training.valid-tokens": 5000}
    small |= {"--directory": tmp_path / "run", "--training.device": "cpu", "--training.valid-every": 2}
    result = train(configuration(str(path), [str(word) for item in small.items() for word in item]))
    assert result.finished
    assert hyena.load(tmp_path / "run").config.pattern == config.model.pattern


def test_the_example_of_shakespeare_is_the_demonstration(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    ours = configuration("examples/shakespeare.toml", [])
    shown = demo(ours.directory, ours.data.files[0])
    assert ours == shown
    assert ours != replace(shown, training=replace(shown.training, steps=1))
    assert (ROOT / ours.data.files[0]).name == "tinyshakespeare.txt.xz"

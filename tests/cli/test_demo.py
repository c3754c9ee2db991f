"""`hyena demo`: trains, draws, writes; at two steps and on a corner of its text."""

import shlex
from pathlib import Path
from typing import Any

import pytest

import hyena
from hyena.configs.runs import demo
from hyena.configs.training import RunConfig
from hyena.data import Corpus
from hyena.training import record, setup
from tests.cli.conftest import Run


@pytest.fixture
def short_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first 20,000 letters of the text: validation on all of it takes longer than all else here."""
    load = setup.corpora

    def beginning(*arguments: Any, **options: Any) -> list[Corpus]:
        whole = load(*arguments, **options)
        assert sum(map(len, whole)) > 1_000_000, "the whole text comes with the package"
        return [Corpus(corpus.tokens[:10_000], corpus.tokenizer, corpus.source, corpus.notes) for corpus in whole]

    monkeypatch.setattr(setup, "corpora", beginning)


@pytest.mark.usefixtures("short_text", "undrawn")
def test_two_steps_from_beginning_to_end(run: Run, tmp_path: Path):
    directory = tmp_path / "demo"
    status, out, err = run("demo", "--steps", "2", "--directory", directory)
    assert status == 0
    assert f"model and metrics: {directory}" in out
    assert "loss curve:" in out
    assert "step 2: held out" in err
    assert [line["step"] for line in record.read_metrics(directory)] == [2]
    announced, _, written = out.partition("what it writes (")
    command, _, text = written.partition("):\n\n")
    assert announced
    assert text.startswith("ROMEO:")
    assert len(text.encode(errors="replace")) > 300
    # The line that it prints is the line to type.
    options = ["--max-new-tokens", "400", "--temperature", "0.8", "--seed", "0"]
    assert shlex.split(command) == ["hyena", "generate", str(directory), "--prompt", "ROMEO:", *options]
    assert hyena.load(directory).config == demo(str(directory), "text").model


def test_an_earlier_demonstration_is_replaced_and_a_stopped_one_does_not_write(run: Run, monkeypatch: pytest.MonkeyPatch):
    calls: list[tuple[object, ...]] = []
    status = [0]

    def train(config: RunConfig, resume: bool, overwrite: bool) -> int:
        calls.append((config.training.steps, resume, overwrite))
        return status[0]

    monkeypatch.setattr("hyena.cli.train.train", train)
    monkeypatch.setattr("hyena.cli.generate.run", lambda arguments: calls.append(tuple(arguments[:1])) or 0)
    whole = demo("runs/demo", "text").training.steps
    assert run("demo").status == 0
    assert calls == [(whole, False, True), ("runs/demo",)]
    calls.clear()
    status[0] = 130
    assert run("demo", "--steps", "7", "--directory", "here").status == 130
    assert calls == [(7, False, False)], "a run elsewhere is replaced only when asked"
    run("demo", "--directory", "here", "--overwrite")
    assert calls[1] == (whole, False, True)


def test_the_demonstration_is_small():
    config = demo("runs/demo", "text")
    assert (config.model.pattern, config.model.width, config.model.tokenizer) == ("HHHH", 128, "bytes")
    assert config.model.beyond == "truncate", "so that it can write more than max_length"
    assert hyena.cost(config.model, 256).parameters < 2_000_000
    assert config.training.steps * config.training.batch_size * config.length < 5_000_000

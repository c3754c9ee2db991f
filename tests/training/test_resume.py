"""Stopped and resumed = never stopped, byte for byte, wherever the stop falls; and what cannot be resumed is refused."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from hyena.data import ByteTokenizer, prepare
from hyena.training import Progress, record, saves, source, train
from tests.helpers import refused
from tests.training.runs import TEXT, assert_same_weights, before_step, contents, ctrl_c, saved_step, tiny

pytestmark = pytest.mark.usefixtures("undrawn")
CHANGES: dict[str, Any] = {"dropout": 0.2, "embed_dropout": 0.1, "filter_lr": 3e-3, "ema": 0.9, "start_length": 8}


def logged(directory: Path) -> list[int]:
    """The steps of metrics.jsonl."""
    return [line["step"] for line in record.read_metrics(directory)]


def final(directory: Path) -> dict[str, bytes]:
    """What a run came to: all its files but those that name where it is, and checkpoints that an interruption added."""
    last, best = saved_step(directory), str(saves.path_of(directory, saved_step(directory)).name)
    files = {name: content for name, content in contents(directory).items() if name != "run.toml"}
    assert last == 6
    return {name: content for name, content in files.items() if "step-" not in name or best in name}


@pytest.fixture
def uninterrupted(text: Path, tmp_path: Path) -> dict[str, bytes]:
    """The files of the run that nobody stopped."""
    train(tiny(tmp_path / "whole", text, **CHANGES))
    return final(tmp_path / "whole")


@pytest.mark.parametrize("step", [1, 2, 3, 5])
def test_stopped_within_a_step(
    text: Path, tmp_path: Path, uninterrupted: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, step: int
):
    config = tiny(tmp_path / "run", text, **CHANGES)
    before_step(monkeypatch, step, lambda _: ctrl_c(1)(Progress(1, 1, 0.0, 0.0, None, False)))
    result = train(config)
    assert (result.steps, result.finished) == (step, False)
    assert saved_step(tmp_path / "run") == step
    assert logged(tmp_path / "run") == list(range(1, step + 1))
    torch.rand(5)  # the world goes on meanwhile
    result = train(config, resume=True)
    assert (result.steps, result.finished) == (6, True)
    assert final(tmp_path / "run") == uninterrupted


@pytest.mark.parametrize("step", [1, 2, 5])
def test_stopped_after_a_step(text: Path, tmp_path: Path, uninterrupted: dict[str, bytes], step: int):
    config = tiny(tmp_path / "run", text, **CHANGES)
    result = train(config, report=ctrl_c(step))
    assert (result.steps, result.finished) == (step, False)
    assert saved_step(tmp_path / "run") == step, "an interruption always saves"
    assert train(config, resume=True).finished
    assert final(tmp_path / "run") == uninterrupted


def test_stopped_within_a_validation(
    text: Path, tmp_path: Path, uninterrupted: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
):
    config = tiny(tmp_path / "run", text, **CHANGES)
    evaluate = source.evaluate

    def pressed(*arguments: Any) -> Any:
        ctrl_c(1)(Progress(1, 1, 0.0, 0.0, None, False))
        return evaluate(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(source, "evaluate", pressed)
        result = train(config)
    assert (result.steps, result.finished) == (3, False)
    assert saved_step(tmp_path / "run") == 3, "an interruption always saves"
    assert train(config, resume=True).finished
    assert final(tmp_path / "run") == uninterrupted


def test_stopped_twice(text: Path, tmp_path: Path, uninterrupted: dict[str, bytes]):
    config = tiny(tmp_path / "run", text, **CHANGES)
    assert train(config, report=ctrl_c(2)).steps == 2
    assert train(config, resume=True, report=ctrl_c(4)).steps == 4
    assert train(config, resume=True).finished
    assert final(tmp_path / "run") == uninterrupted


def test_a_crash_goes_on_from_the_last_checkpoint(text: Path, tmp_path: Path, uninterrupted: dict[str, bytes]):
    class CrashError(Exception):
        """The machine stops."""

    def crash(progress: Progress) -> None:
        if progress.step == 5:
            raise CrashError

    config = tiny(tmp_path / "run", text, **CHANGES)
    with pytest.raises(CrashError):
        train(config, report=crash)
    assert logged(tmp_path / "run") == [1, 2, 3, 4, 5]
    notes: list[str] = []
    train(config, resume=True, note=notes.append)
    assert notes[0] == f"resuming {tmp_path / 'run'} at step 4"
    assert final(tmp_path / "run") == uninterrupted


def test_a_line_cut_short_by_a_crash_is_no_obstacle(text: Path, tmp_path: Path, uninterrupted: dict[str, bytes]):
    config = tiny(tmp_path / "run", text, **CHANGES)
    train(config, report=ctrl_c(4))
    for name in ("metrics.jsonl", "timing.jsonl"):
        with (tmp_path / "run" / name).open("a") as file:
            file.write('{"step": 5, "lo')
    assert train(config, resume=True).finished
    assert final(tmp_path / "run") == uninterrupted


def test_a_run_without_a_checkpoint_starts_again(text: Path, tmp_path: Path, uninterrupted: dict[str, bytes]):
    config = tiny(tmp_path / "run", text, **CHANGES)
    train(config, report=ctrl_c(1))
    saves.remove(tmp_path / "run")
    notes: list[str] = []
    assert train(config, resume=True, note=notes.append).finished
    assert notes[0] == f"resuming {tmp_path / 'run'} at step 0"
    assert final(tmp_path / "run") == uninterrupted


def test_a_run_that_has_not_begun_is_started(text: Path, tmp_path: Path, uninterrupted: dict[str, bytes]):
    notes: list[str] = []
    assert train(tiny(tmp_path / "run", text, **CHANGES), resume=True, note=notes.append).finished
    assert f"{tmp_path / 'run'} holds no run yet: starting it" in notes
    assert final(tmp_path / "run") == uninterrupted


def test_a_finished_run_resumes_to_itself(text: Path, tmp_path: Path, uninterrupted: dict[str, bytes]):
    config = tiny(tmp_path / "run", text, **CHANGES)
    first = train(config)
    again = train(config, resume=True)
    assert (again.finished, again.steps, again.valid) == (True, 6, first.valid)
    assert final(tmp_path / "run") == uninterrupted


def test_a_run_goes_on_elsewhere_and_without_its_sources(text: Path, tmp_path: Path, uninterrupted: dict[str, bytes]):
    train(tiny(tmp_path / "run", text, **CHANGES), report=ctrl_c(4))
    moved = shutil.move(tmp_path / "run", tmp_path / "moved")
    text.unlink()
    config = tiny(moved, tmp_path / "gone.txt", save_every=5, keep=4, **CHANGES)
    assert train(config, resume=True).finished, "its tokens are its own"
    assert final(moved) == uninterrupted


def test_the_clock_goes_on(text: Path, tmp_path: Path):
    config = tiny(tmp_path / "run", text)
    train(config, report=ctrl_c(4))
    train(config, resume=True)
    timing = record.read_metrics(tmp_path / "run", "timing.jsonl")
    seconds = [line["seconds"] for line in timing]
    assert seconds == sorted(seconds)
    assert [line["step"] for line in timing] == logged(tmp_path / "run")


def test_an_interruption_between_two_logged_steps_logs_nothing(text: Path, tmp_path: Path):
    changes = {"log_every": 4, "valid_every": 6, "save_every": 6}
    train(tiny(tmp_path / "whole", text, **changes))
    train(tiny(tmp_path / "run", text, **changes), report=ctrl_c(2))
    assert saved_step(tmp_path / "run") == 2
    train(tiny(tmp_path / "run", text, **changes), resume=True)
    assert logged(tmp_path / "run") == [4, 6]
    assert final(tmp_path / "run") == final(tmp_path / "whole")


def test_a_prepared_directory_that_has_changed_is_refused(text: Path, tmp_path: Path):
    for name, content in (("prepared", TEXT), ("other", TEXT[::-1])):
        text.write_text(content)
        prepare([text], ByteTokenizer(), tmp_path / name)
    config = tiny(tmp_path / "run", tmp_path / "prepared")
    train(config, report=ctrl_c(3))
    shutil.rmtree(tmp_path / "prepared")
    (tmp_path / "other").rename(tmp_path / "prepared")
    before = contents(tmp_path / "run")
    with refused("training and held-out tokens", str(tmp_path / "run"), "--overwrite"):
        train(config, resume=True)
    assert contents(tmp_path / "run") == before


def test_other_files_are_noted(text: Path, tmp_path: Path):
    train(tiny(tmp_path / "run", text), report=ctrl_c(3))
    notes: list[str] = []
    train(tiny(tmp_path / "run", tmp_path / "other.txt"), resume=True, note=notes.append)
    assert any("data.files are others" in note for note in notes)


def test_a_newer_version_is_the_cure_where_the_run_is_newer(text: Path, tmp_path: Path):
    train(tiny(tmp_path / "run", text), report=ctrl_c(3))
    file = tmp_path / "run/run.toml"
    content = re.sub(r'hyena = ".*"', 'hyena = "99.0.0"', file.read_text()).replace("[training]", "[training]\nwarp = 3")
    file.write_text(content)
    with refused("training.warp: 3 then, None now", "written by hyena 99.0.0", "update hyena"):
        train(tiny(tmp_path / "run", text), resume=True)


def test_another_number_of_threads_is_said(text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    config = tiny(tmp_path / "run", text)
    train(config, report=ctrl_c(4))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    notes: list[str] = []
    train(config, resume=True, note=notes.append)
    assert "not bit for bit the run that began (threads: 1 then, 7 now)" in notes


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"lr": 2e-2}, "optimizer.lr: 0.01 then, 0.02 now"),
        ({"steps": 7}, "training.steps: 6 then, 7 now"),
        ({"width": 32}, "model.width: 16 then, 32 now"),
        ({"valid_fraction": 0.2}, "data.valid_fraction: 0.1 then, 0.2 now"),
        ({"seed": 1, "dropout": 0.1}, "model.dropout: 0.0 then, 0.1 now; training.seed: 0 then, 1 now"),
        ({"start_length": 4}, "training.start_length: None then, 4 now"),
    ],
)
def test_a_changed_configuration_is_refused_by_name(text: Path, tmp_path: Path, changes: dict[str, Any], named: str):
    train(tiny(tmp_path / "run", text), report=ctrl_c(2))
    before = contents(tmp_path / "run")
    with refused(named, "same"):
        train(tiny(tmp_path / "run", text, **changes), resume=True)
    assert contents(tmp_path / "run") == before


@pytest.mark.parametrize("file", ["model.safetensors", "training.safetensors", "progress.json", "config.json"])
@pytest.mark.parametrize("damage", ["cut", "empty", "garbage", "gone"])
def test_a_damaged_checkpoint_is_named_with_the_one_before_it(text: Path, tmp_path: Path, damage: str, file: str):
    config = tiny(tmp_path / "run", text)
    train(config, report=ctrl_c(4))
    state = saves.path_of(tmp_path / "run", 4) / file
    content = state.read_bytes()
    if damage == "gone":
        state.unlink()
    else:
        state.write_bytes({"cut": content[: len(content) // 2], "empty": b"", "garbage": b"\x80 no such file at all"}[damage])
    before = contents(tmp_path / "run")
    with refused("step-00000004", "is damaged", file, "remove it to go on from step 3"):
        train(config, resume=True)
    assert contents(tmp_path / "run") == before
    shutil.rmtree(state.parent)
    train(config, resume=True)
    train(tiny(tmp_path / "fresh", text))
    assert_same_weights(tmp_path / "run", tmp_path / "fresh")


def test_resuming_and_replacing_at_once_has_no_meaning(text: Path, tmp_path: Path):
    config = tiny(tmp_path / "run", text)
    train(config, report=ctrl_c(4))
    with refused("resume", "overwrite"):
        train(config, resume=True, overwrite=True)

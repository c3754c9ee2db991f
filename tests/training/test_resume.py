"""Stopped and resumed = never stopped, bit for bit, wherever the stop falls; and what cannot be resumed is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch

from hyena.training import Progress, loop, record, train
from tests.helpers import refused
from tests.training.runs import assert_same_weights, before_step, ctrl_c, tiny

pytestmark = pytest.mark.usefixtures("undrawn")
CHANGES: dict[str, Any] = {"dropout": 0.2, "embed_dropout": 0.1, "filter_lr": 3e-3}


def logged(directory: Path) -> list[dict[str, Any]]:
    """metrics.jsonl without what depends on the clock."""
    timed = ("seconds", "tokens_per_second")
    return [{key: value for key, value in line.items() if key not in timed} for line in record.read_metrics(directory)]


def assert_same_run(one: Path, other: Path) -> None:
    """The same weights, log, and state to go on from."""
    assert_same_weights(one, other)
    assert logged(one) == logged(other)
    ours, theirs = record.load_state(one), record.load_state(other)
    assert ours.keys() == theirs.keys()
    different = [key for key in ours if key != "seconds" and not identical(ours[key], theirs[key])]
    assert not different


def identical(a: Any, b: Any) -> bool:
    """Equal through and through, tensors bit for bit."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(identical(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(identical, a, b))
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


@pytest.fixture
def uninterrupted(text: Path, tmp_path: Path) -> Path:
    """The run that nobody stopped."""
    train(tiny(tmp_path / "whole", text, **CHANGES))
    return tmp_path / "whole"


@pytest.mark.parametrize("step", [1, 2, 3, 5])
def test_stopped_within_a_step(text: Path, tmp_path: Path, uninterrupted: Path, monkeypatch: pytest.MonkeyPatch, step: int):
    config = tiny(tmp_path / "run", text, **CHANGES)
    before_step(monkeypatch, step, lambda _: ctrl_c(1)(Progress(1, 1, 0.0, 0.0, None, False)))
    result = train(config)
    assert (result.steps, result.finished) == (step, False)
    assert record.load_state(tmp_path / "run")["step"] == step
    assert [line["step"] for line in logged(tmp_path / "run")] == list(range(1, step + 1))
    torch.rand(5)  # the world goes on meanwhile
    result = train(config, resume=True)
    assert (result.steps, result.finished) == (6, True)
    assert_same_run(tmp_path / "run", uninterrupted)


@pytest.mark.parametrize("step", [1, 2, 5])
def test_stopped_after_a_step(text: Path, tmp_path: Path, uninterrupted: Path, step: int):
    config = tiny(tmp_path / "run", text, **CHANGES)
    result = train(config, report=ctrl_c(step))
    assert (result.steps, result.finished) == (step, False)
    assert record.load_state(tmp_path / "run")["step"] == step, "an interruption always saves"
    assert train(config, resume=True).finished
    assert_same_run(tmp_path / "run", uninterrupted)


def test_stopped_within_a_validation(text: Path, tmp_path: Path, uninterrupted: Path, monkeypatch: pytest.MonkeyPatch):
    config = tiny(tmp_path / "run", text, **CHANGES)
    evaluate = loop.evaluate

    def pressed(*arguments: Any) -> Any:
        ctrl_c(1)(Progress(1, 1, 0.0, 0.0, None, False))
        return evaluate(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "evaluate", pressed)
        result = train(config)
    assert (result.steps, result.finished) == (3, False)
    assert record.load_state(tmp_path / "run")["step"] == 3, "an interruption always saves"
    assert train(config, resume=True).finished
    assert_same_run(tmp_path / "run", uninterrupted)


def test_stopped_twice(text: Path, tmp_path: Path, uninterrupted: Path):
    config = tiny(tmp_path / "run", text, **CHANGES)
    assert train(config, report=ctrl_c(2)).steps == 2
    assert train(config, resume=True, report=ctrl_c(4)).steps == 4
    assert train(config, resume=True).finished
    assert_same_run(tmp_path / "run", uninterrupted)


def test_a_crash_goes_on_from_the_last_save(text: Path, tmp_path: Path, uninterrupted: Path):
    class CrashError(Exception):
        """The machine stops."""

    def crash(progress: Progress) -> None:
        if progress.step == 5:
            raise CrashError

    config = tiny(tmp_path / "run", text, **CHANGES)
    with pytest.raises(CrashError):
        train(config, report=crash)
    assert [line["step"] for line in logged(tmp_path / "run")] == [1, 2, 3, 4, 5]
    notes: list[str] = []
    train(config, resume=True, note=notes.append)
    assert notes == [f"resuming {tmp_path / 'run'} at step 4"]
    assert [line["step"] for line in logged(tmp_path / "run")] == [1, 2, 3, 4, 5, 6]
    assert_same_run(tmp_path / "run", uninterrupted)


def test_a_line_cut_short_by_a_crash_is_no_obstacle(text: Path, tmp_path: Path, uninterrupted: Path):
    config = tiny(tmp_path / "run", text, **CHANGES)
    train(config, report=ctrl_c(4))
    with (tmp_path / "run/metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "lo')
    assert train(config, resume=True).finished
    assert_same_run(tmp_path / "run", uninterrupted)


def test_a_finished_run_resumes_to_itself(text: Path, tmp_path: Path, uninterrupted: Path):
    config = tiny(tmp_path / "run", text, **CHANGES)
    first = train(config)
    again = train(config, resume=True)
    assert (again.finished, again.steps, again.valid) == (True, 6, first.valid)
    assert_same_run(tmp_path / "run", uninterrupted)


def test_the_clock_goes_on(text: Path, tmp_path: Path):
    config = tiny(tmp_path / "run", text)
    train(config, report=ctrl_c(4))
    train(config, resume=True)
    seconds = [line["seconds"] for line in record.read_metrics(tmp_path / "run")]
    assert seconds == sorted(seconds)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"lr": 2e-2}, "optimizer.lr: 0.01 then, 0.02 now"),
        ({"steps": 7}, "training.steps: 6 then, 7 now"),
        ({"width": 32}, "model.width: 16 then, 32 now"),
        ({"valid_fraction": 0.2}, "data.valid_fraction: 0.1 then, 0.2 now"),
        ({"seed": 1, "dropout": 0.1}, "model.dropout: 0.0 then, 0.1 now; training.seed: 0 then, 1 now"),
    ],
)
def test_a_changed_configuration_is_refused_by_name(text: Path, tmp_path: Path, changes: dict[str, Any], named: str):
    train(tiny(tmp_path / "run", text), report=ctrl_c(2))
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    with refused(named, "same"):
        train(tiny(tmp_path / "run", text, **changes), resume=True)
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


def test_without_a_state_there_is_nothing_to_resume(text: Path, tmp_path: Path):
    with refused("run", "no state to resume", "without --resume"):
        train(tiny(tmp_path / "run", text), resume=True)
    assert not (tmp_path / "run").exists()
    train(tiny(tmp_path / "run", text))
    (tmp_path / "run/resume.pt").unlink()
    with refused("no state to resume"):
        train(tiny(tmp_path / "run", text), resume=True)


@pytest.mark.parametrize("damage", ["cut", "empty", "garbage", "another file"])
def test_a_broken_state_is_refused(text: Path, tmp_path: Path, damage: str):
    config = tiny(tmp_path / "run", text)
    train(config, report=ctrl_c(4))
    state = tmp_path / "run/resume.pt"
    if damage == "another file":
        torch.save({"weights": torch.zeros(3)}, state)
    else:
        content = state.read_bytes()
        state.write_bytes({"cut": content[: len(content) // 2], "empty": b"", "garbage": b"no zip file at all"}[damage])
    metrics = (tmp_path / "run/metrics.jsonl").read_bytes()
    with refused("resume.pt", "--overwrite"):
        train(config, resume=True)
    assert (tmp_path / "run/metrics.jsonl").read_bytes() == metrics


def test_resuming_and_replacing_at_once_has_no_meaning(text: Path, tmp_path: Path):
    config = tiny(tmp_path / "run", text)
    train(config, report=ctrl_c(4))
    with refused("resume", "overwrite"):
        train(config, resume=True, overwrite=True)

"""Which checkpoints stay, and what happens where one cannot be written."""

import errno
import os
import resource
from pathlib import Path
from typing import Any

import pytest

from hyena.models import store
from hyena.training import Evaluation, record, saves, source, train
from tests.helpers import refused
from tests.training.runs import assert_same_weights, contents, ctrl_c, saved_step, tiny

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.mark.parametrize(("best", "kept"), [(4, [4, 10, 11, 12]), (11, [10, 11, 12]), (12, [10, 11, 12])])
def test_the_latest_and_the_best_are_kept(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, best: int, kept: list[int]
):
    steps = iter(range(1, 13))
    monkeypatch.setattr(source, "evaluate", lambda *_: Evaluation(abs(next(steps) - best) + 1.0, 1.0, 1.0, 1))
    result = train(tiny(tmp_path / "run", text, steps=12, valid_every=1, save_every=1, keep=3))
    assert saves.saved(tmp_path / "run") == kept
    assert result.best == saves.path_of(tmp_path / "run", best)
    assert store.is_native(result.best)


def test_other_directories_are_not_checkpoints(tmp_path: Path):
    folder = tmp_path / saves.FOLDER
    for name in ("step-00000010", "step-00000002", "step-1", ".step-00000003.part", "best"):
        (folder / name).mkdir(parents=True)
    assert saves.saved(tmp_path) == [2, 10]
    saves.clean(tmp_path)
    assert {path.name for path in folder.iterdir()} == {"step-00000010", "step-00000002", "step-1", "best"}


def full(*_: Any, **__: Any) -> None:
    """What a full disk says."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("place", [(store, "_shards"), (store, "write_safetensors")], ids=["model", "state"])
def test_a_full_disk_keeps_the_last_checkpoint(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: tuple[Any, str]
):
    config = tiny(tmp_path / "run", text)
    train(config, report=ctrl_c(3))
    before = {name: content for name, content in contents(tmp_path / "run").items() if "step-" in name}
    with monkeypatch.context() as patch:
        patch.setattr(*place, full)
        with refused("checkpoint of step 4", "No space left on device", "step-00000003", "make room", "--resume"):
            train(config, resume=True)
    assert {name: content for name, content in contents(tmp_path / "run").items() if "step-" in name} == before
    assert not list((tmp_path / "run").rglob(".*"))
    assert train(config, resume=True).finished
    train(tiny(tmp_path / "fresh", text))
    assert_same_weights(tmp_path / "run", tmp_path / "fresh")


def test_a_full_disk_at_the_very_end_names_the_checkpoint(text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fills(step: int, place: Any, name: str) -> Any:
        """For `report`: the disk is full after a step."""
        return lambda p: patch.setattr(place, name, full) if p.step == step else None

    config = tiny(tmp_path / "run", text)
    with monkeypatch.context() as patch, refused("the finished model", "No space left", "step-00000006", "--resume"):
        train(config, report=fills(6, saves.store, "remove"))
    with monkeypatch.context() as patch, refused("metrics.jsonl", "No space left", "step-00000004", "--resume"):
        train(tiny(tmp_path / "other", text), report=fills(4, record.os, "fsync"))
    assert train(config, resume=True).finished


def test_a_limit_of_the_system_is_met_like_a_full_disk(text: Path, tmp_path: Path):
    """A real failure in the middle of a real write: no file may grow past 20 kB."""
    config = tiny(tmp_path / "run", text, valid_every=6)
    train(config, report=ctrl_c(1))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with refused("checkpoint of step 2", "too large", "step-00000001"):
            train(config, resume=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert saved_step(tmp_path / "run") == 1
    assert not list((tmp_path / "run").rglob(".*"))

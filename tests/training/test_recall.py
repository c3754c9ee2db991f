"""A run on associative recall: its batches, its validation, that it resumes, and what does not fit it."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import hyena
from hyena.configs.data import DataConfig, RecallConfig
from hyena.configs.mixers import HyenaConfig, ImplicitFilterConfig, Mixers
from hyena.configs.model import ModelConfig
from hyena.configs.training import OptimizerConfig, RunConfig, TrainingConfig
from hyena.data import recall_batch
from hyena.training import record, train
from tests.helpers import refused, unchecked
from tests.training.runs import contents, ctrl_c

pytestmark = pytest.mark.usefixtures("undrawn")
TASK = RecallConfig(keys=4, values=4, pairs=8)
FILTER = ImplicitFilterConfig(features=17, width=32, window="none")
MODEL = ModelConfig("HH", 64, 8, max_length=16, mlp_width=128, tied=False, mixers=Mixers(H=HyenaConfig(filter=FILTER)))


def run(directory: Path, **training: Any) -> RunConfig:
    """A run on the task."""
    steps = TrainingConfig(steps=6, batch_size=64, device="cpu", log_every=2, valid_every=3, save_every=3)
    optimizer = OptimizerConfig(lr=1e-2, weight_decay=0.0)
    return RunConfig(str(directory), MODEL, DataConfig(recall=TASK), optimizer, replace(steps, **training))


def test_a_model_learns_to_recall(tmp_path: Path):
    with unchecked():
        result = train(run(tmp_path / "run", steps=150, valid_every=150, save_every=150))
    assert result.valid is not None
    assert result.valid.accuracy > 0.99
    assert math.isnan(result.valid.bits_per_byte)
    last = record.read_metrics(tmp_path / "run")[-1]
    assert last["valid_accuracy"] == result.valid.accuracy
    assert "valid_bits_per_byte" not in last, "the task has no bytes"
    model = hyena.load(tmp_path / "run")
    ids, targets = (torch.from_numpy(x) for x in recall_batch(TASK, 200, 7, 7, held_out=True))
    with torch.no_grad():
        right = model(ids).argmax(-1) == targets
    assert right[targets >= 0].float().mean() > 0.99


def test_stopped_and_resumed_is_never_stopped(tmp_path: Path):
    train(run(tmp_path / "whole"))
    assert not train(run(tmp_path / "run"), report=ctrl_c(3)).finished
    train(run(tmp_path / "run"), resume=True)
    whole, resumed = (contents(tmp_path / name) for name in ("whole", "run"))
    assert [name for name in whole if whole[name] != resumed.get(name) and name != "run.toml"] == []


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"model": replace(MODEL, vocab_size=9)}, ("recall task", "8 symbols", "vocab_size 9")),
        ({"model": replace(MODEL, max_length=32)}, ("recall task", "sequences of 16", "length 32")),
        ({"training": TrainingConfig(start_length=4)}, ("start_length", "leave")),
    ],
    ids=["vocabulary", "length", "stages"],
)
def test_what_does_not_fit_the_task_is_refused(tmp_path: Path, changes: dict[str, Any], parts: tuple[str, ...]):
    with refused(*parts):
        train(replace(run(tmp_path / "run"), **changes))
    assert not (tmp_path / "run").exists()

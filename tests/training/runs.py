"""Tiny runs that the tests share: a byte model of one layer and width 16 on a few hundred letters, done in a blink."""

import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import hyena
from hyena.configs.data import DataConfig
from hyena.configs.mixers import HyenaConfig, ImplicitFilterConfig, Mixers
from hyena.configs.model import ModelConfig
from hyena.configs.training import OptimizerConfig, RunConfig, TrainingConfig
from hyena.training import Progress, saves, step

TEXT = 20 * "the quick brown fox jumps over the lazy dog. "
SMALL = Mixers(H=HyenaConfig(filter=ImplicitFilterConfig(features=5, width=8)))
MODEL = ModelConfig(
    pattern="H", width=16, vocab_size=256, max_length=32, mlp_width=32, tokenizer="bytes", init_std=0.02, mixers=SMALL
)
TRAINING = TrainingConfig(steps=6, batch_size=2, device="cpu", log_every=1, valid_every=3, save_every=2)


def tiny(directory: Path, file: Path, **changes: Any) -> RunConfig:
    """A run of six steps; changes go to whichever part of the configuration has a field of that name."""
    parts: dict[str, Any] = {
        "model": MODEL,
        "data": DataConfig(files=(str(file),)),
        "optimizer": OptimizerConfig(lr=1e-2),
        "training": TRAINING,
    }
    for name, value in changes.items():
        part = next(key for key, config in parts.items() if hasattr(config, name))
        parts[part] = replace(parts[part], **{name: value})
    return RunConfig(directory=str(directory), **parts)


def contents(directory: Path) -> dict[str, bytes]:
    """Every file of a run by its path, but what the clock says."""
    files = (path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): path.read_bytes() for path in files if path.name != "timing.jsonl"}


def saved_step(directory: Path) -> int:
    """The step of a run's newest checkpoint."""
    return saves.saved(directory)[-1]


def weights(directory: Path) -> dict[str, torch.Tensor]:
    """The tensors of a saved model."""
    return hyena.load(directory).state_dict()


def assert_same_weights(one: Path, other: Path) -> None:
    """The same names and, bit for bit, the same numbers."""
    ours, theirs = weights(one), weights(other)
    assert ours.keys() == theirs.keys()
    different = [name for name in ours if not torch.equal(ours[name], theirs[name])]
    assert not different


def ctrl_c(at: int) -> Callable[[Progress], None]:
    """For `report`: presses Ctrl-C when step `at` is reported."""
    return lambda progress: signal.raise_signal(signal.SIGINT) if progress.step == at else None


def before_step(monkeypatch: pytest.MonkeyPatch, number: int, act: Callable[[torch.optim.Optimizer], None]) -> None:
    """Do something to the run when its step `number` (from 1 on) begins, counted over all runs of the test from here on."""
    set_rate, calls = step.set_rate, [0]

    def with_act(optimizer: torch.optim.Optimizer, fraction: float) -> None:
        calls[0] += 1
        if calls[0] == number:
            act(optimizer)
        set_rate(optimizer, fraction)

    monkeypatch.setattr(step, "set_rate", with_act)

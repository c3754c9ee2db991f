"""A run's checkpoints: `checkpoints/step-00000600/`, each complete, and which of them are kept.

A checkpoint is a saved model, which every command takes, with training.safetensors (moments of the optimiser, random numbers,
weights where the model holds their average) and progress.json (the step, the batches drawn, the validations). None holds a
clock, so equal runs have equal checkpoints.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import Tensor

from hyena.configs.files import read_json
from hyena.errors import HyenaError
from hyena.models import store
from hyena.models.heads import Model
from hyena.training.files import remove_directory, remove_parts, write_directory

FOLDER, TENSORS, PROGRESS = store.RUN_CHECKPOINTS, "training.safetensors", "progress.json"


def path_of(directory: Path, step: int) -> Path:
    """Where the checkpoint of a step is."""
    return directory / FOLDER / f"step-{step:08d}"


def saved(directory: Path) -> list[int]:
    """The steps of a run's checkpoints, in order."""
    return [int(path.name.removeprefix("step-")) for path in store.run_checkpoints(directory)]


def write(directory: Path, step: int, save_model: Callable[[Path], None], tensors: dict[str, Tensor], progress: dict) -> None:
    """Write a checkpoint, whole or not at all; `HyenaError` naming what stands where the disk is full or read-only."""

    def fill(part: Path) -> None:
        save_model(part)
        store.write_safetensors({name: tensor.contiguous() for name, tensor in tensors.items()}, part / TENSORS, {})
        (part / PROGRESS).write_text(json.dumps(progress, indent=1) + "\n")

    with writing(directory, f"the checkpoint of step {step}"):
        write_directory(path_of(directory, step), fill)


@contextmanager
def naming_last_good(directory: Path) -> Iterator[None]:
    """Add to an error the checkpoint that the run can go on from."""
    try:
        yield
    except HyenaError as error:
        raise HyenaError(f"{error}; {last_good(directory)}") from None


@contextmanager
def writing(directory: Path, what: str) -> Iterator[None]:
    """Turn what goes wrong on the disk into one line that names the checkpoint to go on from."""
    try:
        yield
    except (OSError, SafetensorError, HyenaError) as error:
        cause = error.__cause__ or error  # a model that cannot be saved says why, and a cure that is not ours
        reason = (cause.strerror if isinstance(cause, OSError) else None) or cause
        raise HyenaError(
            f"{what} cannot be written in {directory} ({reason}); {last_good(directory)}; make room and go on with --resume"
        ) from None


def last_good(directory: Path) -> str:
    """What an error says of the checkpoint that a run can go on from."""
    steps = saved(directory)
    return f"the last good checkpoint is {path_of(directory, steps[-1])}" if steps else "there is no checkpoint yet"


def read(directory: Path, step: int) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Any]]:
    """(weights of the model, the other tensors, progress) of a checkpoint; `HyenaError` where it is damaged."""
    path = path_of(directory, step)
    others = [other for other in saved(directory) if other < step]
    cure = f"remove it to go on from step {others[-1]}" if others else "start the run again with --overwrite"
    try:
        weights = dict(store.read(path).tensors)
        tensors = store.read_safetensors(path / TENSORS)[0]
        return weights, tensors, read_json(path / PROGRESS)
    except HyenaError as error:
        raise HyenaError(f"the checkpoint {path} is damaged ({error}): {cure}") from None


def prune(directory: Path, keep: int, best: int | None) -> None:
    """Remove all checkpoints but the `keep` latest and the best."""
    for step in saved(directory)[:-keep]:
        if step != best:
            remove_directory(path_of(directory, step))


def clean(directory: Path) -> None:
    """Remove what a killed run left half-written."""
    for folder in (directory, directory / FOLDER):
        remove_parts(folder)


def remove(directory: Path) -> None:
    """Remove every checkpoint."""
    clean(directory)
    for step in saved(directory):
        remove_directory(path_of(directory, step))


def save_result(model: Model, directory: Path) -> None:
    """The finished run's model, beside the run's files. A crash in the middle leaves none, and the newest checkpoint, which
    holds the same one, is then what loading the directory finds."""
    with writing(directory, "the finished model"):
        store.remove(directory)
        model.save(directory)

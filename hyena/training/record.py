"""What a run leaves on disk beside its checkpoints: run.toml, metrics.jsonl, timing.jsonl, environment.json.

metrics.jsonl holds what follows from the configuration alone, so that equal runs have equal files; what the clock says is in
timing.jsonl, and what the run was computed with in environment.json.
"""

import json
import os
import platform
import shutil
from pathlib import Path
from typing import Any

import torch

from hyena.configs.files import newer, read_json, read_toml, write_toml
from hyena.configs.runs import VERSION_KEY, resolved, run_config
from hyena.configs.training import RunConfig
from hyena.errors import HyenaError
from hyena.models import store
from hyena.training import saves
from hyena.training.files import write_atomically
from hyena.version import __version__

RUN, METRICS, TIMING, ENVIRONMENT, TOKENS = "run.toml", "metrics.jsonl", "timing.jsonl", "environment.json", "tokens"
DATA = "data.json"
_OWN = (METRICS, TIMING, ENVIRONMENT, DATA, "loss.png")
# What commands leave beside a model: true of the one that it was made of alone.
_MADE_OF_IT = ("inspect.json", "inspect.png", "positions.json", "positions.png")
# What may differ between the parts of one run: where things are, and how often it is saved. The data is the tokens that the run
# has kept, wherever its files are now.
_FREE = ("directory", "training.device", "training.save_every", "training.keep", "data.files", "data.valid_files", "hyena")


def check(directory: Path, config: RunConfig, resume: bool, overwrite: bool) -> bool:
    """Whether a run in the directory is to be gone on with; `HyenaError` where two runs would mix. Nothing is written."""
    file = directory / RUN
    if resume and overwrite:
        raise HyenaError("resume and overwrite exclude each other: --resume goes on with the run, --overwrite replaces it")
    if resume and file.exists():
        values = read_toml(file)
        if changed := _differences(values, resolved(config)):
            cure = newer(values.get(VERSION_KEY)) or ": resume with the same one"
            raise HyenaError(f"{directory} was started with another configuration ({changed}){cure}")
        return True
    if any(path.exists() for path in store.files(directory)) and not store.is_native(directory):
        raise HyenaError(f"{directory} holds another program's model: name another directory")
    if resume and (store.is_native(directory) or saves.saved(directory)):
        raise HyenaError(
            f"{directory} holds a model or checkpoints and no {RUN} to resume by: use --overwrite or another directory"
        )
    if not overwrite and (file.exists() or store.is_native(directory) or saves.saved(directory)):
        raise HyenaError(f"{directory} already holds a run: go on with --resume, replace it with --overwrite, or name another")
    return False


def recorded(directory: Path) -> RunConfig:
    """The configuration that a directory's run was started with."""
    return run_config(read_toml(directory / RUN), str(directory / RUN))


def begin(directory: Path, config: RunConfig, tokens: Path | None, digests: dict[str, str]) -> None:
    """Replace what an earlier run left: its files go, the new run's tokens take their place, run.toml comes last.

    A directory without run.toml holds no run, so a crash in the middle leaves nothing that could be taken for one.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / RUN).unlink(missing_ok=True)
        store.remove(directory)
        saves.remove(directory)
        for name in _OWN + _MADE_OF_IT:
            (directory / name).unlink(missing_ok=True)
        shutil.rmtree(directory / TOKENS, ignore_errors=True)
        if tokens is not None:
            os.replace(tokens, directory / TOKENS)
        write_atomically(directory / ENVIRONMENT, lambda part: part.write_text(json.dumps(environment(), indent=1) + "\n"))
        write_atomically(directory / DATA, lambda part: part.write_text(json.dumps(digests, indent=1) + "\n"))
        write_atomically(directory / RUN, lambda part: write_toml(part, resolved(config)))
    except OSError as error:
        raise HyenaError(f"cannot write to {directory}: {error.strerror or error}; choose another directory") from None


def check_data(directory: Path, digests: dict[str, str]) -> None:
    """Raise `HyenaError` where the tokens are not those that the run began with, as in a prepared directory made anew."""
    file = directory / DATA
    began = read_json(file) if file.exists() else digests
    if changed := [name for name in digests if digests[name] != began.get(name)]:
        raise HyenaError(
            f"the {' and '.join(changed)} tokens are not those that {directory} began with: bring back the prepared directory "
            "or files, or start the run again with --overwrite"
        )


def environment() -> dict[str, Any]:
    """What the last bits of a run depend on beside its configuration."""
    return {
        "hyena": __version__,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def changed_environment(directory: Path) -> str:
    """What is different from when the run began, as one line; empty where nothing is."""
    file = directory / ENVIRONMENT
    changed = _differences(read_json(file), environment()) if file.exists() else ""
    return f"not bit for bit the run that began ({changed})" if changed else ""


def _differences(before: Any, now: Any, where: str = "") -> str:
    """The keys whose values differ, as `key: before, now now`."""
    if where in _FREE:
        return ""
    if isinstance(before, dict) and isinstance(now, dict):
        keys = sorted(before.keys() | now.keys())
        found = (_differences(before.get(key), now.get(key), f"{where}.{key}" if where else key) for key in keys)
        return "; ".join(filter(None, found))
    return "" if before == now else f"{where}: {before!r} then, {now!r} now"


def log(directory: Path, values: dict[str, Any], timing: dict[str, Any]) -> None:
    """Append a line to metrics.jsonl and one to timing.jsonl, and bring them to disk before a checkpoint can follow."""
    for name, line in ((METRICS, values), (TIMING, timing)):
        with (directory / name).open("a") as file:
            file.write(json.dumps(line, allow_nan=False) + "\n")
            file.flush()
            os.fsync(file.fileno())


def read_metrics(directory: Path, name: str = METRICS) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl."""
    return [json.loads(line) for line in _lines(directory / name)]


def _lines(file: Path) -> list[str]:
    """The whole lines of a file; a last one that a crash cut short is left out."""
    return [line for line in file.read_text().splitlines(keepends=True) if line.endswith("\n")] if file.exists() else []


def cut(directory: Path, step: int) -> float:
    """Cut the lines of steps after `step`, which will be run again; returns the seconds that the run had taken by then."""
    for name in (METRICS, TIMING):
        lines = _lines(directory / name)
        kept = "".join(line for line in lines if json.loads(line)["step"] <= step)
        write_atomically(directory / name, lambda part, kept=kept: part.write_text(kept))  # type: ignore[misc]
    timing = read_metrics(directory, TIMING)
    return timing[-1]["seconds"] if timing else 0.0

"""What a run leaves on disk beside its model: metrics.jsonl, the state to resume from, the loss curve."""

import json
import os
from pathlib import Path
from typing import Any

import torch

from hyena.configs.files import read_json, to_dict
from hyena.configs.training import RunConfig
from hyena.errors import HyenaError
from hyena.models import store

RUN, METRICS, STATE, CURVE = "run.json", "metrics.jsonl", "resume.pt", "loss.png"


def write_atomically(path: Path, write: Any) -> None:
    """Call write(temporary path), then move the file to its place: it is whole or as it was before."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write(part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def begin(directory: Path, config: RunConfig, resume: bool, overwrite: bool) -> None:
    """Make the directory and write run.json; refuse to mix two runs in one directory."""
    values = json.loads(json.dumps(to_dict(config)))
    file = directory / RUN
    if resume and overwrite:
        raise HyenaError("resume and overwrite exclude each other: --resume goes on with the run, --overwrite replaces it")
    if resume:
        if not (directory / STATE).is_file():
            raise HyenaError(f"{directory} holds no state to resume from: start the run without --resume")
        changed = _differences(read_json(file), values)
        if changed:
            raise HyenaError(f"{directory} was started with another configuration ({changed}): resume with the same one")
        return
    if not file.exists() and any(path.exists() for path in store.files(directory)) and not store.is_native(directory):
        raise HyenaError(f"{directory} holds another program's model: name another directory")
    if not overwrite and (file.exists() or store.is_native(directory)):
        raise HyenaError(f"{directory} already holds a run: go on with --resume, replace it with --overwrite, or name another")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        store.remove(directory)
        for name in (METRICS, STATE, CURVE):
            (directory / name).unlink(missing_ok=True)
        write_atomically(file, lambda part: part.write_text(json.dumps(values, indent=1) + "\n"))
    except OSError as error:
        raise HyenaError(f"cannot write to {directory}: {error.strerror or error}; choose another directory") from None


def _differences(before: Any, now: Any, where: str = "") -> str:
    """The keys whose values differ, as `key: before, now now`."""
    if isinstance(before, dict) and isinstance(now, dict):
        keys = sorted(before.keys() | now.keys())
        found = (_differences(before.get(key), now.get(key), f"{where}.{key}" if where else key) for key in keys)
        return "; ".join(filter(None, found))
    return "" if before == now else f"{where}: {before!r} then, {now!r} now"


def log(directory: Path, values: dict[str, Any]) -> None:
    """Append a line to metrics.jsonl."""
    with (directory / METRICS).open("a") as file:
        file.write(json.dumps(values) + "\n")


def read_metrics(directory: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl."""
    file = directory / METRICS
    lines = file.read_text().splitlines() if file.exists() else []
    if lines and not lines[-1].endswith("}"):
        lines.pop()  # cut short by a crash
    return [json.loads(line) for line in lines]


def save_state(directory: Path, state: dict[str, Any]) -> None:
    """Write the state to resume from, whole or not at all."""
    write_atomically(directory / STATE, lambda part: torch.save(state, part))


def load_state(directory: Path) -> dict[str, Any]:
    """Read it back, and cut from metrics.jsonl the lines of steps after it, which will be run again."""
    file = directory / STATE
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
        if not isinstance(state, dict) or "step" not in state:
            raise ValueError("it is not a run's state")
    except Exception as error:  # torch raises a different class for each way a file can be broken
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise HyenaError(f"{file} is not whole ({reason}): start the run again with --overwrite") from None
    kept = [line for line in read_metrics(directory) if line["step"] <= state["step"]]
    text = "".join(json.dumps(line) + "\n" for line in kept)
    write_atomically(directory / METRICS, lambda part: part.write_text(text))
    return state


def draw_curve(directory: Path) -> Path | None:
    """Draw metrics.jsonl as loss.png; None where matplotlib (the extra `report`) is not installed."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return None
    lines = read_metrics(directory)
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for key, label, style in (("loss", "training", "-"), ("valid_nats_per_token", "held out", "o-")):
        points = [(line["step"], line[key]) for line in lines if key in line]
        if points:
            colour, width = ("#9db4c0", 1.2) if key == "loss" else ("#c8553d", 2.0)
            axes.plot(*zip(*points, strict=True), style, color=colour, linewidth=width, markersize=4, label=label)
    valid = [line["valid_nats_per_token"] for line in lines if "valid_nats_per_token" in line]
    if valid:
        axes.annotate(f"{valid[-1]:.3f}", (max(line["step"] for line in lines), valid[-1]), xytext=(-4, 8),
                      textcoords="offset points", ha="right", color="#c8553d")  # fmt: skip
    axes.set(
        xlabel="step",
        ylabel="nats per token",
    )
    axes.set_title(directory.name, parse_math=False)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    write_atomically(directory / CURVE, lambda part: FigureCanvasAgg(figure).print_png(part))
    return directory / CURVE

"""The training loop, visible in one function: step; now and then log, validate, save. What comes before is in `setup.py`."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from hyena.configs.training import RunConfig
from hyena.training import record, saves
from hyena.training.curve import draw_curve
from hyena.training.evaluate import Evaluation
from hyena.training.interrupt import Interrupt
from hyena.training.setup import Note, Reading, set_up
from hyena.training.step import Step, take_step


@dataclass(frozen=True)
class Progress:
    """What a run says of itself after a step."""

    step: int
    steps: int
    loss: float
    """Nats per token of this step's batch."""
    tokens_per_second: float
    """Over the whole run; validations and saves are left out."""
    valid: Evaluation | None
    """The latest validation."""
    validated: bool
    """Whether it was made at this step."""


@dataclass(frozen=True)
class Result:
    """What a run came to."""

    directory: Path
    steps: int
    finished: bool
    """False where Ctrl-C or SIGTERM stopped it; `train(config, resume=True)` goes on."""
    valid: Evaluation | None
    curve: Path | None
    """The loss curve, None without matplotlib."""
    best: Path | None = None
    """The checkpoint of the best validation."""
    signal: int | None = None
    """What stopped it."""


def train(
    config: RunConfig,
    *,
    resume: bool = False,
    overwrite: bool = False,
    report: Callable[[Progress], None] = lambda _: None,
    note: Note = lambda _: None,
    reading: Reading = lambda done, total: None,
) -> Result:
    """Run a training to its end, or to Ctrl-C or SIGTERM, which save and stop after the step in hand.

    The same configuration gives the same run; a resumed run continues exactly where it stopped, also after a crash, from its
    newest checkpoint. resume starts a run that has not begun. report gets a `Progress` after each step, note a line now and
    then, reading the bytes of data read so far and all there are. Raises `HyenaError` for bad input before anything is
    written, and for a loss that is not finite.
    """
    t, directory = config.training, Path(config.directory)
    state, source, seconds = set_up(config, resume, overwrite, note, reading)
    kept = state.step if state.step in saves.saved(directory) else 0
    with Interrupt() as interrupt:
        while state.step < t.steps and not interrupt.requested:
            clock = time.perf_counter()
            with saves.naming_last_good(directory):
                done = take_step(state, source, config)
            seconds += time.perf_counter() - clock
            last, best = state.step == t.steps, False
            # An interruption logs nothing of its own: metrics.jsonl is that of the run that nobody stopped.
            line = _line(done, state.optimizer.param_groups) if last or state.step % t.log_every == 0 else {}
            validated, saving = last or state.step % t.valid_every == 0, last or state.step % t.save_every == 0
            with saves.naming_last_good(directory):
                if validated or saving or interrupt.requested:
                    state.check()
                if validated:
                    best = state.validate(source)
                    line |= _valid_line(state.valid)
            tokens = state.step * t.batch_size * t.accumulate * config.length
            speed = tokens / max(seconds, 1e-9)
            if line:
                timing = {"step": state.step, "seconds": round(seconds, 3), "tokens_per_second": round(speed)}
                with saves.writing(directory, "metrics.jsonl"):
                    record.log(directory, {"step": state.step, "tokens": tokens} | line, timing)
            if saving or best or interrupt.requested:
                state.save(directory, config)
                kept = state.step
            report(Progress(state.step, t.steps, done.loss, speed, state.valid, validated))
        if kept != state.step:  # the signal came after this step had decided what to save
            state.save(directory, config)
    finished = state.step == t.steps
    if finished:
        with state.averaged():
            saves.save_result(state.model, directory)
    best_path = None if state.best is None else saves.path_of(directory, state.best[0])
    return Result(directory, state.step, finished, state.valid, draw_curve(directory), best_path, interrupt.signal)


def _valid_line(valid: Evaluation | None) -> dict[str, Any]:
    """What metrics.jsonl says of a validation; JSON has no infinity and no NaN."""
    values = {} if valid is None else asdict(valid)
    return {f"valid_{key}": value for key, value in values.items() if isfinite(value)}


def _line(done: Step, groups: list[dict[str, Any]]) -> dict[str, Any]:
    """What metrics.jsonl says of a step."""
    rates = {group["name"]: group["lr"] for group in groups}
    line = {"loss": done.loss, "gradient_norm": done.gradient_norm, "lr": rates.get("decay", groups[0]["lr"])}
    return line | ({"filter_lr": rates["filter"]} if "filter" in rates else {}) | {"rows": done.rows, "length": done.length}

"""metrics.jsonl as TensorBoard events, made from the file: again at any time, and a resumed run shows once."""

import shutil
from pathlib import Path

from hyena.errors import HyenaError
from hyena.training.record import METRICS, RUN, TIMING, read_metrics


def export(run: str | Path, target: str | Path | None = None) -> tuple[Path, int]:
    """Write every number of a run's metrics.jsonl and timing.jsonl as scalars; returns the directory and how many.

    target: a directory of events, `RUN/tensorboard` where not given; what an earlier export left there is replaced. Raises
    `HyenaError` where there is no run, or the extra `tensorboard` is missing.
    """
    run = Path(run)
    if not (run / RUN).is_file() or not (run / METRICS).is_file():
        raise HyenaError(f"{run} holds no run with metrics: give the directory of one")
    try:
        import tensorboard  # noqa: F401  (torch's writer needs it, and says so less clearly)
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise HyenaError("TensorBoard events need the package tensorboard: run pip install 'hyena[tensorboard]'") from None
    directory = run / "tensorboard" if target is None else Path(target)
    if directory.exists() and any(not path.name.startswith("events.out.tfevents.") for path in directory.iterdir()):
        raise HyenaError(f"{directory} holds other files than events: name another directory")
    shutil.rmtree(directory, ignore_errors=True)
    count = 0
    with SummaryWriter(str(directory)) as writer:
        for name in (METRICS, TIMING):
            for line in read_metrics(run, name):
                for key, value in line.items():
                    if key != "step":
                        group = "held out" if key.startswith("valid_") else "timing" if name == TIMING else "training"
                        writer.add_scalar(f"{group}/{key.removeprefix('valid_')}", value, line["step"])
                        count += 1
    return directory, count

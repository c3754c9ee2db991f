"""`hyena tensorboard RUN [--out DIR]`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from hyena.cli.parse import parse

DESCRIPTION = "Write a run's metrics as TensorBoard events; run it again to bring them up to date."


@dataclass(frozen=True)
class Arguments:
    """Options of `hyena tensorboard`."""

    directory: Annotated[Path, tyro.conf.Positional]
    """Directory of the run, finished or not."""
    out: Path | None = None
    """Directory of the events; none given: `tensorboard` in the run's."""


def run(arguments: list[str]) -> int:
    """Parse, export, say how to look at it."""
    a = parse(Arguments, arguments, "hyena tensorboard", DESCRIPTION)
    from hyena.training.tensorboard import export

    directory, count = export(a.directory, a.out)
    print(f"{count} numbers: tensorboard --logdir {directory}")
    return 0

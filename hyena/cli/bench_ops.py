"""`hyena bench ops [--lengths 128 ...] [--quick] [--out PLACE] [--json]`."""

import json
import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyena.cli import SPIN
from hyena.cli.measured import Written, carried_out, written
from hyena.cli.outputs import beside
from hyena.cli.parse import parse
from hyena.cli.progress import progress

if TYPE_CHECKING:
    from hyena.bench.ops import Row, Settings

DESCRIPTION = """\
The long convolution against torch.fft, scipy.fft, F.conv1d and causal attention: time and peak memory over lengths.

Methods take turns, round after round; medians, quartiles, ratios within a round. Writes long_conv.json, long_conv.md and
long_conv.png. Ctrl-C keeps the rows that are finished. Leave the machine alone meanwhile."""


@dataclass(frozen=True)
class Arguments:
    """Options of `hyena bench ops`."""

    lengths: tuple[int, ...] = (128, 256, 512, 1024, 4096, 16384, 65536, 262144, 1048576)
    """Tokens; filters are as long."""
    width: int = 256
    """Channels; sequences of more than 2^24 numbers take fewer, at least 16."""
    batch: int = 1
    """Sequences at once."""
    threads: int | None = None
    """Threads for every method; none given: as many as PyTorch takes by itself."""
    gradient: bool = True
    """Time forward and backward together too."""
    rounds: int = 9
    """Rounds, for methods that finish them in their seconds."""
    seconds: float = 5.0
    """Seconds for each method, length and direction; three rounds are made in any case."""
    rivals: tuple[str, ...] = ("torch", "torch-prepared", "scipy", "scipy-prepared", "conv1d", "sdpa")
    """Rivals to time; scipy needs the extra `bench`."""
    nvsubquadratic: Path | None = None
    """The python of an environment that has nvsubquadratic: one rival more."""
    memory: bool = True
    """Measure peak memory at 4096, 65536 and 1048576 tokens too, each in a process of its own."""
    calibrate: bool = False
    """Measure this machine's costs, on one thread in half a minute, and keep them for `plan`; nothing else is measured."""
    quick: bool = False
    """A look in half a minute: 128, 1024 and 8192 tokens, 64 channels, 5 rounds in half a second, no memory."""
    out: Path = Path("reports")
    """A directory for the three files, or their path without the ending."""
    json: bool = False
    """Print the content of the JSON file in place of the table."""


def run(arguments: list[str]) -> int:
    """Parse, measure, write what is finished, print."""
    a = parse(Arguments, arguments, "hyena bench ops", DESCRIPTION)
    if a.calibrate:
        return _calibrate(a.json)
    numbers, picture = beside(a.out, "long_conv")
    _as_users_run_it()
    from hyena.bench.machine import facts
    from hyena.bench.ops import measure

    settings = _settings(a)
    about: dict[str, Any] = facts(shlex.join(["hyena", "bench", "ops", *arguments]))
    about |= {"threads": settings.threads, "batch": settings.batch, "rounds": settings.rounds, "seconds": settings.seconds}
    return carried_out(
        lambda note, report: measure(settings, note, report),
        lambda rows, notes, complete: _write(rows, about | {"complete": complete}, notes, numbers, picture),
        lambda rows: f"the {len(rows)} rows that were finished are",
        numbers,
        a.json,
    )


def _as_users_run_it() -> None:
    """Let PyTorch's threads wait as they do by themselves, not as `hyena` has them wait: that is how rivals are used."""
    if os.environ.get("GOMP_SPINCOUNT") == SPIN:
        del os.environ["GOMP_SPINCOUNT"]


def _calibrate(as_json: bool) -> int:
    """Measure the costs, keep them, print them."""
    from dataclasses import asdict

    from hyena.bench.calibrate import calibrate
    from hyena.ops import costs

    with progress("round") as line:
        found = calibrate(line.update)
    where = costs.save(found)
    if as_json:
        print(json.dumps({"path": str(where), "machine": costs.machine(), "costs": asdict(found)}))
        return 0
    for name, value in asdict(found).items():
        curve = "  ".join(f"2^{bits:g}: {ns:.3g}" for bits, ns in value) if isinstance(value, tuple) else f"{value:.3g}"
        print(f"{name:<18} {curve}")
    print(f"\nnanoseconds on one core, kept for this machine: {where}")
    print("processes that start from now on plan with it; remove the file to go back to the shipped table")
    return 0


def _settings(a: Arguments) -> "Settings":
    """What is to be measured; --quick keeps what it does not set."""
    import torch

    from hyena.bench.ops import MEMORY_LENGTHS, Settings

    return Settings(
        lengths=(128, 1024, 8192) if a.quick else a.lengths,
        width=64 if a.quick else a.width,
        batch=a.batch,
        gradient=a.gradient,
        threads=torch.get_num_threads() if a.threads is None else a.threads,
        rounds=5 if a.quick else a.rounds,
        seconds=0.5 if a.quick else a.seconds,
        rivals=a.rivals,
        memory_lengths=MEMORY_LENGTHS if a.memory and not a.quick else (),
        nvsubquadratic=a.nvsubquadratic,
    )


def _write(rows: "list[Row]", about: dict[str, Any], notes: list[str], numbers: Path, picture: Path) -> Written:
    """The three files."""
    from hyena.bench.ops_plot import draw
    from hyena.bench.ops_report import crossovers, markdown

    more = f", batch {about['batch']}, filters as long as the sequence; dashed: extrapolated; bars: quartiles"
    return written(
        numbers,
        about | {"crossovers": crossovers(rows), "notes": notes, "rows": [row.to_dict() for row in rows]},
        lambda machine: draw(rows, picture, machine + more),
        lambda sentence, name: markdown(rows, about, sentence, notes, name),
    )

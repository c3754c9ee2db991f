"""`hyena bench length [--lengths 1024 ...] [--quick] [--out PLACE] [--json]`."""

import shlex
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyena.cli.measured import Written, carried_out, written
from hyena.cli.outputs import beside
from hyena.cli.parse import parse
from hyena.cli.sizes import parse_bytes

if TYPE_CHECKING:
    from hyena.bench.length import Row, Settings

DESCRIPTION = """\
Time, tokens a second and peak memory of one pass over long sequences: Hyena and modal filters in bounded memory, attention.

Each length and method runs in a process of its own. Writes length.json, length.md and length.png. Ctrl-C keeps the rows that
are finished. Leave the machine alone meanwhile."""


@dataclass(frozen=True)
class Arguments:
    """Options of `hyena bench length`."""

    lengths: tuple[int, ...] = (1024, 4096, 16384, 65536, 262144, 1048576)
    """Tokens; filters are as long."""
    methods: tuple[str, ...] = ("hyena", "modal", "attention")
    """What is timed."""
    layers: int = 8
    """Layers of every model."""
    width: int = 256
    """Its width."""
    rounds: int = 3
    """Passes, for methods that finish them in their seconds."""
    seconds: float = 30.0
    """Seconds for each method and length; one pass is made in any case."""
    longest: float = 60.0
    """Seconds that one pass of another method than hyena may take; longer sequences are extrapolated."""
    max_memory: str = "2G"
    """Memory beyond the weights to score in, such as 500M or 2G."""
    threads: int | None = None
    """Threads; none given: as many as PyTorch takes by itself."""
    quick: bool = False
    """A look: 256, 1024 and 4096 tokens, 2 layers of width 64, 2 rounds."""
    out: Path = Path("reports")
    """A directory for the three files, or their path without the ending."""
    json: bool = False
    """Print the content of the JSON file in place of the report."""


def run(arguments: list[str]) -> int:
    """Parse, measure, write what is finished, print."""
    a = parse(Arguments, arguments, "hyena bench length", DESCRIPTION)
    numbers, picture = beside(a.out, "length")
    from hyena.bench.length import measure
    from hyena.bench.machine import facts

    settings = _settings(a)
    about: dict[str, Any] = facts(shlex.join(["hyena", "bench", "length", *arguments])) | asdict(settings)
    return carried_out(
        lambda note, report: measure(settings, note, report),
        lambda rows, notes, complete: _write(rows, about | {"complete": complete}, notes, numbers, picture),
        lambda rows: f"what was finished, rows: {len(rows)}, is",
        numbers,
        a.json,
    )


def _settings(a: Arguments) -> "Settings":
    """What is to be measured; --quick keeps what it does not set."""
    import torch

    from hyena.bench.length import Settings

    return Settings(
        lengths=(256, 1024, 4096) if a.quick else a.lengths,
        methods=a.methods,
        layers=2 if a.quick else a.layers,
        width=64 if a.quick else a.width,
        rounds=2 if a.quick else a.rounds,
        seconds=a.seconds,
        longest=a.longest,
        max_memory=parse_bytes(a.max_memory, "max_memory"),
        threads=torch.get_num_threads() if a.threads is None else a.threads,
    )


def _write(rows: "list[Row]", about: dict[str, Any], notes: list[str], numbers: Path, picture: Path) -> Written:
    """The three files."""
    from hyena.bench.length_plot import draw
    from hyena.bench.length_report import markdown

    more = f", {about['layers']} layers of width {about['width']}; dashed: extrapolated"
    return written(
        numbers,
        about | {"notes": notes, "rows": [row.to_dict() for row in rows]},
        lambda machine: draw(rows, picture, machine + more),
        lambda sentence, name: markdown(rows, about, sentence, notes, name),
    )

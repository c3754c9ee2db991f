"""`hyena bench decode [--contexts 1024 ...] [--quick] [--out PLACE] [--json]`."""

import shlex
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyena.cli.measured import Written, carried_out, written
from hyena.cli.outputs import beside
from hyena.cli.parse import parse

if TYPE_CHECKING:
    from hyena.bench.decode import Result, Settings

DESCRIPTION = """\
Time per token against context: the engines of Hyena, modal filters, attention with a KV cache, and recomputing all.

Engines and contexts take turns, round after round. Writes decode.json, decode.md and decode.png. Ctrl-C keeps the rounds that
are finished. Leave the machine alone meanwhile."""


@dataclass(frozen=True)
class Arguments:
    """Options of `hyena bench decode`."""

    contexts: tuple[int, ...] = (1024, 4096, 16384, 65536, 1048576)
    """Tokens before the first that is timed; what does not fit into memory is left out."""
    engines: tuple[str, ...] = ("cached", "tiled", "epoched", "modal", "attention", "recompute")
    """What is timed."""
    layers: int = 8
    """Layers of every model."""
    width: int = 256
    """Its width."""
    steps: int = 4096
    """Consecutive tokens of a tiled stream; engines whose tokens all take the same stop after their seconds."""
    rounds: int = 3
    """Rounds, after one that does not count."""
    seconds: float = 3.0
    """Seconds for each window of an engine whose tokens all take the same; eight tokens are taken in any case."""
    threads: int | None = None
    """Threads; none given: as many as PyTorch takes by itself."""
    quick: bool = False
    """A look in half a minute: 256, 1024 and 4096 tokens, 4 layers of width 64, windows of 256 tokens in 0.3 seconds."""
    out: Path = Path("reports")
    """A directory for the three files, or their path without the ending."""
    json: bool = False
    """Print the content of the JSON file in place of the report."""


def run(arguments: list[str]) -> int:
    """Parse, measure, write what is finished, print."""
    a = parse(Arguments, arguments, "hyena bench decode", DESCRIPTION)
    numbers, picture = beside(a.out, "decode")
    from hyena.bench.decode import measure
    from hyena.bench.machine import facts

    settings = _settings(a)
    about: dict[str, Any] = facts(shlex.join(["hyena", "bench", "decode", *arguments])) | asdict(settings)
    return carried_out(
        lambda note, report: measure(settings, note, report),
        lambda found, notes, complete: _write(found[-1], about | {"complete": complete}, notes, numbers, picture),
        lambda found: f"what was finished, rounds: {len(found[-1].samples.rounds)}, is",
        numbers,
        a.json,
    )


def _settings(a: Arguments) -> "Settings":
    """What is to be measured; --quick keeps what it does not set."""
    import torch

    from hyena.bench.decode import Settings

    return Settings(
        contexts=(256, 1024, 4096) if a.quick else a.contexts,
        engines=a.engines,
        layers=4 if a.quick else a.layers,
        width=64 if a.quick else a.width,
        steps=256 if a.quick else a.steps,
        rounds=a.rounds,
        seconds=0.3 if a.quick else a.seconds,
        threads=torch.get_num_threads() if a.threads is None else a.threads,
    )


def _write(result: "Result", about: dict[str, Any], notes: list[str], numbers: Path, picture: Path) -> Written:
    """The three files."""
    from hyena.bench.decode_plot import draw
    from hyena.bench.decode_report import bars, markdown

    promised = [
        {"what": what, "ratio": None if value is None else asdict(value), "promised": bar} for what, value, bar in bars(result)
    ]
    rows = [row.to_dict() for row in result.rows]
    more = f", {about['layers']} layers of width {about['width']}; bars: quartiles"
    return written(
        numbers,
        about | {"ratios": promised, "notes": notes, "rows": rows, "rounds_measured": result.samples.rounds},
        lambda machine: draw(result.rows, picture, machine + more),
        lambda sentence, name: markdown(result, about, sentence, notes, name),
    )

"""`hyena bench decode [--contexts 1024 ...] [--quick] [--out PLACE] [--json]`."""

import json
import shlex
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyena.cli.outputs import NO_PICTURE, beside, undisturbed, write_json
from hyena.cli.parse import parse
from hyena.cli.progress import progress

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
    from hyena.bench.machine import busy, facts

    settings = _settings(a)
    about: dict[str, Any] = facts(shlex.join(["hyena", "bench", "decode", *arguments])) | asdict(settings)
    result: Result | None = None
    notes: list[str] = []
    with progress("work") as line:

        def note(text: str) -> None:
            notes.append(text)
            line.note(text)

        if (warning := busy()) is not None:
            note(warning)
        try:
            for found in measure(settings, note, line.update):
                result = found
        except KeyboardInterrupt:
            if result is not None:
                with undisturbed():
                    line.note(f"interrupted: what was finished, rounds: {len(result.samples.rounds)}, is in {numbers}")
                    _write(result, about | {"complete": False}, [*notes, "this run was interrupted"], numbers, picture)
            raise
    assert result is not None
    values, text, drawn = _write(result, about | {"complete": True}, notes, numbers, picture)
    print(json.dumps(values, allow_nan=False) if a.json else text)
    if not a.json:
        print(f"numbers: {numbers}\nreport: {numbers.with_suffix('.md')}\npicture: {drawn or NO_PICTURE}")
    return 0


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


def _write(
    result: "Result", about: dict[str, Any], notes: list[str], numbers: Path, picture: Path
) -> tuple[dict[str, Any], str, Path | None]:
    """JSON, Markdown and picture, each whole or not at all; the JSON's content, the Markdown and the picture's path."""
    from hyena.bench.decode_plot import draw
    from hyena.bench.decode_report import bars, markdown
    from hyena.bench.machine import sentence, threads
    from hyena.training.files import write_atomically

    promised = [
        {"what": what, "ratio": None if value is None else asdict(value), "promised": bar} for what, value, bar in bars(result)
    ]
    rows = [row.to_dict() for row in result.rows]
    values = about | {"ratios": promised, "notes": notes, "rows": rows, "rounds_measured": result.samples.rounds}
    write_json(numbers, values)
    caption = f"{about['processor']}, {threads(about['threads'])}, PyTorch {about['torch']}, float32, "
    drawn = draw(result.rows, picture, caption + f"{about['layers']} layers of width {about['width']}; bars: quartiles")
    text = markdown(result, about, sentence(about), notes, None if drawn is None else drawn.name)
    write_atomically(numbers.with_suffix(".md"), lambda part: part.write_text(text))
    return values, text, drawn

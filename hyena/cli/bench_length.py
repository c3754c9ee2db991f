"""`hyena bench length [--lengths 1024 ...] [--quick] [--out PLACE] [--json]`."""

import json
import shlex
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyena.cli.outputs import NO_PICTURE, beside, undisturbed, write_json
from hyena.cli.parse import parse
from hyena.cli.progress import progress
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
    from hyena.bench.machine import busy, facts

    settings = _settings(a)
    about: dict[str, Any] = facts(shlex.join(["hyena", "bench", "length", *arguments])) | asdict(settings)
    rows: list[Row] = []
    notes: list[str] = []
    with progress("work") as line:

        def note(text: str) -> None:
            notes.append(text)
            line.note(text)

        if (warning := busy()) is not None:
            note(warning)
        try:
            for row in measure(settings, note, line.update):
                rows.append(row)
        except KeyboardInterrupt:
            if rows:
                with undisturbed():
                    line.note(f"interrupted: what was finished, rows: {len(rows)}, is in {numbers}")
                    _write(rows, about | {"complete": False}, [*notes, "this run was interrupted"], numbers, picture)
            raise
    values, text, drawn = _write(rows, about | {"complete": True}, notes, numbers, picture)
    print(json.dumps(values, allow_nan=False) if a.json else text)
    if not a.json:
        print(f"numbers: {numbers}\nreport: {numbers.with_suffix('.md')}\npicture: {drawn or NO_PICTURE}")
    return 0


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


def _write(
    rows: "list[Row]", about: dict[str, Any], notes: list[str], numbers: Path, picture: Path
) -> tuple[dict[str, Any], str, Path | None]:
    """JSON, Markdown and picture, each whole or not at all; the JSON's content, the Markdown and the picture's path."""
    from hyena.bench.length_plot import draw
    from hyena.bench.length_report import markdown
    from hyena.bench.machine import sentence, threads
    from hyena.training.files import write_atomically

    values = about | {"notes": notes, "rows": [row.to_dict() for row in rows]}
    write_json(numbers, values)
    caption = f"{about['processor']}, {threads(about['threads'])}, PyTorch {about['torch']}, float32, "
    drawn = draw(rows, picture, caption + f"{about['layers']} layers of width {about['width']}; dashed: extrapolated")
    text = markdown(rows, about, sentence(about), notes, None if drawn is None else drawn.name)
    write_atomically(numbers.with_suffix(".md"), lambda part: part.write_text(text))
    return values, text, drawn

"""`hyena score DIR FILE... --out OUT.tsv`: the log-probability of every record, in windows, going on where it was killed."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from hyena.cli.parse import parse
from hyena.cli.progress import progress
from hyena.cli.sizes import parse_bytes
from hyena.configs.data import Policy
from hyena.errors import HyenaError

if TYPE_CHECKING:
    import numpy as np

    from hyena.inference.windows import Job

DESCRIPTION = """\
The log-probability of every record of FASTA files, or of every line of a text: name, tokens, count, total and mean in nats.

Every token but a record's first is scored once, given the tokens before it in its window. What is finished stays in
OUT.partial: after it was killed the same command goes on there, and OUT appears when it is whole."""


@dataclass(frozen=True)
class Arguments:
    """Options of `hyena score`."""

    directory: Annotated[Path, tyro.conf.Positional]
    """Directory of the model."""
    files: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """FASTA files (a record each sequence) or texts (a record each line), plain or compressed."""
    out: Path
    """The table to write, tab-separated."""
    per_token: Path | None = None
    """Also write the log-probability of every scored token: a .npy file of float32, `count` of each record in order."""
    window: int | None = None
    """Tokens read at a time, context included; 0: each record as a whole; none given: 65536, or as many as the model reads."""
    context: int | None = None
    """Tokens of a window that were scored in the one before it; none given: an eighth of the window."""
    bos: int | None = None
    """An id to put in front of each record, so that its first token is scored too."""
    max_memory: str = "2G"
    """Bytes beyond the weights to work in: 500M, 2G, ..."""
    soft_mask: Literal["upper", "mask", "keep"] = Policy.soft_mask
    """Lower-case letters of FASTA: upper: upper case; mask: N; keep: as they are (not with the dna tokenizer)."""
    iupac: Literal["error", "n"] = Policy.iupac
    """Ambiguity codes of DNA other than N: error; n: replaced by N."""
    restart: bool = False
    """Begin again, whatever an earlier run left."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda`, ..."""


def run(arguments: list[str]) -> int:
    """Parse, load, score piece by piece, write."""
    a = parse(Arguments, arguments, "hyena score", DESCRIPTION)
    from hyena.cli.models import language_model
    from hyena.cli.records import entries, size_of
    from hyena.cli.work import Work, check_outputs, fingerprint
    from hyena.inference.sequences import within
    from hyena.inference.windows import WINDOW, batched, jobs_of, score_jobs, sizes

    memory = parse_bytes(a.max_memory, "max_memory")
    model, tokenizer = language_model(a.directory, a.device)
    if not a.files:
        raise HyenaError("no file to score: name FASTA or text files")
    check_outputs([a.out, a.per_token], a.directory, a.files)
    if a.bos is not None and not 0 <= a.bos < model.config.rows:
        raise HyenaError(f"bos is {a.bos}: an id from 0 to {model.config.rows - 1} is needed")
    limit = min(model.backbone.limits().values(), default=None)
    size, context = sizes(limit, a.window, a.context)
    policy = Policy(a.soft_mask, a.iupac)
    options = {"window": size, "context": context, "bos": a.bos, "soft_mask": a.soft_mask, "iupac": a.iupac}
    options |= {"per_token": a.per_token is not None}
    total = size_of(a.files)
    model.eval()

    def jobs() -> Iterator["Job"]:
        for i, entry in enumerate(entries(a.files, tokenizer, policy)):
            yield from jobs_of(i, entry.name, entry.ids, size, context, a.bos)

    with (
        Work(a.out, fingerprint(model, a.files, options), a.restart, a.per_token) as work,
        progress("token") as line,
    ):
        finished, done = len(work.pieces), 0
        if finished:
            line.note(f"going on after {finished} finished pieces of {a.out}.partial")
        for i, batch in enumerate(batched(jobs(), size or WINDOW)):
            count = sum(job.scored for job in batch)
            if i >= finished:
                values = score_jobs(model, batch, memory, within(line.update, done, count, total))
                numbers = _joined(values) if a.per_token is not None else None
                rows = [
                    [j.record, j.name, j.tokens, float(v.double().sum()), j.scored] for j, v in zip(batch, values, strict=True)
                ]
                work.append(rows, numbers)
            done += count
            line.update(min(done, total), total)
        line.update(total, total)
        work.finish(lambda part: part.write_text(table(work.pieces)))
    print(f"{a.out}: {done:,} tokens scored" + ("" if a.per_token is None else f", each in {a.per_token}"))
    return 0


def _joined(values: list[Any]) -> "np.ndarray":
    import numpy as np

    return np.concatenate([each.float().numpy() for each in values])


def table(pieces: list[Any]) -> str:
    """The table of all records: the sums of their windows, in order."""
    records: dict[int, list[Any]] = {}
    for _, rows in pieces:
        for record, name, tokens, total, count in rows:
            row = records.setdefault(record, [name, tokens, 0.0, 0])
            row[2] += total
            row[3] += count
    lines = ["name\ttokens\tcount\ttotal\tmean"]
    for name, tokens, total, count in records.values():
        lines.append(f"{name}\t{tokens}\t{count}\t{total!r}\t{total / count if count else math.nan!r}")
    return "\n".join(lines) + "\n"

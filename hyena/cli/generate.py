"""`hyena generate DIR --prompt TEXT`: text on stdout as it is drawn."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from hyena.cli.parse import parse
from hyena.cli.sizes import parse_bytes
from hyena.errors import HyenaError

DESCRIPTION = """\
Continue prompts with a trained model; DNA models write A, C, G and T alone.

One text is written as it is drawn. Of several, each has a heading, and they come one after the other; all are drawn at once."""


@dataclass(frozen=True)
class Arguments:
    """Options of `hyena generate`."""

    directory: Annotated[Path, tyro.conf.Positional]
    """Directory of the model."""
    prompt: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Text to continue, at least one token; may be repeated."""
    prompts: Path | None = None
    """Read more prompts from a file: the records of a FASTA file, or the lines of a text; plain or compressed."""
    samples: int = 1
    """Texts for each prompt, which is read once."""
    max_new_tokens: int = 200
    """Tokens to write."""
    stop: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """End before this text; may be repeated."""
    temperature: float = 1.0
    """0 takes the likeliest token; above 1 is bolder."""
    top_k: int | None = None
    """Only the k likeliest tokens."""
    top_p: float | None = None
    """Only the fewest likeliest tokens whose probabilities reach p."""
    seed: int | None = None
    """The same seed writes the same text."""
    decoding: Literal["auto", "cached", "tiled", "epoched", "recompute"] = "auto"
    """How past tokens are used: engines of the long convolutions, or the whole text again for every token (recompute)."""
    max_memory: str = "2G"
    """Bytes beyond weights and state to read the prompts in: 500M, 2G, ..."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda`, ..."""


def run(arguments: list[str]) -> int:
    """Parse, load, write the prompts and what follows them."""
    if not arguments:
        raise HyenaError(
            "name a model and a prompt: hyena generate DIR --prompt TEXT; `hyena generate --help` lists the options"
        )
    a = parse(Arguments, arguments, "hyena generate", DESCRIPTION)
    if not a.prompt and a.prompts is None:
        raise HyenaError("there is no prompt: give --prompt TEXT or --prompts FILE; `hyena generate --help` lists the options")
    memory = parse_bytes(a.max_memory, "max_memory")
    from hyena.cli.models import language_model
    from hyena.inference import Sampling, stream_text

    model, tokenizer = language_model(a.directory, a.device)
    prompts: list[str | bytes] = [*a.prompt, *([] if a.prompts is None else read_prompts(a.prompts))]
    pieces = stream_text(
        model,
        prompts,
        a.max_new_tokens,
        Sampling(a.temperature, a.top_k, a.top_p),
        a.seed,
        a.decoding,
        samples=a.samples,
        stop=a.stop,
        max_memory=memory,
    )
    # As the tokenizer has them: DNA in upper case.
    begins = [tokenizer.decode(tokenizer.encode(prompt)) for prompt in prompts for _ in range(a.samples)]
    write(headings(len(prompts), a.samples), begins, pieces)
    return 0


def read_prompts(path: Path) -> list[bytes]:
    """The records of a FASTA file, or the lines of a text."""
    from hyena.data import is_fasta, read_bytes, read_fasta

    if is_fasta(path):
        found = [(f"record {record.name!r}", record.sequence) for record in read_fasta(path)]
    else:
        found = [(f"line {number}", line) for number, line in enumerate(read_bytes(path).splitlines(), 1)]
    empty = next((name for name, text in found if not text), None)
    if empty is not None or not found:
        raise HyenaError(f"{path} has {'no prompt' if empty is None else f'an empty prompt, {empty}'}: write one a line")
    return [text for _, text in found]


def headings(prompts: int, samples: int) -> list[str]:
    """One for each text; none where there is a single one."""
    if prompts * samples == 1:
        return [""]
    both = prompts > 1 and samples > 1
    rows = [(p, s) for p in range(1, prompts + 1) for s in range(1, samples + 1)]
    return [f"prompt {p}, sample {s}" if both else f"prompt {p}" if prompts > 1 else f"sample {s}" for p, s in rows]


def write(heads: list[str], begins: list[str], pieces: Iterator[Sequence[str | None]]) -> None:
    """Write the first text that has not come to its end as it is drawn, and keep what the others say until it is their turn."""
    waiting, ended, turn = begins.copy(), [False] * len(begins), 0
    out = sys.stdout

    def show() -> None:
        """What is known of the text whose turn it is."""
        out.write(waiting[turn])
        waiting[turn] = ""

    def begin_next() -> None:
        """The next text's turn."""
        nonlocal turn
        turn += 1
        out.write(f"\n\n==> {heads[turn]} <==\n")
        show()

    if heads[0]:
        out.write(f"==> {heads[0]} <==\n")
    show()
    out.flush()
    try:
        for step in pieces:
            for i, piece in enumerate(step):
                ended[i] = piece is None
                waiting[i] += piece or ""
            show()
            while turn + 1 < len(heads) and ended[turn]:
                begin_next()
            out.flush()
    finally:  # also after Ctrl-C: what was drawn is not lost
        while turn + 1 < len(heads):
            begin_next()
        out.write("\n")
        out.flush()

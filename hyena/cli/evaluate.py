"""`hyena evaluate DIR --data FILE [--positions PLACE] [--json]`."""

import json
import math
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from hyena.cli.outputs import NO_PICTURE, beside, write_json
from hyena.cli.parse import parse
from hyena.cli.progress import progress
from hyena.cli.sizes import parse_bytes
from hyena.configs.data import Policy

DESCRIPTION = "How well a model predicts a text: every token but the first, in consecutive windows."


@dataclass(frozen=True)
class Arguments:
    """Options of `hyena evaluate`."""

    directory: Annotated[Path, tyro.conf.Positional]
    """Directory of the model."""
    data: tuple[Path, ...]
    """Text or FASTA files, plain or compressed, folders of them, and prepared tokens."""
    last: float | None = None
    """Only this last fraction of the tokens: what a training with the same valid_fraction held out."""
    soft_mask: Literal["upper", "mask", "keep"] = Policy.soft_mask
    """Lower-case letters of DNA and FASTA: upper: upper case; mask: N; keep: as they are (not with the dna tokenizer)."""
    iupac: Literal["error", "n"] = Policy.iupac
    """Ambiguity codes of DNA other than N: error; n: replaced by N and counted."""
    text_field: str = Policy.text_field
    """The key of a .jsonl line that holds its text."""
    length: int | None = None
    """Tokens a window; none given: the model's max_length."""
    batch_size: int = 16
    """Windows at a time."""
    max_memory: str = "2G"
    """Bytes beyond the weights to work long windows in: 500M, 2G, ..."""
    positions: Path | None = None
    """Also write the loss at each position of the window: a directory for positions.json and .png, or their path."""
    json: bool = False
    """Print one JSON object: nats_per_token, perplexity, bits_per_byte, tokens, accuracy."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda`, ..."""


def run(arguments: list[str]) -> int:
    """Parse, load, evaluate, print."""
    a = parse(Arguments, arguments, "hyena evaluate", DESCRIPTION)
    from hyena.cli.models import language_model
    from hyena.data import load_corpus
    from hyena.training import evaluate_positions

    memory = parse_bytes(a.max_memory, "max_memory")
    model, tokenizer = language_model(a.directory, a.device)
    corpus = load_corpus(a.data, tokenizer, Policy(a.soft_mask, a.iupac, a.text_field))
    if a.last is not None:
        corpus = corpus.split(a.last)[1]
    places = None if a.positions is None else beside(a.positions, "positions")
    with progress("token") as line:
        for note in corpus.notes:
            line.note(note)
        result, positions = evaluate_positions(model, corpus.tokens, tokenizer, a.length, a.batch_size, line.update, memory)
    # JSON has no infinity and no NaN: null says that there is no number.
    values = {key: value if math.isfinite(value) else None for key, value in asdict(result).items()}
    if a.json:
        print(json.dumps(values))
    else:
        for name, value in asdict(result).items():
            print(f"{name:<15} {value if isinstance(value, int) else format(value, '.4f')}")
    if places is not None:
        from hyena.bench.plots import draw_positions

        write_json(places[0], {"directory": str(a.directory), "data": corpus.source} | values | positions.to_dict())
        drawn = draw_positions(positions, places[1], a.directory.resolve().name)
        print(f"positions: {places[0]}, picture: {drawn or NO_PICTURE}", file=sys.stderr)
    return 0

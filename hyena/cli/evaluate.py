"""`hyena evaluate DIR --data FILE [--json]`."""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro

from hyena.cli.parse import parse
from hyena.cli.progress import progress

DESCRIPTION = "How well a model predicts a text: every token but the first, in consecutive windows."


@dataclass(frozen=True)
class Arguments:
    """Options of `hyena evaluate`."""

    directory: Annotated[Path, tyro.conf.Positional]
    """Directory of the model."""
    data: tuple[Path, ...]
    """Text or FASTA files, plain or compressed."""
    length: int | None = None
    """Tokens a window; none given: the model's max_length."""
    batch_size: int = 16
    """Windows at a time."""
    json: bool = False
    """Print one JSON object: nats_per_token, perplexity, bits_per_byte, tokens."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda`, ..."""


def run(arguments: list[str]) -> int:
    """Parse, load, evaluate, print."""
    a = parse(Arguments, arguments, "hyena evaluate", DESCRIPTION)
    from hyena.cli.models import language_model
    from hyena.data import load_corpus
    from hyena.training import evaluate

    model, tokenizer = language_model(a.directory, a.device)
    corpus = load_corpus(a.data, tokenizer)
    with progress("token") as line:
        for note in corpus.notes:
            line.note(note)
        result = evaluate(model, corpus.tokens, tokenizer, a.length, a.batch_size, line.update)
    if a.json:
        # JSON has no infinity and no NaN: null says that there is no number.
        print(json.dumps({key: value if math.isfinite(value) else None for key, value in asdict(result).items()}))
    else:
        for name, value in asdict(result).items():
            print(f"{name:<15} {value if isinstance(value, int) else format(value, '.4f')}")
    return 0

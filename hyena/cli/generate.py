"""`hyena generate DIR --prompt TEXT`: text on stdout as it is drawn."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from hyena.cli.parse import parse
from hyena.errors import HyenaError

DESCRIPTION = "Continue a prompt with a trained model; DNA models write A, C, G and T alone."


@dataclass(frozen=True)
class Arguments:
    """Options of `hyena generate`."""

    directory: Annotated[Path, tyro.conf.Positional]
    """Directory of the model."""
    prompt: str
    """Text to continue, at least one token."""
    max_new_tokens: int = 200
    """Tokens to write."""
    temperature: float = 1.0
    """0 takes the likeliest token; above 1 is bolder."""
    top_k: int | None = None
    """Only the k likeliest tokens."""
    top_p: float | None = None
    """Only the fewest likeliest tokens whose probabilities reach p."""
    seed: int | None = None
    """The same seed writes the same text."""
    decoding: Literal["auto", "recompute"] = "auto"
    """How past tokens are used."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda`, ..."""


def run(arguments: list[str]) -> int:
    """Parse, load, write the prompt and what follows it."""
    a = parse(Arguments, arguments, "hyena generate", DESCRIPTION)
    import torch

    from hyena.cli.models import language_model
    from hyena.data import stream_decoder
    from hyena.inference import Sampling, stream

    model, tokenizer = language_model(a.directory, a.device)
    ids = tokenizer.encode(a.prompt)
    if not len(ids):
        raise HyenaError("the prompt is empty: give at least one token to continue")
    tokens = stream(
        model,
        torch.from_numpy(ids)[None],
        a.max_new_tokens,
        Sampling(a.temperature, a.top_k, a.top_p),
        a.seed,
        a.decoding,
        tokenizer.legal_ids,
    )
    decode = stream_decoder(tokenizer, ids.tolist())
    sys.stdout.write(tokenizer.decode(ids))
    for token in tokens:
        sys.stdout.write(decode(int(token)))
        sys.stdout.flush()
    sys.stdout.write("\n")
    return 0

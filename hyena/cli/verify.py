"""`hyena verify DIR [--against FILE] [--from FORMAT] [--config FILE]`: is the model whole, and is it the same?"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from hyena.cli.parse import parse
from hyena.errors import HyenaError

DESCRIPTION = "Keys, shapes, numbers and the logits of a known input; exit status 1 where anything is wrong."


@dataclass(frozen=True)
class Arguments:
    """Options of `hyena verify`."""

    directory: Annotated[Path, tyro.conf.Positional]
    """Directory or file of the model."""
    against: Path | None = None
    """Safetensors file with input_ids and logits of a reference; none given: those that `hyena convert` recorded."""
    format: Annotated[str | None, tyro.conf.arg(name="from")] = None
    """Format of the model; none given: its directory tells it."""
    config: Path | None = None
    """The published configuration; none given: the one beside the weights."""
    strict_precision: bool = False
    """Fail for a checkpoint that was published for a precision that is not computed here."""


def run(arguments: list[str]) -> int:
    """Parse, check, say what came out."""
    a = parse(Arguments, arguments, "hyena verify", DESCRIPTION)
    from hyena.checkpoints import verify

    if a.against is not None and not a.against.is_file():
        raise HyenaError(f"{a.against} does not exist: --against needs a safetensors file")
    verdict = verify(a.directory, a.against, a.format, a.config, a.strict_precision)
    for check in verdict.checks:
        word = {True: "ok", False: "WRONG", None: "note"}[check.passed]
        detail = check.detail.replace("format=", "--from").replace("config=", "--config")
        print(f"{word:<6} {check.name}: {detail}")
    print(f"{a.directory}: {'verified' if verdict.passed else 'NOT VERIFIED'}")
    return 0 if verdict.passed else 1

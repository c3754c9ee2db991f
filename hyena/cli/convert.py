"""`hyena convert SRC DST [--to FORMAT] [--from FORMAT] [--config FILE] [--dtype NAME] [--drop NAME ...] [--overwrite]`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from hyena.cli.parse import parse
from hyena.errors import HyenaError

DESCRIPTION = "A model from one format to another; what was written is read back and compared before it takes its place."


@dataclass(frozen=True)
class Arguments:
    """Options of `hyena convert`."""

    source: Annotated[Path, tyro.conf.Positional]
    """Directory or file of the model."""
    directory: Annotated[Path, tyro.conf.Positional]
    """Directory to write, with the weights and config.json."""
    to: str = "hyena"
    """Format to write: hyena, safari, hyenadna, hyenadna-hf, stripedhyena or vortex."""
    format: Annotated[str | None, tyro.conf.arg(name="from")] = None
    """Format of the source; none given: its directory tells it."""
    config: Path | None = None
    """The source's published configuration; none given: config.json beside the weights."""
    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    """Precision of the weights; filters and rotary frequencies stay float32. None given: as they are."""
    drop: tuple[str, ...] = ()
    """Options to give up where the format cannot express them: tokenizer, beyond, dropout and others that the error names."""
    overwrite: bool = False
    """Replace a directory that holds a model."""
    strict_precision: bool = False
    """Refuse a checkpoint that was published for a precision (fp8) that is not computed here."""


def run(arguments: list[str]) -> int:
    """Parse, convert, say what was done."""
    a = parse(Arguments, arguments, "hyena convert", DESCRIPTION)
    from hyena.checkpoints import convert

    try:
        done = convert(a.source, a.directory, a.to, a.format, a.config, a.dtype, a.drop, a.overwrite, a.strict_precision)
    except HyenaError as error:  # the cures of `load` are its arguments; here they are options
        raise HyenaError(str(error).replace("format=", "--from").replace("config=", "--config")) from None
    logits = f"and so are the logits of {done.tokens} ids" if done.tokens else "too large to compare logits"
    kept = " (filters and rotary frequencies stay float32)" if len(done.dtypes) > 1 else ""
    print(
        f"{a.directory}: {done.format}, {done.parameters:,} parameters, {' and '.join(done.dtypes)}{kept}; "
        f"read back: {done.tensors} tensors are equal, {logits}"
    )
    return 0

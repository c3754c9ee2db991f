"""Command lines into dataclasses by tyro, with errors as one line."""

import contextlib
import io
from typing import Any, TypeVar

import tyro

from hyena.errors import HyenaError

T = TypeVar("T")


def parse(cls: type[T], arguments: list[str], prog: str, description: str, default: T | None = None) -> T:
    """Fill a dataclass from arguments. `--help` prints and exits; what cannot be parsed is a `HyenaError`."""
    options: dict[str, Any] = {} if default is None else {"default": default}
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            # Without AvoidSubcommands an optional table, as data.recall, would be a subcommand.
            config = (tyro.conf.AvoidSubcommands,)
            return tyro.cli(cls, args=arguments, prog=prog, description=description, config=config, **options)
    except SystemExit as end:
        if end.code in (0, None):
            raise
        raise HyenaError(f"{_line(errors.getvalue())}; `{prog} --help` lists the options") from None


def _line(text: str) -> str:
    """tyro's box as one line: its message, and the first option that it suggests."""
    parts: list[list[str]] = [[]]
    for line in text.splitlines():
        content = line.strip(" │")
        if content.startswith(("╭", "╰")) or (content and not content.strip("─-")):
            parts.append([])  # a rule, or a border with the title in it
        elif content:
            parts[-1].append(content)
    blocks = [" ".join(part) for part in parts if part]
    suggestion = next((block for block in blocks if block.startswith("Perhaps you meant:")), None)
    # Without a border the title is the first block; the message follows it.
    message = blocks[0 if "╭" in text else 1].rstrip(".") if blocks else "the options cannot be parsed"
    return message if suggestion is None else f"{message}; did you mean {suggestion.split()[3].rstrip(',')}?"

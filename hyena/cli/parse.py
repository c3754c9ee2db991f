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
            return tyro.cli(cls, args=arguments, prog=prog, description=description, **options)
    except SystemExit as end:
        if end.code in (0, None):
            raise
        raise HyenaError(f"{_line(errors.getvalue())}; `{prog} --help` lists the options") from None


def _line(text: str) -> str:
    """tyro's box as one line: its message, and the first option it suggests."""
    parts: list[list[str]] = [[]]
    for line in text.splitlines():
        line = line.strip(" │╭╮╰╯")
        if line and not line.strip("─- "):
            parts.append([])
        elif line:
            parts[-1].append(line)
    message = " ".join(parts[1] if len(parts) > 1 else parts[0]).rstrip(".")
    suggestions = [part for part in parts if part and part[0].startswith("Perhaps you meant")]
    return message + (f"; did you mean {suggestions[0][1].split()[0].rstrip(',')}?" if suggestions else "")

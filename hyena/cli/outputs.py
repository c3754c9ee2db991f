"""Where a command's JSON and picture go: beside each other, under one name."""

import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hyena.errors import HyenaError

NO_PICTURE = "not drawn (pip install 'hyena[report]')"


def beside(out: Path, name: str) -> tuple[Path, Path]:
    """(X.json, X.png): X is DIR/name for a directory that is there, else `out` itself without .json or .png.

    HyenaError where they could not be written, before any work is done.
    """
    stem = out / name if out.is_dir() else out.with_suffix("") if out.suffix in (".json", ".png") else out
    if not stem.parent.is_dir():
        raise HyenaError(f"cannot write {stem}.json: {stem.parent} is no directory; make it, or name another place")
    if not os.access(stem.parent, os.W_OK):
        raise HyenaError(f"cannot write {stem}.json: {stem.parent} may not be written to; name another place")
    return stem.with_name(f"{stem.name}.json"), stem.with_name(f"{stem.name}.png")


def write_json(path: Path, values: dict[str, Any]) -> None:
    """The values as a JSON file, whole or not at all."""
    from hyena.training.files import write_atomically

    text = json.dumps(values, allow_nan=False, indent=1) + "\n"
    write_atomically(path, lambda part: part.write_text(text))


@contextmanager
def undisturbed() -> Iterator[None]:
    """A second Ctrl-C waits until the files are written."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)

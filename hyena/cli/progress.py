"""Progress on the terminal: one live line with a time to go, or plain lines where the output is no terminal."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

_SECONDS_BETWEEN_LINES = 10.0


class Line:
    """Shows how far a long work is."""

    def __init__(self, console: Console, bar: Progress | None, what: str):
        """bar: None where the output is no terminal."""
        self._console, self._bar, self._what = console, bar, what
        self._task: TaskID | None = None
        self._began: tuple[float, int] | None = None
        self._printed = time.monotonic()

    def update(self, done: int, total: int, text: str = "") -> None:
        """done of total; text: the figures of the moment."""
        if self._bar is not None:
            if self._task is None:
                self._task = self._bar.add_task(self._what, total=total, text="")
            self._bar.update(self._task, completed=done, total=total, text=text)
            return
        now = time.monotonic()
        if self._began is None:
            self._began = now, done
        if now - self._printed >= _SECONDS_BETWEEN_LINES or done == total:
            self._printed = now
            began, first = self._began
            left = (now - began) / max(1, done - first) * (total - done)
            eta = f", about {left:.0f} s to go" if done > first and done < total else ""
            self._console.print(f"{self._what} {done}/{total}  {text}{eta}", highlight=False, soft_wrap=True)

    def another(self, what: str) -> "Line":
        """A line for another part of the same work; it appears when it is first updated."""
        return Line(self._console, self._bar, what)

    def note(self, text: str) -> None:
        """A line that stays."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)


@contextmanager
def progress(what: str) -> Iterator[Line]:
    """A `Line` on stderr for as long as the work lasts."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield Line(console, None, what)
        return
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[text]}")
    with Progress(*columns, TextColumn("to go"), TimeRemainingColumn(), console=console) as bar:
        yield Line(console, bar, what)

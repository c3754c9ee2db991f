"""The progress line: live on a terminal, a few plain lines elsewhere, always on stderr."""

import io

import pytest
from rich.console import Console

from hyena.cli import progress as module
from hyena.cli.progress import progress


def test_elsewhere_than_on_a_terminal_the_end_and_notes_are_plain_lines(capsys: pytest.CaptureFixture[str]):
    with progress("step") as line:
        line.note("reading [bold]data[/bold] 1,000")
        for i in range(1, 4):
            line.update(i, 3, f"loss {i}")
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "reading [bold]data[/bold] 1,000\nstep 3/3  loss 3\n"


def test_long_work_prints_a_line_now_and_then(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    clock = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    with progress("step") as line:
        for i in range(1, 101):
            clock[0] += 1.0
            line.update(i, 100, "loss [3]")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 10
    assert lines[0] == "step 10/100  loss [3], about 90 s to go"
    assert lines[-1] == "step 100/100  loss [3]"


def test_on_a_terminal_there_is_one_live_line(monkeypatch: pytest.MonkeyPatch):
    screen = io.StringIO()
    monkeypatch.setattr(module, "Console", lambda stderr: Console(file=screen, force_terminal=True, width=120))
    with progress("step") as line:
        line.update(1, 2, "loss 5")
        line.note("a [note]")
        line.update(2, 2, "loss 4")
    shown = screen.getvalue()
    for part in ("step", "2/2", "loss 4", "a [note]"):
        assert part in shown
    assert shown.count("a [note]") == 1

"""What every `hyena bench` command that measures for long does: progress, keeping what is finished, three files."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from hyena.cli.outputs import NO_PICTURE, undisturbed, write_json
from hyena.cli.progress import progress

T = TypeVar("T")
Note = Callable[[str], None]
Report = Callable[[int, int, str], None]


class Written(NamedTuple):
    """The JSON's content, the Markdown, and the picture's path where one was drawn."""

    values: dict[str, Any]
    text: str
    drawn: Path | None


def carried_out(
    measure: Callable[[Note, Report], Iterator[T]],
    write: Callable[[list[T], list[str], bool], Written],
    finished: Callable[[list[T]], str],
    numbers: Path,
    as_json: bool,
) -> int:
    """Measure, write what is finished, also after Ctrl-C, and print; the exit status.

    write(what was measured, notes, whether it is complete); finished: what was measured, in words that go before "in FILE".
    """
    from hyena.bench.machine import busy

    found: list[T] = []
    notes: list[str] = []
    with progress("work") as line:

        def note(text: str) -> None:
            notes.append(text)
            line.note(text)

        if (warning := busy()) is not None:
            note(warning)
        try:
            for each in measure(note, line.update):
                found.append(each)
        except KeyboardInterrupt:
            if found:
                with undisturbed():
                    line.note(f"interrupted: {finished(found)} in {numbers}")
                    write(found, [*notes, "this run was interrupted"], False)
            raise
    values, text, drawn = write(found, notes, True)
    print(json.dumps(values, allow_nan=False) if as_json else text)
    if not as_json:
        print(f"numbers: {numbers}\nreport: {numbers.with_suffix('.md')}\npicture: {drawn or NO_PICTURE}")
    return 0


def written(
    numbers: Path, values: dict[str, Any], draw: Callable[[str], Path | None], markdown: Callable[[str, str | None], str]
) -> Written:
    """JSON, picture and Markdown, each whole or not at all.

    draw(what was measured on, for the caption); markdown(the same as a sentence, the picture's name where there is one).
    """
    from hyena.bench.machine import sentence, threads
    from hyena.training.files import write_atomically

    write_json(numbers, values)
    drawn = draw(f"{values['processor']}, {threads(values['threads'])}, PyTorch {values['torch']}, float32")
    text = markdown(sentence(values), None if drawn is None else drawn.name)
    write_atomically(numbers.with_suffix(".md"), lambda part: part.write_text(text))
    return Written(values, text, drawn)

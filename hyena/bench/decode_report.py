"""What `decode.measure` found, for people: tables in Markdown, and what one engine takes beside another."""

from collections.abc import Callable, Sequence
from typing import Any

from hyena.bench.decode import Result, Row, flatness, ratio
from hyena.bench.machine import threads
from hyena.bench.tables import digits, size, table
from hyena.bench.timing import Spread

_HOW = (
    "Random weights, float32, one sequence. Each engine is brought to its context, then takes tokens one by one. All engines "
    "at all contexts take turns, round after round, each in a window of consecutive tokens: means over a window, medians over "
    "the rounds. Contexts are read in earnest, but for the keys and values of attention and for what more than 65,536 tokens "
    "leave in a Hyena: there random numbers stand, with which a token takes as long. Modal filters read 65,536 tokens at most: "
    "the state of more has the same size."
)
_ALL_TOLD = (
    "A tiled stream takes more than its window shows: its first token after the context works ahead for all others, and tiles "
    "as long as the window or longer come a few times in a context. Both were timed apart, for a stream from the context to "
    "twice that, and are in what is said to be all told and in the picture, not in the ratios below. The window of an epoched "
    "stream is a whole epoch, so nothing is missing there."
)


def bars(result: Result) -> list[tuple[str, Spread | None, str]]:
    """(what, its value, what was promised)."""
    return [
        (
            "tiled: at 65,536 tokens of context, times as long as at 4,096",
            ratio(result, ("tiled", 65536), ("tiled", 4096)),
            "at most 1.6",
        ),
        ("cached: times as long as tiled at 16,384", ratio(result, ("cached", 16384), ("tiled", 16384)), "at least 8"),
        ("modal: slowest context against fastest", flatness(result, "modal"), "at most 1.1"),
        ("attention: times as long as modal at 65,536", ratio(result, ("attention", 65536), ("modal", 65536)), "at least 25"),
        ("recomputed: times as long as tiled at 16,384", ratio(result, ("recompute", 16384), ("tiled", 16384)), ""),
        ("attention: times as long as tiled at 65,536", ratio(result, ("attention", 65536), ("tiled", 65536)), ""),
    ]


def markdown(result: Result, facts: dict[str, Any], sentence: str, notes: Sequence[str], picture: str | None) -> str:
    """The report."""
    parts = [
        "# Time per token against context",
        sentence,
        f"{facts['layers']} layers of width {facts['width']}, {threads(facts['threads'])}, {facts['rounds']} rounds. {_HOW}",
    ]
    if picture is not None:
        parts.append(f"![time per token against context]({picture})")
    parts += ["## Milliseconds a token", _grid(result.rows, _milliseconds), _ALL_TOLD]
    found = [[what, _spread(value), bar] for what, value, bar in bars(result) if value is not None]
    if found:
        parts += ["## Side by side", "With quartiles over the rounds.", table(["", "times", "promised"], found)]
    parts += ["## Single tokens", "Of each token the median over the rounds is taken first.", _tokens(result.rows)]
    parts += ["## State", "Bytes of one sequence's state at the end of its window.", _grid(result.rows, _bytes)]
    if notes:
        parts += ["## Notes", "\n".join(f"- {note}" for note in notes)]
    return "\n\n".join(parts) + "\n"


def engines_of(rows: Sequence[Row]) -> dict[str, str]:
    """engine -> label of all that have a time."""
    return {row.engine: row.label for row in rows if row.mean is not None}


def _grid(rows: Sequence[Row], cell: Callable[[Row], str]) -> str:
    """A line a context, a column an engine."""
    engines, at = engines_of(rows), {(row.context, row.engine): row for row in rows}
    contexts = sorted({row.context for row in rows})
    lines = [
        [f"{context:,}", *(cell(at[context, engine]) if (context, engine) in at else "-" for engine in engines)]
        for context in contexts
    ]
    return table(["context", *engines.values()], lines)


def _milliseconds(row: Row) -> str:
    """The mean, and all told where that is more."""
    if row.mean is None:
        return "-"
    told = "" if row.seldom is None or row.total is None else f", all told {digits(1e3 * row.total)}"
    return f"{digits(1e3 * row.mean.median)}{told}"


def _bytes(row: Row) -> str:
    """A state's size."""
    return "-" if row.state_bytes is None else size(row.state_bytes)


def _spread(value: Spread | None) -> str:
    """A ratio with its quartiles."""
    return "-" if value is None else f"**{digits(value.median)}** ({digits(value.lower)} - {digits(value.upper)})"


def _tokens(rows: Sequence[Row]) -> str:
    """Median and slowest token of each window."""
    lines = [
        [
            row.label,
            f"{row.context:,}",
            f"{row.steps:,}",
            digits(1e3 * row.median),
            digits(1e3 * row.worst),
            "-" if row.first is None else digits(1e3 * row.first),
            "-" if row.difference is None else f"{row.difference:.1e}",
        ]
        for row in rows
        if row.median is not None and row.worst is not None
    ]
    head = ["engine", "context", "tokens", "median, ms", "slowest, ms", "first of all, ms", "logits off by"]
    return table(head, lines)

"""What `length.measure` found, for people: tables in Markdown."""

from collections.abc import Callable, Sequence
from typing import Any

from hyena.bench.length import Row
from hyena.bench.machine import threads
from hyena.bench.tables import digits, size, table

_HOW = (
    "Random weights, float32, one sequence, each length and method in a process of its own. Hyena and modal filters: "
    "`hyena.score`, layer by layer; attention: its whole forward. `~`: extrapolated, a L + b L^2, from what was "
    "measured. The largest resident size counts everything: Python, PyTorch, weights, filters, results."
)


def markdown(rows: Sequence[Row], facts: dict[str, Any], sentence: str, notes: Sequence[str], picture: str | None) -> str:
    """The report."""
    parts = [
        "# One pass over a long sequence",
        sentence,
        f"{facts['layers']} layers of width {facts['width']}, {threads(facts['threads'])}, "
        f"max_memory {size(facts['max_memory'])}. {_HOW}",
    ]
    if picture is not None:
        parts.append(f"![time and memory against length]({picture})")
    parts += ["## Seconds", _grid(rows, _seconds)]
    parts += ["## Tokens a second", _grid(rows, _speed)]
    parts += ["## Largest resident size of the process", _grid(rows, lambda row: _size(row.peak_bytes))]
    parts += [
        "## Times as long as the matrix products alone",
        "Those of projections, MLPs and head on as many random rows, in the same process and in turn; with quartiles.",
        _grid(rows, _ratio),
    ]
    if notes:
        parts += ["## Notes", "\n".join(f"- {note}" for note in notes)]
    return "\n\n".join(parts) + "\n"


def methods_of(rows: Sequence[Row]) -> dict[str, str]:
    """method -> label of all that have a time."""
    return {row.method: row.label for row in rows if row.seconds is not None}


def _grid(rows: Sequence[Row], cell: Callable[[Row], str]) -> str:
    """A line a length, a column a method."""
    methods, at = methods_of(rows), {(row.length, row.method): row for row in rows}
    lines = [
        [f"{L:,}", *(cell(at[L, method]) if (L, method) in at else "-" for method in methods)]
        for L in sorted({row.length for row in rows})
    ]
    return table(["tokens", *methods.values()], lines)


def _seconds(row: Row) -> str:
    """Seconds of a pass."""
    return "-" if row.seconds is None else f"{'~' if row.extrapolated else ''}{digits(row.seconds.median)}"


def _speed(row: Row) -> str:
    """Tokens a second."""
    return "-" if row.tokens_per_second is None else f"{'~' if row.extrapolated else ''}{digits(row.tokens_per_second)}"


def _size(count: int | None) -> str:
    """Bytes."""
    return "-" if count is None else size(count)


def _ratio(row: Row) -> str:
    """Times as long as the products."""
    r = row.ratio
    return "-" if r is None else f"**{digits(r.median)}** ({digits(r.lower)} - {digits(r.upper)})"

"""What `ops.measure` found, for people: tables in Markdown, and the lengths from which ours is the faster."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from hyena.bench.machine import threads
from hyena.bench.ops import Row
from hyena.bench.tables import digits, table

CROSSED = ("sdpa", "conv1d")
"""Methods whose crossovers are of interest."""
_HOW = (
    "`post * (causal_conv(pre * u, h) + skip * (pre * u))`. Every round times each method once, in a turning order; medians. "
    "A ratio is formed in each round and says how many times as long a method takes as ours for the same work: with the "
    "filter's transform prepared, as ours with a prepared filter; else as ours with that transform in it. Attention and "
    "`F.conv1d` have none to prepare and stand against ours prepared, with gradients against ours as it is. `~`: extrapolated "
    "by the square of the length from what was measured. Channels are independent of one another, so the longest sequences "
    "take fewer."
)
DIRECTIONS = {False: "forward", True: "forward and backward"}


def crossover(rows: Sequence[Row], method: str, gradient: bool) -> float | None:
    """The length from which ours is faster than a method at every longer one that was measured; None where it is not.

    Between two lengths it is where the ratio, a straight line in logarithms, is 1. The shortest length where ours always is.
    """
    found = sorted(
        (row.shape.L, row.ratio.median) for row in rows if (row.method, row.gradient) == (method, gradient) and row.ratio
    )
    if not found or found[-1][1] < 1:
        return None
    start = float(found[0][0])
    for (short, low), (long, high) in pairwise(found):
        if low < 1 <= high:
            start = short * (long / short) ** (math.log(1 / low) / math.log(high / low))
    return start


def crossovers(rows: Sequence[Row]) -> dict[str, dict[str, float | None]]:
    """direction -> method -> length, for attention and the direct convolution."""
    return {
        name: {method: crossover(rows, method, gradient) for method in CROSSED if _has(rows, method, gradient)}
        for gradient, name in DIRECTIONS.items()
        if any(row.gradient == gradient for row in rows)
    }


def _has(rows: Sequence[Row], method: str, gradient: bool) -> bool:
    return any((row.method, row.gradient) == (method, gradient) for row in rows)


def markdown(rows: Sequence[Row], facts: dict[str, Any], sentence: str, notes: Sequence[str], picture: str | None) -> str:
    """The report."""
    parts = [
        "# The long convolution against its rivals",
        sentence,
        f"{threads(facts['threads'])}, float32, filters as long as the sequence, batch {facts['batch']}: {_HOW}",
    ]
    if picture is not None:
        parts.append(f"![time per token against length]({picture})")
    for gradient, name in DIRECTIONS.items():
        some = [row for row in rows if row.gradient == gradient]
        if some:
            parts += [f"## {name.capitalize()}", *_tables(some), *_sentences(rows, gradient)]
    if any(row.memory is not None for row in rows):
        parts += ["## Memory", _memory(rows)]
    if notes:
        parts += ["## Notes", "\n".join(f"- {note}" for note in notes)]
    return "\n\n".join(parts) + "\n"


def methods_of(rows: Sequence[Row]) -> dict[str, str]:
    """method -> label of all that have a time, in the order of their first appearance."""
    return {row.method: row.label for row in rows if row.seconds is not None}


def _tables(rows: Sequence[Row]) -> list[str]:
    """Milliseconds a call, then ratios."""
    methods = methods_of(rows)
    at = {(row.shape.L, row.method): row for row in rows}
    shapes = {row.shape.L: row.shape for row in rows}
    backends = {L: at[L, "hyena"].backend for L in shapes}
    rivals = [method for method in methods if not method.startswith("hyena")]
    times = [
        [f"{L:,}", f"{shape.D}", str(backends[L]), *(_time(at.get((L, method))) for method in methods)]
        for L, shape in shapes.items()
    ]
    ratios = [[f"{L:,}", *(_ratio(at.get((L, method))) for method in rivals)] for L in shapes]
    return [
        "Milliseconds a call, and half the distance of the quartiles in per cent:",
        table(["tokens", "channels", "backend", *methods.values()], times),
        "Times as long as hyena, with quartiles:",
        table(["tokens", *(methods[method] for method in rivals)], ratios),
    ]


def _time(row: Row | None) -> str:
    """One cell of the table of times."""
    if row is None or row.seconds is None:
        return "-"
    s = row.seconds.scaled(1e3)
    if row.extrapolated:
        return f"~{digits(s.median)}"
    return f"{digits(s.median)} ±{50 * (s.upper - s.lower) / s.median:.0f}%"


def _ratio(row: Row | None) -> str:
    """One cell of the table of ratios."""
    if row is None or row.ratio is None:
        return "-"
    r = row.ratio
    return f"~{digits(r.median)}" if row.extrapolated else f"**{digits(r.median)}** ({digits(r.lower)} - {digits(r.upper)})"


def _sentences(rows: Sequence[Row], gradient: bool) -> list[str]:
    """Where the crossovers are."""
    found = []
    for method, label in methods_of([row for row in rows if row.gradient == gradient]).items():
        if method in CROSSED:
            shortest = min(row.shape.L for row in rows if row.method == method)
            length = crossover(rows, method, gradient)
            if length is None:
                found.append(f"Slower than {label} at the longest sequence.")
            elif length == shortest:
                found.append(f"Never slower than {label}, from {shortest:,} tokens on.")
            else:
                found.append(f"Faster than {label} from about {length:,.0f} tokens on.")
    return [" ".join(found)] if found else []


def _memory(rows: Sequence[Row]) -> str:
    """Extra memory at the peak."""
    lines = [
        [
            DIRECTIONS[row.gradient],
            f"{row.shape.L:,}",
            f"{row.shape.D}",
            row.label,
            f"{row.memory.extra_bytes / 2**20:,.1f}",
            f"{row.memory.outputs:.2f}",
        ]
        for row in sorted(rows, key=lambda row: (row.gradient, row.shape.L))
        if row.memory is not None
    ]
    head = ["direction", "tokens", "channels", "method", "MiB", "outputs"]
    return (
        "Largest resident size of a process during one call beyond its inputs and results, in MiB and in multiples of the "
        "output tensor; the prepared filter counts among the inputs.\n\n" + table(head, lines)
    )

"""What `length.measure` found as a picture: microseconds a token and peak memory against length, a line a method."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hyena.bench.canvas import new_figure, write_png
from hyena.bench.length import Row
from hyena.bench.length_report import methods_of
from hyena.bench.lines import INK, PALE, End, label_ends, tidy, token_axis

_STYLE = {"hyena": ("#c8553d", "o"), "modal": ("#3c6e8f", "D"), "attention": ("#22313f", "P")}
_APART = 0.08
_PRODUCTS = "#9aa5b1"


def draw(rows: Sequence[Row], path: Path, caption: str) -> Path | None:
    """Time per token above, the largest resident size below; None where matplotlib is not installed."""
    timed = [row for row in rows if row.seconds is not None]
    figure = new_figure(8.6, 8.6)
    if figure is None:
        return None
    figure.suptitle("one pass over a long sequence", color=INK, fontsize="x-large")
    times, sizes = figure.subplots(2, 1, sharex=True, height_ratios=[1.3, 1])
    ends = _lines(times, timed, lambda row: None if row.seconds is None else 1e6 * row.seconds.median / row.length)
    ours = [(row.length, 1e6 * row.products.median / row.length) for row in timed if row.method == "hyena" and row.products]
    if ours:
        x, y = zip(*ours, strict=True)
        times.plot(x, y, color=_PRODUCTS, linewidth=1.5, linestyle=":")
        ends.append(End(x[-1], y[-1], "Hyena's matrix products", _PRODUCTS))
    beneath = _lines(sizes, timed, lambda row: None if row.peak_bytes is None else row.peak_bytes / 2**30)
    times.set_ylabel("microseconds per token")
    sizes.set_ylabel("largest resident size, GiB")
    tidy(times, (1, 2, 5))
    tidy(sizes, (1, 2, 5))
    token_axis(sizes, sorted({row.length for row in timed}))
    for axes, some in ((times, ends), (sizes, beneath)):
        axes.set_ylim(axes.get_ylim())
        label_ends(axes, some, _APART)
    figure.supxlabel(caption, fontsize="small", color=PALE)
    return write_png(figure, path)


def _lines(axes: Any, rows: Sequence[Row], value: Callable[[Row], float | None]) -> list[End]:
    """A line a method, dashed where it was extrapolated; where they end."""
    axes.set_yscale("log")
    ends = []
    for method, label in methods_of(rows).items():
        colour, marker = _STYLE[method]
        found = [(row.length, y, row.extrapolated) for row in rows if row.method == method and (y := value(row)) is not None]
        measured = [(L, y) for L, y, extrapolated in found if not extrapolated]
        beyond = measured[-1:] + [(L, y) for L, y, extrapolated in found if extrapolated]
        for points, look in ((measured, {"marker": marker}), (beyond, {"linestyle": (0, (3, 2))})):
            axes.plot([L for L, _ in points], [y for _, y in points], color=colour, linewidth=2.2, markersize=6, **look)
        if found:
            ends.append(End(*found[-1][:2], label, colour, method == "hyena"))
    return ends

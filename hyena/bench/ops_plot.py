"""What `ops.measure` found as a picture: time per token against length with the crossovers marked, and ratios below."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from hyena.bench.canvas import new_figure, write_png
from hyena.bench.lines import INK, PALE, End, label_ends, tidy, token_axis
from hyena.bench.ops import Row
from hyena.bench.ops_report import CROSSED, DIRECTIONS, crossover, methods_of
from hyena.bench.timing import Spread

_STYLE = {  # colour, line width, marker, whether the marker is filled
    "hyena": ("#e08a72", 1.6, "o", False),
    "hyena-prepared": ("#c8553d", 2.8, "o", True),
    "torch": ("#7ba7c4", 1.5, "s", False),
    "torch-prepared": ("#3c6e8f", 1.7, "s", True),
    "scipy": ("#93bd8c", 1.5, "D", False),
    "scipy-prepared": ("#5f9457", 1.7, "D", True),
    "nvsubquadratic": ("#8a6bbf", 1.5, "v", False),
    "conv1d": ("#e0a030", 1.7, "^", True),
    "sdpa": ("#22313f", 1.7, "P", True),
}
_APART = 0.045, 0.075
"""Least distance of two labels, as a fraction of the height of an upper and of a lower panel."""


def draw(rows: Sequence[Row], path: Path, caption: str) -> Path | None:
    """Nanoseconds a token and channel, and ratios, a column a direction; None where matplotlib is not installed."""
    gradients = [gradient for gradient in DIRECTIONS if any(row.gradient == gradient for row in rows)]
    figure = new_figure(8.2 * len(gradients) + 0.6, 10.2)
    if figure is None:
        return None
    figure.suptitle("a gated long convolution: time per token and channel", color=INK, fontsize="x-large")
    panels = figure.subplots(2, len(gradients), squeeze=False, sharex=True, sharey="row", height_ratios=[1.6, 1])
    for times, ratios, gradient in zip(panels[0], panels[1], gradients, strict=True):
        some = [row for row in rows if row.gradient == gradient and row.seconds is not None]
        times.set_title(DIRECTIONS[gradient], color=INK)
        token_axis(ratios, sorted({row.shape.L for row in some}))
        _times(times, some)
        _ratios(ratios, some)
    for axes in panels.flat:
        axes.set_ylim(axes.get_ylim())  # labels and marks are placed within limits that stay
    for column, gradient in enumerate(gradients):
        some = [row for row in rows if row.gradient == gradient and row.seconds is not None]
        _label(panels[0][column], some, lambda row: row.nanoseconds, _APART[0])
        _label(panels[1][column], [row for row in some if _fft(row)], lambda row: row.ratio, _APART[1])
        _mark(panels[0][column], some, gradient)
    panels[0][0].set_ylabel("nanoseconds per token and channel")
    panels[1][0].set_ylabel("times as long as hyena")
    figure.supxlabel(caption, fontsize="small", color=PALE)
    return write_png(figure, path)


def _fft(row: Row) -> bool:
    """Whether it belongs among the ratios: a rival that grows as ours does."""
    return row.method not in CROSSED and not row.method.startswith("hyena")


def _times(axes: Any, rows: Sequence[Row]) -> None:
    """Every method on logarithmic axes."""
    axes.set_yscale("log")
    for method in methods_of(rows):
        some = [row for row in rows if row.method == method]
        measured = [(row.shape.L, row.nanoseconds) for row in some if row.nanoseconds and not row.extrapolated]
        beyond = measured[-1:] + [(row.shape.L, row.nanoseconds) for row in some if row.nanoseconds and row.extrapolated]
        _line(axes, method, measured)
        if len(beyond) > 1:
            colour, width, *_ = _STYLE.get(method, ("#777777", 1.5, "o", True))
            axes.plot(*_medians(beyond), color=colour, linewidth=width, linestyle=(0, (3, 2)))
    low, high = axes.get_ylim()
    tidy(axes, (1,) if high > 100 * low else (1, 2, 5))


def _ratios(axes: Any, rows: Sequence[Row]) -> None:
    """The rivals that grow as ours does, in multiples of ours."""
    axes.set_yscale("log")
    axes.axhline(1, color=_STYLE["hyena-prepared"][0], linewidth=2.4)
    axes.annotate("hyena", (0, 1), xycoords=("axes fraction", "data"), xytext=(4, 3), textcoords="offset points",
                  color=_STYLE["hyena-prepared"][0], fontsize="small")  # fmt: skip
    for method in methods_of(rows):
        some = [row for row in rows if row.method == method and _fft(row)]
        _line(axes, method, [(row.shape.L, row.ratio) for row in some if row.ratio])
    tidy(axes, (1, 2, 3, 5))


def _line(axes: Any, method: str, points: Sequence[tuple[int, Spread]]) -> None:
    """Measured points joined, with bars from quartile to quartile."""
    if not points:
        return
    colour, width, marker, filled = _STYLE.get(method, ("#777777", 1.5, "o", True))
    axes.errorbar(
        *_medians(points),
        yerr=[[s.median - s.lower for _, s in points], [s.upper - s.median for _, s in points]],
        color=colour,
        linewidth=width,
        elinewidth=1.2,
        capsize=2.5,
        marker=marker,
        markersize=6,
        markerfacecolor=colour if filled else "white",
        zorder=5 if method.startswith("hyena") else 3,
    )


def _medians(points: Sequence[tuple[int, Spread]]) -> tuple[list[int], list[float]]:
    """Lengths and medians."""
    return [L for L, _ in points], [s.median for _, s in points]


def _label(axes: Any, rows: Sequence[Row], value: Callable[[Row], Spread | None], gap: float) -> None:
    """Each line's name at its right end."""
    ends = []
    for method, label in methods_of(rows).items():
        L, median = max((row.shape.L, spread.median) for row in rows if row.method == method and (spread := value(row)))
        ends.append(End(L, median, label, _STYLE.get(method, ("#777777",))[0], method == "hyena-prepared"))
    label_ends(axes, ends, gap)


def _mark(axes: Any, rows: Sequence[Row], gradient: bool) -> None:
    """A ring where ours passes attention and the direct convolution, and a sentence."""
    texts = []
    shortest = min(row.shape.L for row in rows)
    for method, label in methods_of(rows).items():
        if method not in CROSSED:
            continue
        length = crossover(rows, method, gradient)
        if length is None:
            texts.append(f"slower than {label} at the longest sequence")
        elif length == shortest:
            texts.append(f"never slower than {label}")
        else:
            texts.append(f"faster than {label} from about {length:,.0f} tokens")
            colour = _STYLE[method][0]
            y = _between(rows, method, length)
            axes.vlines(length, axes.get_ylim()[0], y, color=colour, linewidth=1.1, linestyle=":", zorder=1)
            axes.plot(
                length, y, "o", markersize=14, markerfacecolor="none", markeredgecolor=colour, markeredgewidth=1.7, zorder=6
            )
    axes.text(0.03, 0.97, "\n".join(texts), transform=axes.transAxes, va="top", color=INK, linespacing=1.5, zorder=7,
              bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 2})  # fmt: skip


def _between(rows: Sequence[Row], method: str, length: float) -> float:
    """A method's nanoseconds at a length between two that were measured."""
    points = sorted((row.shape.L, row.nanoseconds.median) for row in rows if row.method == method and row.nanoseconds)
    for (short, low), (long, high) in pairwise(points):
        if short <= length <= long:
            return low * (high / low) ** (math.log(length / short) / math.log(long / short))
    return points[0][1]

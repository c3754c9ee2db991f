"""What `decode.measure` found as a picture: time per token against context, a line an engine."""

from collections.abc import Sequence
from pathlib import Path

from hyena.bench.canvas import new_figure, write_png
from hyena.bench.decode import Row
from hyena.bench.decode_report import engines_of
from hyena.bench.lines import INK, PALE, End, label_ends, tidy, token_axis

_STYLE = {  # colour, line width, marker
    "cached": ("#e0a030", 1.6, "^"),
    "tiled": ("#c8553d", 2.8, "o"),
    "epoched": ("#e08a72", 1.6, "s"),
    "modal": ("#3c6e8f", 2.8, "D"),
    "attention": ("#22313f", 1.7, "P"),
    "recompute": ("#8a6bbf", 1.6, "v"),
}
_APART = 0.05


def draw(rows: Sequence[Row], path: Path, caption: str) -> Path | None:
    """Milliseconds a token, all told, with bars from quartile to quartile; None where matplotlib is not installed."""
    timed = [row for row in rows if row.mean is not None]
    figure = new_figure(9.4, 6.0)
    if figure is None:
        return None
    figure.suptitle("decoding: time per token against context", color=INK, fontsize="x-large")
    axes = figure.subplots()
    axes.set_yscale("log")
    ends = []
    for engine, label in engines_of(timed).items():
        colour, width, marker = _STYLE[engine]
        found = [(row.context, row.total, row.mean) for row in timed if row.engine == engine and row.mean and row.total]
        x, y = [context for context, *_ in found], [1e3 * total for _, total, _ in found]
        low, high = ([1e3 * getattr(mean, side) for *_, mean in found] for side in ("lower", "upper"))
        middle = [1e3 * mean.median for *_, mean in found]
        bars = [[m - a for m, a in zip(middle, low, strict=True)], [b - m for m, b in zip(middle, high, strict=True)]]
        axes.errorbar(x, y, yerr=bars, color=colour, linewidth=width, marker=marker, elinewidth=1.2, capsize=2.5, markersize=6)
        ends.append(End(x[-1], y[-1], label, colour, width > 2))
    axes.set_ylabel("milliseconds per token")
    tidy(axes, (1, 2, 5))
    token_axis(axes, sorted({row.context for row in timed}), "tokens of context")
    axes.set_ylim(axes.get_ylim())
    label_ends(axes, ends, _APART)
    figure.supxlabel(caption, fontsize="small", color=PALE)
    return write_png(figure, path)

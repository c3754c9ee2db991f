"""Pictures by matplotlib (the extra `report`): a model seen from inside, the loss at each position of a window."""

from pathlib import Path
from typing import Any

import numpy as np

from hyena.bench.canvas import new_figure, write_png
from hyena.bench.filters import REACH
from hyena.bench.inspect import Inspection, Layer, pick
from hyena.training.evaluate import Positions

_SHOWN, _ROWS, _COLUMNS = 6, 128, 72
"""Layers whose filters are drawn; rows and columns of a map of filters."""
_FLOOR = -60.0
"""Decibels where the maps of filters are darkest."""
_INK, _STREAM, _MIXER, _MLP, _GATE = "#22313f", "#b8c4ce", "#c8553d", "#3c6e8f", "#e0a030"
_BACK = "tokens back, from 1"


def draw_inspection(inspection: Inspection, path: Path, title: str) -> Path | None:
    """Draw filters, their decay and reach, and norms to a PNG; None where matplotlib is not installed."""
    with_filters = [layer for layer in inspection.layers if layer.measure is not None]
    shown = [with_filters[i] for i in _evenly(len(with_filters), _SHOWN)]
    figure = new_figure(14 if shown else 8, 10.5 if shown else 4.5)
    if figure is None:
        return None
    left_out = len(with_filters) - len(shown)
    also = f"; the filters of {left_out} layers are not drawn" if left_out else ""
    line = f"\nwhite line: the reach, within which lies {REACH:.0%} of a filter's energy{also}" if shown else ""
    figure.suptitle(
        f"{title}: pattern {_short(inspection.pattern)}, width {inspection.width}, max_length {inspection.max_length:,}{line}",
        parse_math=False,
        color=_INK,
        fontsize="large",
    )
    if shown:
        top, bottom = figure.subfigures(2, 1, height_ratios=[2.1, 1.2], hspace=0.04)
        _draw_filters(top, shown)
        panels = bottom.subplots(1, 3, width_ratios=[1.0, 1.0, 1.3])
        _draw_decay(panels[0], with_filters)
        _draw_reach(panels[1], with_filters)
        _draw_norms(panels[2], inspection)
    else:
        _draw_norms(figure.subplots(), inspection)
    return write_png(figure, path)


def draw_positions(positions: Positions, path: Path, title: str) -> Path | None:
    """Draw the loss against the length of the context to a PNG; None where matplotlib is not installed."""
    figure = new_figure(8, 4.6)
    if figure is None:
        return None
    axes = figure.subplots()
    bins = positions.bins()
    centre = np.array([(b.first + b.last) / 2 + 1 for b in bins])
    mean, error = (np.array([getattr(b, name) for b in bins]) for name in ("nats", "standard_error"))
    axes.fill_between(centre, mean - error, mean + error, color=_MIXER, alpha=0.25, linewidth=0, label="standard error")
    axes.plot(centre, mean, "o-", color=_MIXER, markersize=3.5, linewidth=1.6, label="mean of the bin")
    overall = positions.mean
    axes.axhline(overall, color=_INK, linewidth=0.8, linestyle=":")
    axes.annotate(f"all positions {overall:.4f}", (1, overall), xycoords=("axes fraction", "data"), xytext=(-4, 4),
                  textcoords="offset points", ha="right", fontsize="small", color=_INK,
                  bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1})  # fmt: skip
    axes.set_xscale("log")
    _lags(axes)
    axes.set(xlabel="tokens of context", ylabel="nats per token")
    axes.set_title(f"{title}: {positions.windows:,} windows of {len(positions.nats):,} tokens", parse_math=False, color=_INK)
    axes.legend(frameon=False)
    return write_png(figure, path)


def _draw_filters(figure: Any, layers: list[Layer]) -> None:
    """For each layer a map of its filters, and below it the first taps of a few."""
    maps, lines = figure.subplots(2, len(layers), height_ratios=[1.35, 1.0], squeeze=False)
    mesh = None
    for axes, below, layer in zip(maps, lines, layers, strict=True):
        mesh = _draw_map(axes, layer)
        _draw_taps(below, layer)
    maps[0].set_ylabel("filters, by reach")
    lines[0].set_ylabel("taps, each to its own scale")
    figure.colorbar(mesh, ax=list(maps), label="loudness, dB below the filter's loudest", shrink=0.95, aspect=30, pad=0.01)


def _draw_map(axes: Any, layer: Layer) -> Any:
    """Loudness of the filters (rows, shortest reach on top) over lags (columns, logarithmic), with the reach marked."""
    m = layer.measure
    assert m is not None
    rows = pick(m.reach, min(_ROWS, len(m.energy))) or list(range(min(_ROWS, len(m.energy))))
    columns = m.columns(_COLUMNS)
    loudness = m.loudness(columns)[rows]
    with np.errstate(divide="ignore", invalid="ignore"):
        # Taps that are exactly 0 are as dark as the floor; NaN stays NaN and is left out.
        decibels = np.maximum(20 * np.log10(loudness / loudness.max(1, keepdims=True)), _FLOOR)
    edges = columns + 1.0
    mesh = axes.pcolormesh(edges, np.arange(len(rows) + 1), decibels, cmap="magma", vmin=_FLOOR, vmax=0, rasterized=True)
    for colour, width in ((_INK, 3.0), ("white", 1.6)):  # white with a dark rim: seen on pale ground too
        axes.plot(m.reach[rows] + 1, np.arange(len(rows)) + 0.5, color=colour, linewidth=width)
    axes.set(xscale="log", xlim=(1, edges[-1]), ylim=(len(rows), 0), xlabel=_BACK, yticks=[])
    axes.set_title(f"layer {layer.index}: {len(m.energy):,} filters", fontsize="medium", color=_INK)
    _lags(axes)
    return mesh


def _draw_taps(axes: Any, layer: Layer) -> None:
    """A few filters' taps with their signs over the same lags, averaged over columns, one filter above the other."""
    m = layer.measure
    assert m is not None
    rows, columns = pick(m.reach, 4), m.columns(4 * _COLUMNS)
    for place, row in enumerate(rows):
        taps, base = m.means(columns)[row], -2.7 * place
        axes.axhline(base, color=_STREAM, linewidth=0.6)
        axes.plot(columns[:-1] + 1, taps / (np.abs(taps).max() or 1) + base, color=_MIXER, linewidth=1.0)
        axes.text(0.99, base + 1.5, f"reach {m.reach[row]:,.0f}", transform=axes.get_yaxis_transform(), ha="right", va="top",
                  fontsize="small", color=_INK)  # fmt: skip
    lowest = -2.7 * max(len(rows) - 1, 0) - 1.1
    axes.set(xscale="log", xlim=(1, columns[-1] + 1), xlabel=_BACK, yticks=[], ylim=(lowest, 1.6))
    _lags(axes)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _draw_decay(axes: Any, layers: list[Layer]) -> None:
    """The median filter's loudness over lags, a line a layer."""
    colours = _colours(len(layers))
    for layer, colour in zip(layers, colours, strict=True):
        m = layer.measure
        assert m is not None
        columns = m.columns(_COLUMNS)
        if m.finite.any():
            median = np.median(m.loudness(columns)[m.finite], axis=0)
            label = f"layer {layer.index}" if len(layers) <= 6 or layer in (layers[0], layers[-1]) else None
            axes.plot(columns[:-1] + 1, np.where(median > 0, median, np.nan), color=colour, linewidth=1.4, label=label)
    axes.set(xscale="log", xlabel=_BACK, ylabel="|tap|, median over filters")
    _lags(axes)
    _logarithmic(axes)
    axes.set_title("decay", fontsize="medium", color=_INK)
    axes.grid(alpha=0.25)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize="small", loc="lower left")


def _draw_reach(axes: Any, layers: list[Layer]) -> None:
    """Median, deciles and extremes of the reach, layer by layer."""
    for layer in layers:
        assert layer.filters is not None
        if (reach := layer.filters.reach) is not None:
            x = layer.index
            axes.vlines(x, reach.minimum + 1, reach.maximum + 1, color=_STREAM, linewidth=2)
            axes.vlines(x, reach.lower + 1, reach.upper + 1, color=_MLP, linewidth=6)
            axes.plot(x, reach.median + 1, "o", color="white", markeredgecolor=_INK, markersize=7)
    axes.axhline(layers[0].measure.taps if layers[0].measure else 1, color=_INK, linestyle=":", linewidth=0.9)
    axes.text(0.02, 0.98, "dotted: the grid's end", transform=axes.transAxes, va="top", fontsize="small", color=_INK)
    axes.set(xlabel="layer", ylabel=_BACK)
    lowest = min([layer.filters.reach.minimum for layer in layers if layer.filters and layer.filters.reach], default=0)
    axes.set_ylim((lowest + 1) / 2, 3 * max(layer.measure.taps for layer in layers if layer.measure))
    _logarithmic(axes)
    _whole_numbers(axes, [layer.index for layer in layers])
    axes.set_title("reach: median, deciles, extremes", fontsize="medium", color=_INK)


def _draw_norms(axes: Any, inspection: Inspection) -> None:
    """Root mean squares of stream, mixer and MLP as bars, of the gates as marks."""
    x = np.arange(len(inspection.layers))
    parts = (("stream entering", "stream", _STREAM), ("mixer's output", "mixer", _MIXER), ("MLP's output", "mlp", _MLP))
    for place, (label, name, colour) in enumerate(parts):
        heights = np.array([getattr(layer.norms, name) for layer in inspection.layers])
        axes.bar(x + 0.27 * (place - 1), np.where(heights > 0, heights, np.nan), 0.25, color=colour, label=label)
    gates = [(layer.index, value) for layer in inspection.layers for value in layer.norms.gates.values() if value > 0]
    if gates:
        axes.scatter(*zip(*gates, strict=True), marker="D", s=16, color=_GATE, edgecolor=_INK, linewidth=0.5, zorder=3,
                     label="gates and value")  # fmt: skip
    axes.set(xlabel="layer", ylabel="root mean square")
    _logarithmic(axes)
    _whole_numbers(axes, list(x))
    low, high = axes.get_ylim()
    if axes.get_yscale() == "log":
        axes.set_ylim(low / 2, high * (high / low) ** 0.3)  # the lowest bar seen, the legend above the highest
    axes.set_title(f"norms on {inspection.windows} windows of {inspection.length:,} tokens", fontsize="medium", color=_INK)
    axes.legend(frameon=False, fontsize="small", ncols=2, loc="upper left")


def _lags(axes: Any) -> None:
    """1, 10, 1k, 1M in place of powers."""
    from matplotlib.ticker import EngFormatter, NullFormatter

    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _logarithmic(axes: Any) -> None:
    """A logarithmic y axis, where something positive is drawn."""
    if np.isfinite(axes.dataLim.intervaly).all() and axes.dataLim.y1 > 0:
        axes.set_yscale("log")


def _whole_numbers(axes: Any, indices: list[int]) -> None:
    """Ticks at layers, not between them, at most twelve."""
    axes.set_xticks([indices[i] for i in _evenly(len(indices), 12)])
    axes.set_xlim(min(indices) - 0.6, max(indices) + 0.6)


def _evenly(count: int, most: int) -> list[int]:
    """Up to `most` of the numbers 0 .. count - 1, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int)).tolist() if count else []


def _colours(count: int) -> Any:
    """One colour a layer, from dark to light."""
    from matplotlib import colormaps

    return colormaps["viridis"](np.linspace(0, 0.88, count))


def _short(pattern: str) -> str:
    """A pattern that fits a title."""
    return pattern if len(pattern) <= 40 else f"{pattern[:37]}..."

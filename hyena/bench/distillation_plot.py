"""A distillation as a picture: how close the filters are, layer by layer, and how far predictions move, by position."""

from pathlib import Path
from typing import Any

import numpy as np

from hyena.bench.canvas import new_figure, write_png
from hyena.inference.distillation.report import DISTILLED, HEAD_ALONE, DistillationReport

_INK, _MODES, _HEAD = "#22313f", "#c8553d", "#3c6e8f"
_LEAST = 1e-12
"""What is smaller is drawn here: zero has no place on a logarithmic axis."""


def draw_distillation(found: DistillationReport, path: Path, title: str) -> Path | None:
    """Draw errors and, where they were measured, divergences to a PNG; None where matplotlib is not installed."""
    compared = found.predictions is not None
    figure = new_figure(11 if compared else 6, 4.4)
    if figure is None:
        return None
    panels = figure.subplots(1, 2 if compared else 1, squeeze=False)[0]
    figure.suptitle(f"{title}: head of {found.head} taps, {found.order} poles a filter", parse_math=False, color=_INK)
    _draw_errors(panels[0], found)
    if compared:
        _draw_divergences(panels[1], found)
    return write_png(figure, path)


def _draw_errors(axes: Any, found: DistillationReport) -> None:
    """Median and worst error of each layer's filters, with and without the modes."""
    x = np.arange(len(found.layers))
    for name, colour, shift in (("error", _MODES, -0.12), ("head_alone", _HEAD, 0.12)):
        middles = [getattr(layer, name) for layer in found.layers]
        medians, worst = (np.maximum([getattr(m, part) for m in middles], _LEAST) for part in ("median", "maximum"))
        axes.vlines(x + shift, medians, worst, color=colour, linewidth=2, alpha=0.5)
        axes.plot(x + shift, worst, "_", color=colour, markersize=10)
        axes.plot(x + shift, medians, "o", color=colour, label="head and modes" if name == "error" else "head alone")
    axes.set(yscale="log", xlabel="layer", ylabel="error over a filter's norm")
    axes.set_xticks(x, [str(layer.index) for layer in found.layers])
    axes.set_title("filters: median (dot) to worst (bar)", fontsize="medium", color=_INK)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)


def _draw_divergences(axes: Any, found: DistillationReport) -> None:
    """The divergence from the original over positions of the window."""
    x = np.array(found.bins["position"]) + 1
    for name, colour in ((HEAD_ALONE, _HEAD), (DISTILLED, _MODES)):
        axes.plot(x, np.maximum(found.bins[name], _LEAST), "o-", markersize=3, color=colour, label=name)
    if found.head:
        axes.axvline(found.head + 1, color=_INK, linewidth=0.8, linestyle=":")
        axes.text(found.head + 1, 0.98, " the head ends", transform=axes.get_xaxis_transform(), va="top", fontsize="small")
    axes.set(xscale="log", yscale="log", xlabel="tokens of context", ylabel="KL from the original, nats")
    axes.set_title(f"predictions, {found.windows} windows", fontsize="medium", color=_INK)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)

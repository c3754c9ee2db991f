"""An empty figure and its way to disk: all that the pictures share of matplotlib (the extra `report`)."""

from pathlib import Path
from typing import Any

from hyena.training.files import write_atomically


def new_figure(width: float, height: float) -> Any:
    """An empty figure in inches, None where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    return Figure(figsize=(width, height), layout="constrained")


def write_png(figure: Any, path: Path) -> Path:
    """The figure as a PNG, whole or not at all."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure.set_dpi(100)
    for axes in figure.get_axes():
        if axes.get_ylabel() != "" and not axes.images:
            axes.spines[["top", "right"]].set_visible(False)
    write_atomically(path, lambda part: FigureCanvasAgg(figure).print_png(part))
    return path

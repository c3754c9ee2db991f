"""The picture of a run: training and held-out loss over the steps."""

from pathlib import Path

from hyena.training.files import write_atomically
from hyena.training.record import read_metrics

CURVE = "loss.png"


def draw_curve(directory: Path) -> Path | None:
    """Draw metrics.jsonl as loss.png; None where matplotlib (the extra `report`) is not installed."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return None
    lines = read_metrics(directory)
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for key, label, style in (("loss", "training", "-"), ("valid_nats_per_token", "held out", "o-")):
        points = [(line["step"], line[key]) for line in lines if key in line]
        if points:
            colour, width = ("#9db4c0", 1.2) if key == "loss" else ("#c8553d", 2.0)
            axes.plot(*zip(*points, strict=True), style, color=colour, linewidth=width, markersize=4, label=label)
    valid = [line["valid_nats_per_token"] for line in lines if "valid_nats_per_token" in line]
    if valid:
        axes.annotate(f"{valid[-1]:.3f}", (max(line["step"] for line in lines), valid[-1]), xytext=(-4, 8),
                      textcoords="offset points", ha="right", color="#c8553d",
                      bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1})  # fmt: skip
    axes.set(
        xlabel="step",
        ylabel="nats per token",
    )
    axes.set_title(directory.name, parse_math=False)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    write_atomically(directory / CURVE, lambda part: FigureCanvasAgg(figure).print_png(part))
    return directory / CURVE
